"""The one place where errors become responses: `{"error": …}` with an HTTP status."""

import logging
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.http import Http404
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisConnectionError
from rest_framework import exceptions, status
from rest_framework.response import Response

from activity.endpoints import error_body
from registry import exceptions as registry
from registry.identity.throttling import CredentialThrottle

log = logging.getLogger(__name__)

STATUS: dict[type[registry.RegistryError], int] = {
    registry.Invalid: 400,
    registry.BadCredential: 401,
    registry.NotAllowed: 403,
    registry.NotFound: 404,
    registry.Conflict: 409,
    registry.Removed: 410,
    registry.PreconditionFailed: 412,
    registry.TooLarge: 413,
    registry.TooOften: 429,
    registry.Forwarded: 301,
    registry.Busy: 503,
    registry.Unreachable: 503,
    registry.SecretsUnavailable: 503,
    registry.SecretsBroken: 500,
}


def handle_exception(error: Exception, context: dict[str, Any]) -> Response:
    """Return the response for an error; the EXCEPTION_HANDLER of DRF."""
    if isinstance(error, registry.RegistryError):
        return _registry_error(error)
    if isinstance(error, exceptions.ValidationError):
        return Response(error_body(error), status=status.HTTP_400_BAD_REQUEST)
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        error = _throttled(context) or error
    if isinstance(error, exceptions.APIException):
        return _api_error(error)
    if isinstance(error, Http404):
        return Response({"error": "not found"}, status=404)
    if isinstance(error, DjangoPermissionDenied):
        return Response({"error": "not allowed"}, status=403)
    if reason := registry.why_unavailable(error):
        log.warning("%s: %s", reason, str(error).partition("\n")[0])
        return unavailable(reason)
    if isinstance(error, RedisConnectionError):
        log.warning("Redis is unavailable: %s", error)
        return unavailable("Redis unavailable, try again")
    log.error("request failed", exc_info=error)
    return Response({"error": "internal error"}, status=500)


def _throttled(context: dict[str, Any]) -> exceptions.Throttled | None:
    """Count the request against its rate limit: DRF refuses bad credentials before it runs the throttles."""
    throttle = CredentialThrottle()
    if throttle.allow_request(context["request"], context["view"]):
        return None
    return exceptions.Throttled(throttle.wait())


def unavailable(message: str, **more: str) -> Response:
    """Return a 503 that asks the client to try again after registry.RETRY_AFTER_SECONDS."""
    return Response({"error": message, **more}, status=503, headers={"Retry-After": str(registry.RETRY_AFTER_SECONDS)})


def _registry_error(error: registry.RegistryError) -> Response:
    code = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if isinstance(error, registry.Forwarded):
        body = {"id": error.workspace_id, "forwarded_to": error.forwarded_to, "url": error.url}
        return Response(body, status=code, headers={"Location": reverse("workspace", args=[error.forwarded_to])})
    if isinstance(error, registry.HasChildren):
        return Response(_confirmation_required(error), status=code)
    if isinstance(error, registry.TooOften):
        body = {"error": error.message, "retry_after": error.wait}
        return Response(body, status=code, headers={"Retry-After": str(error.wait)})
    if isinstance(error, registry.Busy):
        return unavailable(error.message, code=error.code)
    if isinstance(error, registry.Unreachable):
        return unavailable(error.message, status=error.status)
    return Response({"error": error.message} | _details(error), status=code)


def _details(error: registry.RegistryError) -> dict[str, Any]:
    """What the body says besides the message."""
    details: dict[str, Any] = {"field": error.field} if error.field else {}
    if isinstance(error, registry.ManyProblems):
        details["problems"] = [vars(problem) for problem in error.problems]
    if isinstance(error, registry.SecretsBroken):
        details["failed_keys"] = error.failed_keys
    if isinstance(error, registry.PreconditionFailed):
        details |= {"code": error.code, "sha256": error.current}
    if isinstance(error, registry.Removed):
        details["last_event"] = error.last_event
    return details


def _confirmation_required(error: registry.HasChildren) -> dict[str, Any]:
    children = [{"id": child_id, "name": name} for child_id, name in error.children]
    return {
        "error": error.message,
        "status": "confirmation_required",
        "message": error.message,
        "children": children,
        "children_count": len(children),
    }


def _api_error(error: exceptions.APIException) -> Response:
    headers = {}
    body: dict[str, Any] = {"error": str(error.detail)}
    if header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = header
    if isinstance(error, exceptions.Throttled):
        body["retry_after"] = int(getattr(error, "wait", None) or 1)
        headers["Retry-After"] = str(body["retry_after"])
    if isinstance(error, exceptions.UnsupportedMediaType):
        body["error"] = "send JSON, with Content-Type: application/json"
    if isinstance(error, exceptions.MethodNotAllowed):
        body["error"] = "method not allowed"
    return Response(body, status=error.status_code, headers=headers)
