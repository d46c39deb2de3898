"""The columns of the list of workspaces. What the live stream updates is marked with `data-live`."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from registry.admin import charts, formats
from registry.admin.lists import columns
from registry.admin.states import state
from registry.liveness.availability import Availability
from registry.models import Workspace

HOURS = 24


@admin.display(description="status", ordering="status")
def status(workspace: Any) -> SafeString:
    """The live state, marks beside it, and a note where a newer workspace took its place."""
    return formats.html("{}{}", badges(workspace), columns.superseded(workspace))


def badges(workspace: Workspace) -> SafeString:
    """The live state, and marks beside it."""
    found = [formats.html('<span data-live="status">{}</span>', state(workspace)), *columns.marks(workspace)]
    return SafeString(" ".join(found))


@admin.display(description="task")
def task(workspace: Workspace) -> SafeString:
    """The current task, marked where the agent is silent."""
    shown = columns.task(workspace)
    return formats.html('<span data-live="task">{}</span>', "" if shown == formats.EMPTY else shown)


@admin.display(description="team", ordering="parent__name")
def team(workspace: Any) -> SafeString:
    """A link to the workspace whose team it is in. See WorkspaceList."""
    return formats.workspace_link(workspace.parent_id, workspace.team_name)


@admin.display(description="tier", ordering="tier")
def tier(workspace: Workspace) -> int:
    """1 to 4."""
    return workspace.tier


@admin.display(description="runtime", ordering="runtime")
def runtime(workspace: Workspace) -> SafeString:
    """What runs the agent, where that is known."""
    return formats.short(workspace.runtime, 20)


@admin.display(description="heartbeat", ordering="last_heartbeat_at")
def heartbeat(workspace: Workspace) -> SafeString:
    """The age of the last heartbeat; empty before the first."""
    return formats.relative(workspace.last_heartbeat_at, live="heartbeat")


@admin.display(description="errors", ordering="last_error_rate")
def errors(workspace: Workspace) -> SafeString:
    """The error rate, unless it is 0."""
    rate = columns.error_rate(workspace) if workspace.last_error_rate else ""
    return formats.html('<span data-live="error_rate">{}</span>', rate)


@admin.display(description=f"last {HOURS} h")
def availability(workspace: Any) -> SafeString:
    """A strip of its statuses; empty where it was not expected at all. See WorkspaceList."""
    found: Availability = workspace.availability
    if found.ratio is None:
        return formats.EMPTY
    return charts.spark(found.strip, f"{charts.percent(found.ratio)} available in the last {HOURS} h")
