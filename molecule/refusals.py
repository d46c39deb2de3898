"""Which workspace a refused REST request is counted on: the policy says where a request names its own workspace."""

from typing import Any
from uuid import UUID

from rest_framework.exceptions import APIException, AuthenticationFailed, NotAuthenticated, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from molecule import policy
from registry.api import errors
from registry.exceptions import BadCredential, NotAllowed
from registry.fast_path import bodies
from registry.identity import addresses, authentication, refusals, tokens

# The body of a refused request is parsed only if it is small. Heartbeats have a few hundred bytes.
MAX_PARSED_BYTES = 8 * 1024
REFUSED = (AuthenticationFailed, NotAuthenticated, PermissionDenied, BadCredential, NotAllowed)


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """DRF's EXCEPTION_HANDLER: the registry's error answer, after a refused agent token was noted."""
    if isinstance(error, REFUSED):
        _note(context["request"], context["view"])
    return errors.handle_exception(error, context)


def _note(request: Request, view: Any) -> None:
    """A request without any credential is noted only if it is a heartbeat."""
    header = request.headers.get("Authorization")
    try:
        text = authentication.bearer_token(header)
    except AuthenticationFailed:
        return
    token = tokens.presented_token(text, tokens.WORKSPACE_TYPES) if text else None
    if token is None and (header is not None or policy.route_of(request) != "heartbeat"):
        return
    named = _own_workspace(request, view.kwargs) or (
        bodies.uuid(request.headers.get("X-Workspace-ID")) if token else None
    )
    refusals.note(named, token, addresses.of_request(request))


def _own_workspace(request: Request, kwargs: dict[str, Any]) -> UUID | None:
    """None where the path names a workspace that is asked about, or only operators are let in; or the body is large."""
    rule = policy.rule_of(request)
    if rule is None or not rule.names_caller:
        return None
    if rule.named is None:
        value = kwargs.get("workspace_id")
        return value if isinstance(value, UUID) else None
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_PARSED_BYTES:
        return None
    try:
        return policy.named_in_body(request, rule.named)
    except APIException:
        return None
