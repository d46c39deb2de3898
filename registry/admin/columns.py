"""Columns and read-only fields of workspaces."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from activity import clock
from registry.admin import formats, verbs
from registry.liveness.flapping import rule
from registry.models import ALIVE, Status, Workspace
from registry.organisation import workspaces
from registry.organisation.agent_cards import read_card
from registry.structure.states import ENROLMENT_EXPIRED, state_label


@admin.display(description="status", ordering="status")
def status(workspace: Workspace) -> SafeString:
    """The state, and marks for what else operators should know."""
    badges = [state(workspace)]
    if _is_flapping(workspace):
        badges.append(formats.badge("flapping", "Flapping", title=rule()))
    if workspace.refused_at is not None:
        title = ", ".join(_refusal_details(workspace))
        badges.append(formats.badge(Status.FAILED, _refused(workspace), title=title))
    return format_html_join(" ", "{}", ((badge,) for badge in badges))


@admin.display(description="status")
def state(workspace: Workspace) -> SafeString:
    """The state label as a badge."""
    return formats.badge(Status.DEGRADED if has_expired(workspace) else workspace.status, _label(workspace))


def has_expired(workspace: Workspace) -> bool:
    """Whether an agent can register only with a new enrolment token."""
    return _label(workspace) == ENROLMENT_EXPIRED


def _label(workspace: Workspace) -> str:
    return state_label(workspace.status, workspace.enrolment_expires_at, clock.now())


@admin.display(description="refusals")
def refusals(workspace: Workspace) -> SafeString:
    """ "Refused 12 times: token revoked, from 10.0.0.1, 2 min ago"."""
    if workspace.refused_at is None:
        return formats.EMPTY
    details = ", ".join(_refusal_details(workspace))
    return format_html("{}: {}, {}", _refused(workspace), details, formats.relative(workspace.refused_at))


def _refused(workspace: Workspace) -> str:
    count = workspace.refused_count
    return "Refused once" if count == 1 else f"Refused {count:,} times"


def _refusal_details(workspace: Workspace) -> list[str]:
    address = workspace.refused_address
    return [workspace.refused_reason or "", *([f"from {address}"] if address else [])]


@admin.display(description="flapping")
def flapping(workspace: Workspace) -> SafeString:
    """A badge while the workspace flaps."""
    if not _is_flapping(workspace):
        return formats.EMPTY
    return format_html("{}; until {}", rule(), formats.absolute(workspace.flapping_until))


def _is_flapping(workspace: Workspace) -> bool:
    return workspace.flapping_until is not None and workspace.flapping_until > clock.now()


@admin.display(description="name", ordering="name")
def name(workspace: Workspace) -> SafeString:
    """The name, with the first line of the role below it."""
    shown = formats.short(workspace.name, formats.LONGEST_NAME)
    if not workspace.role:
        return shown
    return format_html('{} <span class="role">{}</span>', shown, formats.short(workspace.role, 48))


@admin.display(description="status", ordering="status")
def status_in_list(workspace: Any) -> SafeString:
    """The status, with a note where a newer workspace took its place; see superseded.WorkspaceList."""
    if workspace.successor is None:
        return status(workspace)
    same = formats.workspace_link(workspace.successor.id, workspace.successor.name)
    url = f"{verbs.REMOVE.url}?id={workspace.id}"
    remove = format_html(' <a class="danger" href="{}">Remove…</a>', url) if workspace.may_be_removed else ""
    note = '{} <span class="superseded">Same name and address as {}, which is newer.{}</span>'
    return format_html(note, status(workspace), same, remove)


@admin.display(description="parent", ordering="parent__name")
def parent(workspace: Workspace) -> SafeString:
    """A link to the parent."""
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
    """The age of the last heartbeat."""
    return formats.relative(workspace.last_heartbeat_at)


@admin.display(description="canvas")
def canvas(workspace: Workspace) -> SafeString:
    """A link to the workspace on the canvas."""
    return formats.link(canvas_url(workspace), "Canvas")


@admin.display(description="error rate")
def error_rate(workspace: Workspace) -> str:
    """The error rate in percent."""
    return f"{workspace.last_error_rate:.0%}"


@admin.display(description="sample error")
def sample_error(workspace: Workspace) -> SafeString:
    """The last error that the agent reported."""
    return formats.text(workspace.last_sample_error)


@admin.display(description="current task")
def full_task(workspace: Workspace) -> SafeString:
    """The current task, not shortened."""
    return formats.text(workspace.current_task)


@admin.display(description="uptime")
def uptime(workspace: Workspace) -> str:
    """How long the agent has been running."""
    return formats.span(workspace.uptime_seconds)


@admin.display(description="agent card")
def card(workspace: Workspace) -> SafeString:
    """The agent card as indented JSON."""
    return formats.pretty(workspace.agent_card)


@admin.display(description="agent card problems")
def card_problems(workspace: Workspace) -> SafeString:
    """What cannot be used in the agent card, one sentence a line."""
    problems = () if workspace.agent_card is None else read_card(workspace.agent_card).problems
    if not problems:
        return formats.EMPTY
    items = format_html_join("", "<li>{}</li>", ((problem,) for problem in problems))
    return format_html('<ul class="problems">{}</ul>', items)


@admin.display(description="name in its card")
def card_name(workspace: Workspace) -> SafeString:
    """Empty where it is the name of the workspace."""
    return formats.text(workspaces.differing_card_name(workspace))


@admin.display(description="URL")
def url(workspace: Workspace) -> SafeString:
    """Not a link, because agents choose it."""
    return formats.text(workspace.url)


@admin.display(description="forwarded to")
def forwarded_to(workspace: Workspace) -> SafeString:
    """A link to the workspace that answers for this removed one."""
    target = workspace.forwarded_to
    return formats.EMPTY if target is None else formats.workspace_link(target.id, target.name)


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
