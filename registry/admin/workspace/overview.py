"""The first tab: why the workspace is as it is, its last calls, and the workspace at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from activity import clock
from activity.models import ActivityLog, ActivityType, StructureEvent
from activity.principals import Kind as Who
from registry.admin import charts, formats
from registry.admin.events import timeline
from registry.admin.events.event_summaries import actor_label
from registry.admin.events.timeline import Entry
from registry.admin.lists import columns
from registry.admin.workspace import calls
from registry.admin.workspace.calls import Call
from registry.admin.workspace.header import Note, note, problem_of_state
from registry.admin.workspace.visit import Visit
from registry.liveness import availability
from registry.models import ALIVE, TokenKind, WorkspaceToken
from registry.organisation import discovery
from registry.organisation.agent_cards import AgentCard, read_card
from registry.organisation.attention import Kind
from registry.organisation.overview import AVAILABILITY_HOURS, recent
from registry.structure.access import Rule

LAST_CALLS, SEARCHED = 6, 500
"""Calls and changes are looked for among the last activities and events only."""
CHANGES_BEFORE = 2
NEIGHBOURS = 5
RELATIONS = {
    Rule.PARENT: "Parent",
    Rule.SIBLINGS: "Siblings",
    Rule.ROOTS: "Top level",
    Rule.CHILD: "Team",
}
Fact = tuple[str, SafeString | str]


@dataclass(frozen=True, kw_only=True)
class Why:
    """What is wrong. `error`: what the agent or its start reported. `changes`: what operators did last before it.

    `then_url`: the organisation on the canvas at the moment it began.
    """

    title: str
    error: str
    began: SafeString | str
    refused: str
    refused_at: SafeString | str
    revoked: SafeString | str
    others: list[Note]
    changes: list[Entry]
    then_url: str


def context(visit: Visit) -> dict[str, Any]:
    """What the template shows; whatever is empty is left out there."""
    workspace = visit.workspace
    found = availability.of([workspace.id], window := recent(clock.now()), AVAILABILITY_HOURS)[workspace.id]
    card = None if workspace.agent_card is None else read_card(workspace.agent_card)
    return {
        "why": _why(visit) if visit.condition.problems else None,
        "removal": _removal(visit),
        "calls": _last_calls(visit) if visit.may("activity.view_activitylog") else [],
        "availability": None if found.ratio is None else charts.percent(found.ratio),
        "availability_hours": AVAILABILITY_HOURS,
        "availability_chart": charts.statuses(found.strip, window),
        "vitals": _vitals(visit),
        "card": card,
        "card_facts": [] if card is None else _card_facts(card),
        "neighbours": [] if visit.is_removed else _neighbours(visit),
    }


def _why(visit: Visit) -> Why:
    workspace, beginning = visit.workspace, visit.condition.beginning
    main = problem_of_state(visit)
    failed = main is not None and main.kind == Kind.FAILED
    refused = workspace.refused_at is not None
    title = "What needs attention" if main is None else f"Why {_it_is(main.kind)}"
    return Why(
        title=title,
        error=main.why if main and failed else workspace.last_sample_error or "",
        began=formats.absolute(main.at) if main and main.at else "",
        refused=_refused(visit) if refused else "",
        refused_at=formats.relative(workspace.refused_at) if refused else "",
        revoked=_revoked(workspace.id) if refused else "",
        others=[note(one) for one in visit.condition.problems if one is not main and one.kind != Kind.REFUSED],
        changes=_changes_before(workspace.id, beginning.seq) if beginning else [],
        then_url=timeline.canvas_at(beginning.seq, workspace.id) if beginning else "",
    )


def _it_is(kind: Kind) -> str:
    return {Kind.FAILED: "it failed", Kind.ENROLMENT_EXPIRED: "no agent is connected"}.get(kind, f"it is {kind}")


def _refused(visit: Visit) -> str:
    workspace = visit.workspace
    times = "" if workspace.refused_count == 1 else f", {workspace.refused_count:,} times"
    address = f" from {workspace.refused_address}" if workspace.refused_address else ""
    return f"{workspace.refused_reason}{address}{times}"


def _revoked(workspace_id: UUID) -> SafeString | str:
    """The agent's token that was revoked last."""
    revoked = WorkspaceToken.objects.filter(workspace_id=workspace_id, kind=TokenKind.AGENT, revoked_at__isnull=False)
    last = revoked.only("prefix", "revoked_at").order_by("-revoked_at").first()
    return format_html("<code>{}</code>, {}", last.prefix, formats.relative(last.revoked_at)) if last else ""


def _removal(visit: Visit) -> dict[str, Any] | None:
    """Who removed it and when, and the organisation just before."""
    beginning = visit.condition.beginning
    if not visit.is_removed or beginning is None:
        return None
    return {
        "actor": actor_label(beginning.actor, visit.workspace.id, {}),
        "at": formats.absolute(beginning.at),
        "before_url": timeline.canvas_at(beginning.seq - 1, visit.workspace.id),
    }


def _changes_before(workspace_id: UUID, seq: int) -> list[Entry]:
    """What operators did last to the workspace before this position."""
    before = StructureEvent.objects.filter(workspace_id=workspace_id, seq__lt=seq).order_by("-seq").values("seq")
    found = StructureEvent.objects.filter(seq__in=before[:SEARCHED], actor__startswith=f"{Who.OPERATOR}:")
    return timeline.entries(list(found.order_by("-seq")[:CHANGES_BEFORE]))


def _last_calls(visit: Visit) -> list[Call]:
    rows = ActivityLog.objects.filter(workspace_id=visit.workspace.id).order_by("-created_at", "-id")
    kinds = (ActivityType.A2A_RECEIVE, ActivityType.A2A_SEND)
    found = ActivityLog.objects.filter(pk__in=rows.values("pk")[:SEARCHED], activity_type__in=kinds)
    return calls.calls(found.defer(*calls.LARGE).order_by("-created_at", "-id")[:LAST_CALLS])


def _vitals(visit: Visit) -> list[dict[str, Any]]:
    """`live`: the slot that is kept up to date in the browser."""
    workspace = visit.workspace
    if workspace.last_heartbeat_at is None:
        return []
    alive = workspace.status in ALIVE
    facts: Sequence[tuple[str, SafeString | str, str]] = (
        ("Last heartbeat", formats.relative(workspace.last_heartbeat_at), "heartbeat"),
        ("Error rate", columns.error_rate(workspace), "error_rate"),
        ("Active tasks", f"{workspace.active_tasks:,}" if alive else "", "active_tasks"),
        ("Uptime", formats.span(workspace.uptime_seconds) if workspace.uptime_seconds else "", ""),
        ("Task", columns.task(workspace) if workspace.current_task else "", "task"),
    )
    return [{"label": label, "value": value, "live": live} for label, value, live in facts if value]


def _card_facts(card: AgentCard) -> list[Fact]:
    interfaces = [" ".join(part for part in (one.binding, one.version) if part) for one in card.interfaces]
    facts: Sequence[Fact] = (
        ("Name", card.name),
        ("Version", card.version),
        ("Skills", ", ".join(skill.name for skill in card.skills)),
        ("Interfaces", ", ".join(dict.fromkeys(one for one in interfaces if one))),
        ("Capabilities", ", ".join(card.capabilities)),
        ("Provider", card.provider.organization if card.provider else ""),
    )
    return [(label, formats.text(value)) for label, value in facts if value]


def _neighbours(visit: Visit) -> list[Fact]:
    found = discovery.neighbours(visit.workspace, NEIGHBOURS)
    return [(label, _named(found[rule])) for rule, label in RELATIONS.items() if rule in found]


def _named(some: discovery.Neighbours) -> SafeString:
    links = format_html_join(", ", "{}", ((formats.workspace_link(one, name),) for one, name in some.first))
    more = some.total - len(some.first)
    return format_html("{} and {} more", links, f"{more:,}") if more else links
