"""Columns and read-only fields of workspaces."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import reverse
from django.utils.safestring import SafeString

from activity import clock
from registry.admin import formats
from registry.admin.actions.urls import verb_url
from registry.liveness.flapping import rule
from registry.models import ALIVE, Status, Workspace
from registry.organisation import verbs
from registry.structure.text import first_line

LAST_TASK = "last: "
"""Before the task of a workspace that is not alive."""


def first_role_line(workspace: Workspace) -> str:
    """The first line of the role, "" without one."""
    return first_line(workspace.role or "")


def marks(workspace: Workspace) -> list[SafeString]:
    """Badges for what operators should know besides the state."""
    badges = []
    if _is_flapping(workspace):
        badges.append(formats.badge("flapping", "Flapping", title=rule()))
    if workspace.refused_at is not None:
        title = ", ".join(_refusal_details(workspace))
        badges.append(formats.badge(Status.FAILED, _refused(workspace), title=title))
    return badges


def _refused(workspace: Workspace) -> str:
    count = workspace.refused_count
    return "Refused once" if count == 1 else f"Refused {count:,} times"


def _refusal_details(workspace: Workspace) -> list[str]:
    address = workspace.refused_address
    return [workspace.refused_reason or "", *([f"from {address}"] if address else [])]


def _is_flapping(workspace: Workspace) -> bool:
    return workspace.flapping_until is not None and workspace.flapping_until > clock.now()


@admin.display(description="name", ordering="name")
def name(workspace: Workspace) -> SafeString:
    """The name, with the first line of the role below it."""
    shown = formats.short(workspace.name, formats.LONGEST_NAME)
    if not workspace.role:
        return shown
    return formats.html('{} <span class="role">{}</span>', shown, formats.short(workspace.role, 48))


def superseded(workspace: Any) -> SafeString | str:
    """A note where a newer workspace took its place; see workspace_list.WorkspaceList."""
    if workspace.successor is None:
        return ""
    same = formats.workspace_link(workspace.successor.id, workspace.successor.name)
    url = f"{verb_url(verbs.REMOVE)}?id={workspace.id}"
    remove = formats.html(' <a class="danger" href="{}">Remove…</a>', url) if workspace.may_be_removed else ""
    note = '<span class="superseded">Same name and address as {}, which is newer.{}</span>'
    return formats.html(note, same, remove)


@admin.display(description="current task")
def task(workspace: Workspace) -> SafeString:
    """Marked "last:" unless heartbeats arrive, because a silent agent may have stopped the task."""
    if not workspace.current_task or workspace.status in ALIVE:
        return formats.short(workspace.current_task)
    return formats.html('<span class="past">{}{}</span>', LAST_TASK, formats.short(workspace.current_task))


@admin.display(description="heartbeat", ordering="last_heartbeat_at")
def heartbeat(workspace: Workspace) -> SafeString:
    """The age of the last heartbeat."""
    return formats.relative(workspace.last_heartbeat_at)


@admin.display(description="error rate")
def error_rate(workspace: Workspace) -> str:
    """The error rate in percent."""
    return f"{workspace.last_error_rate * 100:.0f}%"


@admin.display(description="created")
def created(workspace: Workspace) -> SafeString:
    """When the workspace was created, in UTC."""
    return formats.absolute(workspace.created_at)


@admin.display(description="updated")
def updated(workspace: Workspace) -> SafeString:
    """When the workspace last changed, in UTC."""
    return formats.absolute(workspace.updated_at)


def canvas_url(workspace: Workspace) -> str:
    """Returns the canvas, focused on the workspace."""
    return f"{reverse('canvas')}?{urlencode({'ws': workspace.id})}"
