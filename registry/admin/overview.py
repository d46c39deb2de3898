"""The admin's first page: what needs somebody, and the organisation at a glance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse
from django.utils.safestring import SafeString

from activity import events
from activity.models import ActivityType, StructureEvent
from activity.principals import Kind as Who
from registry.admin import charts, formats, problems
from registry.admin.actions.urls import verb_url
from registry.admin.events import timeline
from registry.admin.events.timeline import Entry
from registry.admin.widgets import SEPARATOR
from registry.models import Status
from registry.organisation import verbs
from registry.organisation.attention import Item, Kind
from registry.organisation.overview import AVAILABILITY_HOURS, CALL_HOURS, Overview, overview
from registry.structure import hierarchy
from registry.structure.states import AWAITING_AGENT

LATEST_EVENTS = 8
SHOWN_ITEMS = 12
LIST_URL = "admin:registry_workspace_changelist"


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A number with a label, which leads to the list of what it counts. `tone`: "", "warn" or "bad"."""

    label: str
    number: str
    note: str
    url: str
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A workspace that needs somebody, as the page shows it."""

    workspace: SafeString
    path: str
    badge: SafeString
    why: str
    others: Sequence[str]
    since: SafeString | str
    last_change: Entry | None
    item: Item


def context() -> dict[str, Any]:
    """What templates/admin/index.html shows."""
    found = overview()
    return {
        "overview": found,
        "tiles": tiles(found),
        "attention_rows": _rows(found.attention.items[:SHOWN_ITEMS]),
        "calls_chart": charts.calls(found.hours),
        "availability_chart": charts.ratios(found.ratios, found.window),
        "availability": charts.percent(found.uptime.ratio),
        "availability_hours": AVAILABILITY_HOURS,
        "latest": timeline.entries(timeline.rows_of(events.page(limit=LATEST_EVENTS))),
        "pause_url": verb_url(verbs.PAUSE),
    }


def tiles(found: Overview) -> list[Tile]:
    """The numbers on top."""
    count = found.statuses.get
    failed, degraded, offline = (count(one, 0) for one in (Status.FAILED, Status.DEGRADED, Status.OFFLINE))
    kinds = found.attention.kinds.get
    return [
        Tile(
            label="Online", number=f"{count(Status.ONLINE, 0):,}", note=f"of {found.total:,}", url=_list(Status.ONLINE)
        ),
        Tile(label="Failed", number=f"{failed:,}", note="", url=_list(Status.FAILED), tone="bad" if failed else ""),
        Tile(
            label="Degraded",
            number=f"{degraded:,}",
            note="",
            url=_list(Status.DEGRADED),
            tone="warn" if degraded else "",
        ),
        Tile(
            label="Offline",
            number=f"{offline:,}",
            note=f"{kinds(Kind.FLAPPING, 0):,} flapping" if kinds(Kind.FLAPPING) else "",
            url=_list(Status.OFFLINE),
            tone="bad" if offline else "",
        ),
        Tile(
            label=AWAITING_AGENT,
            number=f"{count(Status.PROVISIONING, 0):,}",
            note=f"{kinds(Kind.ENROLMENT_EXPIRED, 0):,} expired" if kinds(Kind.ENROLMENT_EXPIRED) else "",
            url=_list(Status.PROVISIONING),
        ),
        Tile(
            label=f"Calls, {CALL_HOURS} h",
            number=f"{found.calls.calls:,}",
            note="" if found.calls.error_rate is None else f"{found.calls.error_rate:.1%} errors",
            url=_calls_url(),
        ),
        Tile(
            label="p95 duration",
            number=formats.duration(found.calls.p95_ms) or "-",
            note=_change(found.calls.p95_ms, found.calls_before.p95_ms),
            url=_calls_url(),
        ),
    ]


def _list(status: Status) -> str:
    return f"{reverse(LIST_URL)}?{urlencode({'status': status})}"


def _calls_url() -> str:
    query = urlencode({"type": ActivityType.A2A_RECEIVE})
    return f"{reverse('admin:activity_activitylog_changelist')}?{query}"


def _rows(items: Sequence[Item]) -> list[Row]:
    ids = [item.workspace_id for item in items]
    paths, changes = hierarchy.paths(ids), _last_changes(ids)
    return [_row(item, paths.get(item.workspace_id, []), changes.get(item.workspace_id)) for item in items]


def _row(item: Item, path: Sequence[str], change: Entry | None) -> Row:
    worst, *others = item.problems
    return Row(
        workspace=formats.workspace_link(item.workspace_id, item.name),
        path=SEPARATOR.join(path[:-1]),
        badge=problems.badge(worst),
        why=worst.why,
        others=[f"{problems.word(one)}: {one.why}" for one in others],
        since=problems.when(worst),
        last_change=change,
        item=item,
    )


def _last_changes(workspace_ids: Sequence[UUID]) -> Mapping[UUID, Entry]:
    """What operators did last to each workspace."""
    rows = StructureEvent.objects.filter(workspace_id__in=workspace_ids, actor__startswith=f"{Who.OPERATOR}:")
    newest = rows.order_by("workspace_id", "-seq").distinct("workspace_id")
    return {entry.event.workspace_id: entry for entry in timeline.entries(list(newest)) if entry.event.workspace_id}


def _change(now: int | None, before: int | None) -> str:
    if now is None or before is None:
        return ""
    sign = "▲" if now > before else "▼"
    return f"{sign} {formats.duration(abs(now - before))}" if now != before else ""
