"""How often a credential may ask: a budget per minute, heartbeats with one of their own."""

import logging
import time
from typing import TYPE_CHECKING

from django.conf import settings
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from activity import redis
from activity.principals import Kind, Principal
from registry.authentication import principal_of

if TYPE_CHECKING:
    from rest_framework.views import APIView

log = logging.getLogger(__name__)

WINDOW_SECONDS = 60
UNLIMITED = ("health", "health-ready")


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
        budget = _budget(route, principal)
        window = int(time.time()) // WINDOW_SECONDS
        name = "beats" if route == "heartbeat" else "requests"
        try:
            count = _count(f"limit:{name}:{_who(principal) or self.get_ident(request)}:{window}")
        except RedisError as error:
            log.warning("requests are not limited: %s", type(error).__name__)
            return True
        self.retry_after = (window + 1) * WINDOW_SECONDS - time.time()
        return count <= budget

    def wait(self) -> float:
        return max(1.0, self.retry_after)


def _count(key: str) -> int:
    with redis.client().pipeline() as pipe:
        pipe.incr(key)
        pipe.expire(key, 2 * WINDOW_SECONDS)
        count: int = pipe.execute()[0]
    return count


def _budget(route: str | None, principal: Principal) -> int:
    if principal.kind == Kind.ANONYMOUS:
        return int(settings.RATE_LIMIT_STRANGERS)
    return int(settings.RATE_LIMIT_HEARTBEATS if route == "heartbeat" else settings.RATE_LIMIT)


def _who(principal: Principal) -> str:
    """Empty for strangers, who are told apart by address."""
    return str(principal.token_id or principal.name or principal.workspace_id or "")
