"""How often a credential may ask: a budget per minute, heartbeats with one of their own."""

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from activity import redis
from activity.principals import Kind, Principal
from registry.authentication import principal_of
from registry.credentials import Proof

if TYPE_CHECKING:
    from rest_framework.views import APIView

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60
UNLIMITED = ("health", "health-ready")
BEATS, REQUESTS = "beats", "requests"
BUDGETS = {BEATS: "RATE_LIMIT_HEARTBEATS", REQUESTS: "RATE_LIMIT"}
"""The setting of each."""
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


class CredentialThrottle(BaseThrottle):
    """DRF's DEFAULT_THROTTLE_CLASSES. Per credential, not per address: a fleet behind one NAT is many.

    Open mode, which is for development, knows no credentials and so no budgets. Counts live in Redis; while it
    is away nothing is limited, as limits protect the platform, not its secrets.
    """

    retry_after = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        route = request.resolver_match.url_name if request.resolver_match else None
        if route in UNLIMITED:
            return True
        principal = principal_of(request)
        if principal.kind == Kind.OPEN:
            return True
        name = BEATS if route == "heartbeat" else REQUESTS
        window = _window()
        try:
            [count] = _count([_key(name, _who(principal) or self.get_ident(request), window)])
        except RedisError as error:
            log.warning("requests are not limited: %s", type(error).__name__)
            return True
        self.retry_after = (window + 1) * WINDOW_SECONDS - time.time()
        return count <= _budget(name, route, principal)

    def wait(self) -> float:
        return max(1.0, self.retry_after)


class Meter:
    """The budgets for the fast lane, where a batch is counted after it was taken.

    Who is over the budget then goes the ordinary way, until the minute ends, to hear of it from CredentialThrottle.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.window = 0
        self.over: set[Proof | None] = set()

    def is_over(self, proof: Proof | None) -> bool:
        return bool(self.over) and self.window == _window() and proof in self.over

    def charge(self, used: Sequence[tuple[Proof | None, UUID | None]]) -> None:
        window = _window()
        if window != self.window:
            self.over, self.window = set(), window
        keys = [_key(self.name, str(token_id), window) for _, token_id in used]
        budget = getattr(settings, BUDGETS[self.name])
        try:
            counts = _count(keys)
        except RedisError as error:
            log.warning("requests are not limited: %s", type(error).__name__)
            return
        # The next one would be over.
        self.over |= {proof for (proof, _), count in zip(used, counts, strict=True) if count >= budget}


def _window() -> int:
    return int(time.time()) // WINDOW_SECONDS


def _key(name: str, who: str, window: int) -> str:
    return f"limit:{name}:{who}:{window}"


def _count(keys: Sequence[str]) -> list[int]:
    """One more for each. Raises RedisError."""
    counts: list[int] = redis.client().eval(COUNT_ALL, len(keys), *keys, 2 * WINDOW_SECONDS) if keys else []
    return counts


def _budget(name: str, route: str | None, principal: Principal) -> int:
    if principal.kind == Kind.ANONYMOUS and route != "heartbeats":
        return int(settings.RATE_LIMIT_STRANGERS)
    return int(getattr(settings, BUDGETS[name]))


def _who(principal: Principal) -> str:
    """Empty for strangers, who are told apart by address."""
    return str(principal.token_id or principal.name or principal.workspace_id or "")
