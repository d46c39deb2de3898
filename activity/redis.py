"""The process's Redis client. Redis is ephemeral: nothing here is the only copy of anything."""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_SECONDS = 0.5
REST_SECONDS = 2.0


class Breaker(Retry):
    """Every command and every connect goes through here, once. After one that timed out all fail at once for
    REST_SECONDS: a Redis that hangs costs whoever asks one timeout, not one for each question.
    """

    def __init__(self) -> None:
        super().__init__(NoBackoff(), retries=0)
        self.rests_until = 0.0

    def __deepcopy__(self, memo: object) -> "Breaker":
        """Connections copy what they are given; this is one for all."""
        return self

    def call_with_retry(self, do: Callable[[], Any], *arguments: Any, **options: Any) -> Any:
        if time.monotonic() < self.rests_until:
            raise redis.ConnectionError("Redis did not answer in time a moment ago")
        began = time.monotonic()
        try:
            return super().call_with_retry(do, *arguments, **options)
        except redis.TimeoutError:
            # A subscription also takes what is there without waiting, and half a message is no sign of anything.
            if time.monotonic() - began > TIMEOUT_SECONDS / 2:
                self.rests_until = time.monotonic() + REST_SECONDS
            raise


@cache
def client() -> redis.Redis:
    """Connections are pooled and re-made after a Redis restart."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        health_check_interval=30,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Breaker(),
    )
