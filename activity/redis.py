"""The Redis client of the process. Redis holds no data that could not be lost."""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_SECONDS = 0.5
OPEN_SECONDS = 2.0


class Breaker(Retry):
    """A circuit breaker around every command and connection attempt; it never retries.

    After a timeout all calls fail at once for OPEN_SECONDS, so a Redis that hangs costs a request one timeout in all.
    """

    def __init__(self) -> None:
        super().__init__(NoBackoff(), retries=0)
        self.open_until = 0.0

    def __deepcopy__(self, memo: object) -> "Breaker":
        """redis-py copies it for each connection, but all must share one state."""
        return self

    def call_with_retry(self, do: Callable[[], Any], *arguments: Any, **options: Any) -> Any:
        if time.monotonic() < self.open_until:
            raise redis.ConnectionError("Redis did not answer in time a moment ago")
        began = time.monotonic()
        try:
            return super().call_with_retry(do, *arguments, **options)
        except redis.TimeoutError:
            # Subscriptions also read without waiting: half a message then times out at once, and Redis is well.
            if time.monotonic() - began > TIMEOUT_SECONDS / 2:
                self.open_until = time.monotonic() + OPEN_SECONDS
            raise


@cache
def client() -> redis.Redis:
    """The shared client. It pools connections and reconnects after a Redis restart. Commands raise RedisError."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        health_check_interval=30,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Breaker(),
    )
