"""Columns and read-only fields of workspaces."""

from urllib.parse import urlencode

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from registry.admin import formats
from registry.liveness.flapping import rule
from registry.models import ALIVE, Workspace


@admin.display(description="status", ordering="status")
def status(workspace: Workspace) -> SafeString:
    badge = formats.badge(workspace.status, workspace.status)
    if not _is_flapping(workspace):
        return badge
    return format_html('{} <span class="badge badge-flapping" title="{}">flapping</span>', badge, rule())


@admin.display(description="flapping")
def flapping(workspace: Workspace) -> SafeString:
    if not _is_flapping(workspace):
        return formats.EMPTY
    return format_html("{}; until {}", rule(), formats.absolute(workspace.flapping_until))


def _is_flapping(workspace: Workspace) -> bool:
    return workspace.flapping_until is not None and workspace.flapping_until > timezone.now()


@admin.display(description="name", ordering="name")
def name(workspace: Workspace) -> SafeString | str:
    if not workspace.role:
        return workspace.name
    return format_html('{} <span class="role">{}</span>', workspace.name, formats.short(workspace.role, 48))


@admin.display(description="parent", ordering="parent__name")
def parent(workspace: Workspace) -> SafeString:
    if workspace.parent is None:
        return formats.EMPTY
    return formats.workspace_link(workspace.parent.id, workspace.parent.name)


@admin.display(description="current task")
def task(workspace: Workspace) -> SafeString:
    """Marked "last:" unless heartbeats arrive, because a silent agent may have stopped the task."""
    if not workspace.current_task or workspace.status in ALIVE:
        return formats.short(workspace.current_task)
    return format_html('<span class="past">last: {}</span>', formats.short(workspace.current_task))


@admin.display(description="heartbeat", ordering="last_heartbeat_at")
def heartbeat(workspace: Workspace) -> SafeString:
    return formats.relative(workspace.last_heartbeat_at)


@admin.display(description="canvas")
def canvas(workspace: Workspace) -> SafeString:
    return formats.link(canvas_url(workspace), "Canvas")


@admin.display(description="error rate")
def error_rate(workspace: Workspace) -> str:
    return f"{workspace.last_error_rate:.0%}"


@admin.display(description="sample error")
def sample_error(workspace: Workspace) -> SafeString | str:
    return formats.text(workspace.last_sample_error)


@admin.display(description="current task")
def full_task(workspace: Workspace) -> SafeString | str:
    return formats.text(workspace.current_task)


@admin.display(description="uptime")
def uptime(workspace: Workspace) -> str:
    return formats.span(workspace.uptime_seconds)


@admin.display(description="agent card")
def card(workspace: Workspace) -> SafeString:
    return formats.pretty(workspace.agent_card)


@admin.display(description="URL")
def url(workspace: Workspace) -> SafeString | str:
    """Not a link, because agents choose it."""
    return formats.text(workspace.url)


@admin.display(description="forwarded to")
def forwarded_to(workspace: Workspace) -> SafeString:
    target = workspace.forwarded_to
    return formats.EMPTY if target is None else formats.workspace_link(target.id, target.name)


@admin.display(description="created")
def created(workspace: Workspace) -> SafeString:
    return formats.absolute(workspace.created_at)


@admin.display(description="updated")
def updated(workspace: Workspace) -> SafeString:
    return formats.absolute(workspace.updated_at)


def canvas_url(workspace: Workspace) -> str:
    """Returns the canvas, focused on the workspace."""
    return f"{reverse('canvas')}?{urlencode({'ws': workspace.id})}"
