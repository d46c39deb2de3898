"""The tab of how a workspace's agent gets in: its tokens, its enrolment, and the last refused credential."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect

from activity import clock
from registry.admin import formats
from registry.admin.workspace.visit import Visit
from registry.exceptions import NotFound
from registry.identity import enrolment
from registry.models import Status, WorkspaceToken

MOST_TOKENS = 50
REVOKE = "registry.change_workspacetoken"


def context(visit: Visit) -> dict[str, Any]:
    """The last MOST_TOKENS tokens, those that are not revoked first."""
    now = clock.now()
    rows = WorkspaceToken.objects.filter(workspace_id=visit.workspace.id).defer("hash")
    tokens = sorted(rows.order_by("-created_at")[:MOST_TOKENS], key=lambda token: not token.is_live(now))
    shown: Any = visit.admin.admin_site.get_model_admin(WorkspaceToken)
    return {
        "tokens": [_row(shown, token, is_live=token.is_live(now)) for token in tokens],
        "effect": shown.revocation_effect,
        "may_revoke": visit.may(REVOKE),
        "awaits_until": _awaits_until(visit),
        "refused_at": formats.relative(visit.workspace.refused_at) if visit.workspace.refused_at else "",
    }


def post(visit: Visit) -> HttpResponse:
    """Revoke one token. Raises PermissionDenied, Http404."""
    if not visit.may(REVOKE):
        raise PermissionDenied
    try:
        token = WorkspaceToken.objects.defer("hash").get(
            workspace_id=visit.workspace.id, id=UUID(visit.request.POST["token"])
        )
    except (KeyError, ValueError, WorkspaceToken.DoesNotExist):
        raise Http404 from None
    try:
        enrolment.revoke_token(token.workspace_id, token.id)
    except NotFound:
        messages.warning(visit.request, f"Already revoked: {token.prefix}.")
    else:
        visit.admin.log_change(visit.request, visit.workspace, f"Revoked the token {token.prefix}.")
        messages.success(visit.request, f"Revoked {token.prefix}. Connections opened with it are closed.")
    return HttpResponseRedirect(visit.url("access"))


def _row(shown: Any, token: WorkspaceToken, *, is_live: bool) -> dict[str, Any]:
    return {
        "id": token.id,
        "prefix": token.prefix,
        "kind": token.get_kind_display(),
        "label": formats.text(token.label) if token.label else "",
        "state": shown.state(token),
        "may_reveal": token.may_reveal,
        "created": shown.created(token),
        "last_used": shown.last_used(token) if token.last_used_at else "",
        "expires": shown.expires(token) if token.expires_at and is_live else "",
        "is_live": is_live,
    }


def _awaits_until(visit: Visit) -> Any:
    """Until when an agent may enrol; "" where none is awaited."""
    workspace = visit.workspace
    if workspace.status == Status.REMOVED or workspace.enrolment_expires_at is None:
        return ""
    return formats.until(workspace.enrolment_expires_at)
