"""Rate limits for DRF's views."""

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
    """DRF's DEFAULT_THROTTLE_CLASSES: per credential, because many agents may share one address (NAT).

    Unauthenticated requests are limited per address. Open mode has no limits.
    """

    retry_after = 0.0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Counts the request; returns whether it is within its limit."""
        route = request.resolver_match.url_name if request.resolver_match else None
        if route in UNLIMITED:
            return True
        principal = principal_of(request)
        if principal.kind == Kind.OPEN:
            return True
        limit = rate_limits.BEATS if route == "heartbeat" else rate_limits.REQUESTS
        [count] = limit.count([_credential_id(principal) or self.get_ident(request)])
        self.retry_after = (rate_limits.this_window() + 1) * rate_limits.WINDOW_SECONDS - time.time()
        is_unauthenticated = principal.kind == Kind.ANONYMOUS and route != "heartbeats"
        return bool(count <= (settings.RATE_LIMIT_STRANGERS if is_unauthenticated else limit.most))

    def wait(self) -> float:
        """Seconds until the next window."""
        return max(1.0, self.retry_after)


def _credential_id(principal: Principal) -> str:
    """What identifies the credential; empty for an unauthenticated request, which its address identifies."""
    return str(principal.token_id or principal.name or principal.workspace_id or "")
