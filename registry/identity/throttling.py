"""How often a credential may ask: a budget per minute, heartbeats with one of their own."""

import time
from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from activity.principals import Kind, Principal
from registry.identity import rate_limits
from registry.identity.authentication import principal_of

if TYPE_CHECKING:
    from rest_framework.views import APIView

UNLIMITED = ("health", "health-ready")


class CredentialThrottle(BaseThrottle):
    """DRF's DEFAULT_THROTTLE_CLASSES. Per credential, not per address: a fleet behind one NAT is many.

    Open mode, which is for development, knows no credentials and so no budgets.
    """

    retry_after = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        route = request.resolver_match.url_name if request.resolver_match else None
        if route in UNLIMITED:
            return True
        principal = principal_of(request)
        if principal.kind == Kind.OPEN:
            return True
        budget = rate_limits.BEATS if route == "heartbeat" else rate_limits.REQUESTS
        [count] = budget.count([_who(principal) or self.get_ident(request)])
        self.retry_after = (rate_limits.this_window() + 1) * rate_limits.WINDOW_SECONDS - time.time()
        is_stranger = principal.kind == Kind.ANONYMOUS and route != "heartbeats"
        return bool(count <= (settings.RATE_LIMIT_STRANGERS if is_stranger else budget.most))

    def wait(self) -> float:
        return max(1.0, self.retry_after)


def _who(principal: Principal) -> str:
    """Empty for strangers, who are told apart by address."""
    return str(principal.token_id or principal.name or principal.workspace_id or "")
