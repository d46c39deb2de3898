"""What stands above every tab: where the workspace is, its state, since when and why, what it is, and the verbs."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from activity import clock
from registry.admin import formats, problems, states
from registry.admin.events.event_summaries import actor_label
from registry.admin.lists import columns
from registry.admin.workspace.toolbar import Toolbar, toolbar
from registry.admin.workspace.visit import Visit
from registry.models import Status
from registry.organisation.attention import Kind, Problem
from registry.structure import hierarchy
from registry.structure.text import first_line

WHY_LENGTH = 120
OF_THE_STATE = (Kind.FAILED, Kind.DEGRADED, Kind.OFFLINE, Kind.ENROLMENT_EXPIRED)
"""Problems that the badge of the state names."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A problem beside the state."""

    badge: SafeString
    why: str
    when: SafeString | str


@dataclass(frozen=True, kw_only=True)
class Header:
    """`path`: URL and name of everything above. `why` may be empty, as may each of the others."""

    path: list[tuple[str, str]]
    state: SafeString
    since: SafeString | str
    why: SafeString | str
    notes: list[Note]
    facts: list[str]
    toolbar: Toolbar
    canvas_url: str


def header(visit: Visit) -> Header:
    """Two queries at most: what is above it, and whether a token may not read secrets."""
    main = problem_of_state(visit)
    others = [one for one in visit.condition.problems if one is not main]
    return Header(
        path=[_link(*above) for above in hierarchy.ancestors(visit.workspace.id)],
        state=states.state(visit.workspace),
        since=_since(visit, main),
        why=Truncator(first_line(main.why)).chars(WHY_LENGTH) if main else _why(visit),
        notes=[note(one) for one in others],
        facts=_facts(visit),
        toolbar=toolbar(visit),
        canvas_url=columns.canvas_url(visit.workspace),
    )


def note(problem: Problem) -> Note:
    """The problem as a line."""
    return Note(badge=problems.badge(problem), why=problem.why, when=problems.when(problem))


def problem_of_state(visit: Visit) -> Problem | None:
    """The problem that the badge of the state names."""
    return next((one for one in visit.condition.problems if one.kind in OF_THE_STATE), None)


def _link(workspace_id: Any, name: str) -> tuple[str, str]:
    return reverse("admin:registry_workspace_change", args=[workspace_id]), name


def _since(visit: Visit, main: Problem | None) -> SafeString | str:
    if main is not None:
        return problems.when(main)
    return formats.relative(visit.condition.beginning.at) if visit.condition.beginning else ""


def _why(visit: Visit) -> SafeString | str:
    """Who paused or removed it; until when an agent may enrol."""
    workspace, beginning = visit.workspace, visit.condition.beginning
    if workspace.status in (Status.PAUSED, Status.REMOVED) and beginning is not None:
        return f"by {actor_label(beginning.actor, workspace.id, {})}"
    expires = workspace.enrolment_expires_at
    if workspace.status == Status.PROVISIONING and expires is not None and expires > clock.now():
        return format_html("its enrolment token expires {}", formats.until(expires))
    return ""


def _facts(visit: Visit) -> list[str]:
    workspace = visit.workspace
    role = first_line(workspace.role) if workspace.role else ""
    return [fact for fact in (role, f"tier {workspace.tier}", workspace.runtime, visit.model) if fact]
