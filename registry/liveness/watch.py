"""The lease watch: waits for expiry notifications from Redis or the next deadline, then expires leases."""

import logging
import time

from django.conf import settings
from redis.client import PubSub
from redis.exceptions import RedisError

from activity import redis
from registry.liveness import expiry, presence
from registry.supervision import jobs

log = logging.getLogger(__name__)

EXPIRED = "__keyevent@*__:expired"
RETRY_SECONDS = 1.0
MIN_WAIT_SECONDS = 0.02
# Shortest wait after a step that changed nothing: rows still past their lease are locked by another transaction.
LOCKED_WAIT_SECONDS = 0.2


class LeaseWatch:
    """Each step waits for a notification or the next deadline, then sets workspaces with ended leases offline.

    A notification only ends the wait early. Every step checks all leases in PostgreSQL, so nothing is missed at the
    start, after a lost subscription, or without Redis.
    """

    def __init__(self) -> None:
        self.hints: PubSub | None = None
        self.min_wait = MIN_WAIT_SECONDS

    def step(self) -> bool:
        """Return whether a workspace went offline. Raises DatabaseError, PoolTimeout."""
        self._subscribe()
        self._wait(self._seconds())
        began = time.monotonic()
        count = expiry.reconcile()
        self.min_wait = MIN_WAIT_SECONDS if count else LOCKED_WAIT_SECONDS
        jobs.tick(jobs.SUPERVISOR, hints=self.hints is not None, took_ms=round(1000 * (time.monotonic() - began)))
        return count > 0

    def _seconds(self) -> float:
        """Seconds until the next lease can end: at most TICK_SECONDS, and at most a quarter of a new lease."""
        longest: float = min(jobs.TICK_SECONDS, settings.LEASE_SECONDS / 4)
        deadline = expiry.seconds_to_deadline()
        return longest if deadline is None else max(self.min_wait, min(longest, deadline + MIN_WAIT_SECONDS))

    def _subscribe(self) -> None:
        if self.hints is not None:
            return
        hints = redis.client().pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        try:
            if not presence.announce_expiries():
                log.warning("Redis sends no expiry notifications: only the leases in PostgreSQL are checked")
            hints.psubscribe(EXPIRED)
        except RedisError as error:
            log.warning("Redis is unavailable, retrying: %s", type(error).__name__)
            return
        self.hints = hints

    def _wait(self, seconds: float) -> None:
        """Wait so long, or until MIN_WAIT_SECONDS after a workspace's key expires, so that one step handles all."""
        if self.hints is None:
            time.sleep(min(seconds, RETRY_SECONDS))
            return
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                message = self.hints.get_message(timeout=left)
                if message is not None and _is_of_workspace(message["data"]):
                    end = min(end, time.monotonic() + MIN_WAIT_SECONDS)
        except RedisError as error:
            log.warning("lost the subscription to expiry notifications, subscribing again: %s", type(error).__name__)
            self.hints.close()
            self.hints = None


def _is_of_workspace(key: str) -> bool:
    """Whether it is a liveness key (see presence); many other keys expire as well."""
    return key.startswith("ws:") and key.count(":") == 1
