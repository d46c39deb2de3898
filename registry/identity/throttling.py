"""Rate limits for DRF's views."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from activity.principals import Kind, Principal
from registry.identity import addresses, rate_limits
from registry.identity.authentication import principal_of

if TYPE_CHECKING:
    from rest_framework.views import APIView

UNLIMITED = ("health", "health-ready")


class CredentialThrottle(BaseThrottle):
    """DRF's DEFAULT_THROTTLE_CLASSES: per credential, because many agents may share one address (NAT).

    Unauthenticated requests are counted per address, separately. Open mode has no limits.
    """

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Counts the request; returns whether it is within its limit."""
        route = request.resolver_match.url_name if request.resolver_match else None
        if route in UNLIMITED:
            return True
        principal = principal_of(request)
        if principal.kind == Kind.OPEN:
            return True
        address = addresses.of_request(request)
        if principal.kind == Kind.ANONYMOUS:
            # A batch of heartbeats has its tokens in its body: see batches.count_refused().
            return route == "heartbeats" or rate_limits.STRANGERS.add(address) <= rate_limits.STRANGERS.most
        limit = rate_limits.BEATS if route == "heartbeat" else rate_limits.REQUESTS
        [count] = limit.count([_credential_id(principal) or address])
        return count <= limit.most

    def wait(self) -> float:
        """Seconds until the next window."""
        return rate_limits.retry_after()


def _credential_id(principal: Principal) -> str:
    """What identifies the credential; empty for an unauthenticated request, which its address identifies."""
    return str(principal.token_id or principal.name or principal.workspace_id or "")
