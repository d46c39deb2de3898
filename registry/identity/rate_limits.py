"""Rate limits per credential and minute; heartbeats have their own, and so has each address without a credential.

Counts are in Redis. While it is unavailable nothing is limited: limits protect the platform, not its secrets.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Hashable, Sequence

from django.conf import settings
from redis.exceptions import RedisError

from activity import redis

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60
COUNT_ALL = """
local counts = {}
for i, key in ipairs(KEYS) do
  counts[i] = redis.call('INCR', key)
  if counts[i] == 1 then
    redis.call('EXPIRE', key, ARGV[1])
  end
end
return counts
"""


class RateLimit:
    """One limit per window; `setting` is the name of the setting with the number.

    The fast path charges what it has answered; those counts are kept here, so that it need not ask Redis before the
    next request. `caller` is a presented token or an address; None is not limited.
    """

    def __init__(self, name: str, setting: str) -> None:
        self.name, self.setting = name, setting
        self.window = 0
        self.counts: dict[Hashable, int] = {}

    @property
    def most(self) -> int:
        """The number of requests allowed in a window."""
        return int(getattr(settings, self.setting))

    def is_over(self, caller: Hashable) -> bool:
        """Would the next request exceed the limit, by the counts kept here?"""
        count = self._known().get(caller, 0)
        # Most callers have no count here, and reading a setting costs more than all else.
        return count > 0 and count >= self.most

    def admit(self, given: Sequence[Hashable]) -> list[bool]:
        """For each request of a batch, whether it is within the limit."""
        known, most, more = self._known(), self.most, Counter[Hashable]()
        admitted = []
        for caller in given:
            more[caller] += 1
            admitted.append(caller is None or known.get(caller, 0) + more[caller] <= most)
        return admitted

    def charge(self, used: Sequence[tuple[Hashable, object]]) -> None:
        """Count one request for each `caller`, in Redis under the name that all processes use: token id or address."""
        given = [(caller, str(name)) for caller, name in used if caller is not None]
        window = this_window()
        counts = self.count([name for _, name in given])
        if window != self.window:
            self.counts, self.window = {}, window
        self.counts |= {caller: count for (caller, _), count in zip(given, counts, strict=True)}

    def add(self, name: str) -> int:
        """Count one request under the name that all processes use; returns the new count, 0 without Redis."""
        self.charge([(name, name)])
        return self._known().get(name, 0)

    def count(self, names: Sequence[str]) -> list[int]:
        """Count one more request for each name; returns the new counts, 0 while Redis is unavailable."""
        keys = [f"limit:{self.name}:{name}:{this_window()}" for name in names]
        try:
            counts: list[int] = redis.client().eval(COUNT_ALL, len(keys), *keys, 2 * WINDOW_SECONDS) if keys else []
        except RedisError as error:
            log.warning("rate limits are off, Redis is unavailable: %s", type(error).__name__)
            return [0] * len(keys)
        return counts

    def _known(self) -> dict[Hashable, int]:
        return self.counts if self.window == this_window() else {}


BEATS = RateLimit("beats", "RATE_LIMIT_HEARTBEATS")
REQUESTS = RateLimit("requests", "RATE_LIMIT")
BATCHES = RateLimit("batches", "RATE_LIMIT")
"""Requests with refused heartbeats beside good ones, by the first valid token in them."""
STRANGERS = RateLimit("strangers", "RATE_LIMIT_STRANGERS")
"""Requests and handshakes without a valid credential, by the client's address."""


def retry_after() -> int:
    """Whole seconds until the next window, at least one."""
    return max(1, math.ceil((this_window() + 1) * WINDOW_SECONDS - time.time()))


def this_window() -> int:
    """The number of the current window since the epoch."""
    return int(time.time()) // WINDOW_SECONDS
