"""Authentication: from one credential to one Principal. X-Workspace-ID may restrict it, and never grants anything."""

from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.http.request import split_domain_port, validate_host
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from activity.principals import ANONYMOUS, Kind, Level, Principal
from registry.exceptions import MISSING_TOKEN, BadCredential, Invalid, NotAllowed
from registry.identity import tokens

DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# The level of a request without a credential in open mode.
OPEN_LEVEL = Level.ADMINISTER
LONGEST_TOKEN = 256


class CredentialAuthentication(BaseAuthentication):
    """DRF's authentication class: `request.auth` is the Principal, also of an unauthenticated request."""

    def authenticate(self, request: Request) -> tuple[User | AnonymousUser, Principal]:
        """Raises AuthenticationFailed, Invalid, NotAllowed."""
        header = request.headers.get("X-Workspace-ID")
        text = bearer_token(request.headers.get("Authorization"))
        if text is not None:
            try:
                user, principal = tokens.principal_for_token(text)
            except BadCredential as error:
                raise AuthenticationFailed(error.message) from None
            return user or AnonymousUser(), narrow(principal, header)
        visitor: Any = request._request.user
        if visitor.is_authenticated:
            SessionAuthentication().enforce_csrf(request)
            return visitor, tokens.principal_for_user(visitor)
        if request.method not in SAFE_METHODS and not is_our_origin(request.headers.get("Origin"), request.get_host()):
            raise NotAllowed("a page of this origin may not change anything: it is not in CORS_ORIGINS")
        return AnonymousUser(), without_credential(header)

    def authenticate_header(self, request: Request) -> str:
        """The WWW-Authenticate header of a 401."""
        return "Bearer"


def level_of(principal: Principal) -> Level:
    """The caller's level. In open mode a credential never allows less than no credential."""
    return max(principal.level, OPEN_LEVEL if settings.MOLECULE_OPEN else Level.NONE)


def principal_of(request: Request) -> Principal:
    """The Principal that CredentialAuthentication found."""
    auth: Any = request.auth
    return auth if isinstance(auth, Principal) else ANONYMOUS


def bearer_token(header: str | None) -> str | None:
    """The token of the first Authorization header (ASGI joins several with commas); None without a header.

    Raises AuthenticationFailed if it is not a bearer token.
    """
    if header is None:
        return None
    scheme, _, token = header.split(",")[0].strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token.isascii() or not 0 < len(token) <= LONGEST_TOKEN:
        raise AuthenticationFailed("Authorization must be: Bearer <token>")
    return token


def is_our_host(header: str) -> bool:
    """Is it one of ALLOWED_HOSTS? Protects against DNS rebinding: a foreign name that resolves to this server."""
    return _is_allowed(header, tuple(settings.ALLOWED_HOSTS))


@lru_cache(maxsize=64)
def _is_allowed(header: str, allowed: tuple[str, ...]) -> bool:
    domain, _port = split_domain_port(header)
    return bool(domain) and validate_host(domain, allowed)


def is_our_origin(origin: str | None, host: str | None) -> bool:
    """Does the request come from a page of this server or of CORS_ORIGINS, or from no page, which sends no Origin?

    Browsers send any page's requests, with this server's cookies, and name the page in Origin. SDKs send the address of
    this server as it was given to them, perhaps with a path or the port that its scheme implies.
    """
    if origin is None or origin in settings.CORS_ALLOWED_ORIGINS:
        return True
    scheme, _separator, rest = origin.lower().partition("://")
    port = DEFAULT_PORTS.get(scheme, "")
    named = rest.partition("/")[0].removesuffix(port)
    return bool(named) and named == (host or "").lower().removesuffix(port)


def _claimed(value: str | None) -> UUID | None:
    """The UUID in X-Workspace-ID, None when it is not sent. Raises Invalid."""
    if not value:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise Invalid("X-Workspace-ID must be a UUID", field="X-Workspace-ID") from None


def narrow(principal: Principal, header: str | None) -> Principal:
    """The same principal. `header` is X-Workspace-ID, which concerns only the token of a workspace.

    Raises Invalid if it is no UUID, NotAllowed if it names another workspace.
    """
    if principal.workspace_id is not None and _claimed(header) not in (None, principal.workspace_id):
        raise NotAllowed("X-Workspace-ID is not the token's workspace")
    return principal


def without_credential(header: str | None) -> Principal:
    """Anonymous; in open mode an operator, or the workspace that the header X-Workspace-ID names.

    Raises Invalid if it is no UUID, AuthenticationFailed if that workspace has a valid agent token.
    """
    if not settings.MOLECULE_OPEN:
        return ANONYMOUS
    claimed = _claimed(header)
    if claimed is None:
        return Principal(kind=Kind.OPEN, level=OPEN_LEVEL, may_reveal=True)
    if tokens.has_live_token(claimed):
        raise AuthenticationFailed(MISSING_TOKEN)
    return Principal(kind=Kind.WORKSPACE, workspace_id=claimed, may_reveal=True)
