"""The watch over leases: hears expiries from Redis, and looks at every deadline."""

import logging
import time
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from redis.client import PubSub
from redis.exceptions import RedisError

from activity import redis
from registry import liveness, loops, presence

log = logging.getLogger(__name__)

EXPIRED = "__keyevent@*__:expired"
RETRY_SECONDS = 1.0
SHORTEST_WAIT = 0.02


class Supervisor:
    """One step: wait for a hint or the next deadline, then expire what is due.

    A hint only makes us look at once. The deadlines are looked at in every step, so nothing that Redis
    failed to say is missed: not at the start, not after a lost subscription, not without Redis at all.
    """

    def __init__(self) -> None:
        self.hints: PubSub | None = None

    def step(self) -> bool:
        """Returns True when a workspace went offline or failed."""
        self._subscribe()
        hinted = self._wait(_seconds_to(liveness.next_deadline()))
        gone = liveness.expire(hinted) if hinted else 0
        gone += liveness.reconcile()
        loops.tick(loops.SUPERVISOR, hints=self.hints is not None)
        return gone > 0

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

    def _wait(self, seconds: float) -> list[UUID]:
        """Sleep until a hint comes, then take all that have come; none when time ran out."""
        if self.hints is None:
            time.sleep(min(seconds, RETRY_SECONDS))
            return []
        found: list[UUID] = []
        try:
            message = self.hints.get_message(timeout=seconds)
            while message is not None and len(found) < liveness.BATCH:
                found += _workspace_of(message["data"])
                message = self.hints.get_message(timeout=0)
        except RedisError as error:
            log.warning("lost the subscription to expiries, subscribing again: %s", type(error).__name__)
            self.hints.close()
            self.hints = None
        return found


def _seconds_to(deadline: datetime | None) -> float:
    """Until the next lease can run out, and never longer than a tick may take, or a fresh lease may last."""
    longest: float = min(loops.TICK_SECONDS, settings.LEASE_SECONDS / 4)
    if deadline is None:
        return longest
    until = (deadline - timezone.now()).total_seconds() + SHORTEST_WAIT
    return max(SHORTEST_WAIT, min(longest, until))


def _workspace_of(key: str) -> list[UUID]:
    """The workspace whose liveness key expired; nothing for every other key."""
    try:
        return [UUID(key.removeprefix("ws:"))] if key.startswith("ws:") else []
    except ValueError:
        return []
