"""Who may call which route: one table, checked in one place. A route that is not in the table is denied.

V any operator · O operator who may act · M administrator · R operator who may reveal secret values ·
W the named workspace by its token · P a workspace that may communicate with the named one ·
C any workspace (the operation asks further) · E an enrolment token for the named workspace · S a scraper of metrics ·
open: anybody while enrolment is open · - anybody.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated, PermissionDenied, ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from activity.principals import ANONYMOUS, Kind, Level, Principal
from registry.exceptions import MISSING_TOKEN
from registry.identity import tokens
from registry.identity.authentication import level_of, principal_of
from registry.structure import access

if TYPE_CHECKING:
    from rest_framework.views import APIView


@dataclass(frozen=True)
class Rule:
    """`who`: letters as above. `named`: which body field names the workspace, where the path does not.

    `tombstone`: a removed workspace's own token is let in, so that the answer says it is removed.
    `reveals`: the response has secret values, so the credential needs `may_reveal`.
    """

    who: str
    named: str | None = None
    tombstone: bool = False
    reveals: bool = False

    @property
    def names_caller(self) -> bool:
        """Does the request name the workspace that its token must be for, and not one that it asks about?"""
        letters = set(self.who.split())
        return bool(letters & {"W", "E"}) and not letters & {"P", "C"}


POLICY: dict[str, dict[str, Rule]] = {
    "health": {"GET": Rule("-")},
    "health-ready": {"GET": Rule("-")},
    "metrics": {"GET": Rule("V S")},
    "schema": {"GET": Rule("V")},
    "docs": {"GET": Rule("V")},
    "templates": {"GET": Rule("V")},
    "import-template": {"POST": Rule("O")},
    "template": {"GET": Rule("V"), "DELETE": Rule("O")},
    "export-bundle": {"GET": Rule("V")},
    "import-bundle": {"POST": Rule("O")},
    "duplicate": {"POST": Rule("O")},
    "org-templates": {"GET": Rule("V")},
    "import-organisation": {"POST": Rule("O")},
    "approvals-pending": {"GET": Rule("V")},
    "test-token": {"GET": Rule("-")},
    "workspaces": {"GET": Rule("V"), "POST": Rule("O")},
    "workspace": {
        "GET": Rule("V W P", tombstone=True),
        "PATCH": Rule("O"),
        "DELETE": Rule("O"),
    },
    "availability": {"GET": Rule("V")},
    "workspace-state": {"GET": Rule("V W", tombstone=True)},
    "workspace-activity": {"GET": Rule("V W"), "POST": Rule("O W")},
    "workspace-notify": {"POST": Rule("W")},
    "register": {"POST": Rule("E W open", named="id", tombstone=True)},
    "heartbeat": {"POST": Rule("W", named="workspace_id", tombstone=True)},
    "heartbeats": {"POST": Rule("-")},  # each heartbeat has a token of its own
    "update-card": {"POST": Rule("W", named="workspace_id", tombstone=True)},
    "enrolment": {"POST": Rule("O")},
    "connection": {"GET": Rule("V")},
    "undo": {"POST": Rule("O")},
    "pause": {"POST": Rule("O")},
    "resume": {"POST": Rule("O")},
    "restart": {"POST": Rule("O")},
    "expand": {"POST": Rule("O")},
    "collapse": {"POST": Rule("O")},
    "agent": {"POST": Rule("O"), "PATCH": Rule("O"), "DELETE": Rule("O")},
    "agent-move": {"POST": Rule("O")},
    "agents": {"GET": Rule("V")},
    "discover": {"GET": Rule("V C")},
    "peers": {"GET": Rule("V W")},
    "check-access": {"POST": Rule("V W", named="caller_id")},
    "explain": {"GET": Rule("V")},
    "workspace-secrets": {"GET": Rule("V W"), "POST": Rule("M"), "PUT": Rule("M")},
    "workspace-secret": {"DELETE": Rule("M")},
    "secret-values": {"GET": Rule("W", reveals=True)},
    "reveal-secrets": {"POST": Rule("R")},
    "files": {"GET": Rule("V W"), "PUT": Rule("O W")},
    "file": {"GET": Rule("V W"), "PUT": Rule("O W"), "DELETE": Rule("O W")},
    "file-revisions": {"GET": Rule("V W")},
    "file-revision": {"GET": Rule("V W")},
    "restore-file": {"POST": Rule("O W")},
    "shared-context": {"GET": Rule("V W")},
    "agent-settings": {"GET": Rule("V W"), "PATCH": Rule("O W")},
    "global-secrets": {"GET": Rule("V"), "POST": Rule("M"), "PUT": Rule("M")},
    "global-secret": {"DELETE": Rule("M")},
    "model": {"GET": Rule("V W"), "PUT": Rule("O")},
    "tokens": {"GET": Rule("M W"), "POST": Rule("M W")},
    "token": {"DELETE": Rule("M W")},
    "search": {"GET": Rule("V")},
    "attention": {"GET": Rule("V")},
    "overview": {"GET": Rule("V")},
    "activity": {"GET": Rule("V")},
    "events": {"GET": Rule("V")},
    "workspace-events": {"GET": Rule("V")},
    "events-diff": {"GET": Rule("V")},
    "snapshot": {"GET": Rule("V")},
    "viewport": {"GET": Rule("V"), "PUT": Rule("O")},
    "stream": {"CONNECT": Rule("V W")},
}

NOT_REVEALED = (
    "this token may not read secret values, because the user who enrolled the agent may not reveal them. "
    "An administrator can allow it: POST /workspaces/{id}/reveal-secrets"
)
LEVELS = {"V": Level.VIEW, "O": Level.ACT, "M": Level.ADMINISTER}


class Policy(BasePermission):
    """DRF's DEFAULT_PERMISSION_CLASSES, which no view overrides."""

    message = "not allowed"

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if (request.method or "").lower() not in _methods(view):
            raise MethodNotAllowed(request.method or "")
        rule = rule_of(request)
        if rule is None:
            raise PermissionDenied("no policy for this route")
        principal = principal_of(request)
        allowed = permits(rule, principal, _named(rule, request, view.kwargs))
        if not allowed and principal == ANONYMOUS:
            raise NotAuthenticated("authentication required")
        if not allowed and principal.kind == Kind.OPEN:
            raise NotAuthenticated(MISSING_TOKEN)
        if not allowed and principal.retired:
            raise NotAuthenticated("token revoked")
        if allowed and rule.reveals and not (principal.may_reveal or settings.MOLECULE_OPEN):
            raise PermissionDenied(NOT_REVEALED)
        return allowed


def route_of(request: Request) -> str:
    """The name of the request's route, "" when there is none."""
    return (request.resolver_match and request.resolver_match.url_name) or ""


def rule_of(request: Request) -> Rule | None:
    """The rule for the request's route and method, None when there is none."""
    return POLICY.get(route_of(request), {}).get("GET" if request.method == "HEAD" else request.method or "")


def _methods(view: "APIView") -> set[str]:
    """The methods that the view has; others are 405 for everybody."""
    return {name for name in view.http_method_names if name != "options" and hasattr(view, name)}


def may_listen(principal: Principal) -> bool:
    """May it connect to /ws? The workspace named is the principal itself."""
    return permits(POLICY["stream"]["CONNECT"], principal, principal.workspace_id)


def permits(rule: Rule, principal: Principal, named: UUID | None) -> bool:
    """True when any letter of the rule admits this principal; `named` is the workspace that the request is about."""
    if principal.retired and not rule.tombstone:
        return False
    return any(_letter(letter, principal, named) for letter in rule.who.split())


def _letter(letter: str, principal: Principal, named: UUID | None) -> bool:
    if letter in LEVELS:
        return level_of(principal) >= LEVELS[letter]
    return LETTERS[letter](principal, named)


def _is_workspace(principal: Principal, named: UUID | None) -> bool:
    if named is None:
        return False
    if principal.kind == Kind.WORKSPACE:
        return principal.workspace_id == named
    return principal.kind == Kind.OPEN and not tokens.has_live_token(named)


def _is_peer(principal: Principal, named: UUID | None) -> bool:
    caller = principal.workspace_id if principal.kind == Kind.WORKSPACE else None
    return caller is not None and named is not None and access.can_communicate(caller, named)


def _is_enrolled(principal: Principal, named: UUID | None) -> bool:
    return principal.kind == Kind.ENROLMENT and principal.workspace_id == named


def _is_open(principal: Principal, named: UUID | None) -> bool:
    """Only without a credential: an invalid one is not accepted instead."""
    is_anonymous = principal.kind in (Kind.ANONYMOUS, Kind.OPEN)
    return settings.MOLECULE_ENROLMENT == "open" and is_anonymous and not (named and tokens.has_live_token(named))


def _may_reveal(principal: Principal, named: UUID | None) -> bool:
    """In open mode a credential never allows less than no credential."""
    return settings.MOLECULE_OPEN or (principal.kind == Kind.OPERATOR and principal.may_reveal)


LETTERS: dict[str, Callable[[Principal, UUID | None], bool]] = {
    "W": _is_workspace,
    "C": lambda principal, _named: principal.kind == Kind.WORKSPACE,
    "P": _is_peer,
    "R": _may_reveal,
    "E": _is_enrolled,
    "S": lambda principal, _named: principal.kind == Kind.SCRAPER,
    "open": _is_open,
    "-": lambda _principal, _named: True,
}


def _named(rule: Rule, request: Request, kwargs: dict[str, Any]) -> UUID | None:
    """The workspace that the request is about; None when the route names none, or for anonymous."""
    if rule.named is None:
        value = kwargs.get("workspace_id")
        return value if isinstance(value, UUID) else None
    is_open = "open" in rule.who and settings.MOLECULE_ENROLMENT == "open"
    if principal_of(request).kind == Kind.ANONYMOUS and not is_open:
        return None
    named = named_in_body(request, rule.named)
    if named is None:
        raise ValidationError({rule.named: "must name a workspace, as a UUID"})
    return named


def named_in_body(request: Request, field: str) -> UUID | None:
    """The UUID in that field of the body, None when there is none. Raises APIException for an unreadable body."""
    body: Any = request.data
    try:
        return UUID(body[field])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
