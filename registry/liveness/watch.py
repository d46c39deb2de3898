"""The watch over leases: hears expiries from Redis, and looks at every deadline."""

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
# After a step that took nobody: who is due still is held by somebody else.
LOCKED_WAIT_SECONDS = 0.2


class LeaseWatch:
    """One step: wait for a hint or the next deadline, then expire what is due.

    A hint only makes us look at once. The deadlines are looked at in every step, so nothing that Redis
    failed to say is missed: not at the start, not after a lost subscription, not without Redis at all.
    """

    def __init__(self) -> None:
        self.hints: PubSub | None = None
        self.shortest = MIN_WAIT_SECONDS

    def step(self) -> bool:
        """Returns True when a workspace went offline or failed."""
        self._subscribe()
        self._wait(self._seconds())
        gone = expiry.reconcile()
        self.shortest = MIN_WAIT_SECONDS if gone else LOCKED_WAIT_SECONDS
        jobs.tick(jobs.SUPERVISOR, hints=self.hints is not None)
        return gone > 0

    def _seconds(self) -> float:
        """Until the next lease can run out, and never longer than a tick may take, or a fresh lease may last."""
        longest: float = min(jobs.TICK_SECONDS, settings.LEASE_SECONDS / 4)
        deadline = expiry.seconds_to_deadline()
        return longest if deadline is None else max(self.shortest, min(longest, deadline + MIN_WAIT_SECONDS))

    def _subscribe(self) -> None:
        if self.hints is not None:
            return
        hints = redis.client().pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        try:
            if not presence.announce_expiries():
                log.warning("Redis does not announce expiries: leases in PostgreSQL alone decide")
            hints.psubscribe(EXPIRED)
        except RedisError as error:
            log.warning("Redis does not answer, trying again: %s", type(error).__name__)
            return
        self.hints = hints

    def _wait(self, seconds: float) -> None:
        """Sleep for so long, or until a workspace's key expires and a moment more, for those that expire with it."""
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
            log.warning("lost the subscription to expiries, subscribing again: %s", type(error).__name__)
            self.hints.close()
            self.hints = None


def _is_of_workspace(key: str) -> bool:
    """The key of its life (see presence), and none of the many others that expire."""
    return key.startswith("ws:") and key.count(":") == 1
