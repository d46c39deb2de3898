"""Consistent snapshots of the organisation, each with the last event that it includes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zlib import crc32

import orjson
from django.db import connection

from activity import clock
from activity.events import Position
from activity.statements import rfc3339
from activity.strict_json import compact, json_fragment
from canvas.layout import viewport
from canvas.models import CanvasLayout
from registry.exceptions import Invalid, NotFound
from registry.models import EXTERNAL, AgentStatus, Workspace
from registry.organisation import filters
from registry.organisation.agent_cards import read_card
from registry.organisation.filters import WorkspaceFilter
from registry.structure import history, rows, shown_deployments
from registry.structure.projection import Row

# The fields of a workspace as clients see it, and their SQL. Texts and places are never null.
COLUMNS = {
    "id": "w.id::text",
    "name": "w.name",
    "role": "w.role",
    "tier": "w.tier",
    "status": "w.status",
    "agent_card": "w.agent_card::text",
    "url": "coalesce(w.url, '')",
    "parent_id": "w.parent_id::text",
    "forwarded_to": "w.forwarded_to::text",
    "source_bundle_id": "w.source_bundle_id",
    "active_tasks": "w.active_tasks",
    "last_error_rate": "w.last_error_rate",
    "last_sample_error": "coalesce(w.last_sample_error, '')",
    "uptime_seconds": "w.uptime_seconds",
    "current_task": "coalesce(w.current_task, '')",
    "runtime": "coalesce(w.runtime, '')",
    "external": f"coalesce(w.runtime = '{EXTERNAL}', false)",
    "model": "coalesce(a.model, '')",
    "last_heartbeat_at": rfc3339("w.last_heartbeat_at"),
    "flapping_until": rfc3339("w.flapping_until"),
    "enrolment_expires_at": rfc3339("w.enrolment_expires_at"),
    "last_refusal": f"""CASE WHEN w.refused_at IS NOT NULL THEN json_build_object('at', {rfc3339("w.refused_at")},
      'count', w.refused_count, 'reason', w.refused_reason, 'address', w.refused_address) END""",
    "deployment": shown_deployments.SHOWN,
    "created_at": rfc3339("w.created_at"),
    "updated_at": rfc3339("w.updated_at"),
    "x": "coalesce(l.x, 0)",
    "y": "coalesce(l.y, 0)",
    "collapsed": "coalesce(l.collapsed, false)",
}
CARD = list(COLUMNS).index("agent_card")
LIVE = (
    "active_tasks",
    "last_error_rate",
    "last_sample_error",
    "uptime_seconds",
    "current_task",
    "last_heartbeat_at",
    "flapping_until",
    "enrolment_expires_at",
    "last_refusal",
    "deployment",
)
OPERATOR_FIELDS = {"enrolment_expires_at", "last_refusal", "deployment"}
UNPLACED = CanvasLayout(x=0.0, y=0.0, collapsed=False)

# Each row has the seq and the id of the last event, so that all are read by one statement and at one instant.
ROWS = f"""
    SELECT {", ".join(COLUMNS.values())}, (SELECT max(seq) FROM structure_events),
      (SELECT id::text FROM structure_events ORDER BY seq DESC LIMIT 1)
    FROM workspaces w LEFT JOIN canvas_layouts l ON l.workspace_id = w.id
      LEFT JOIN agents a ON a.workspace_id = w.id AND a.status = 'active'
      LEFT JOIN deployments d ON d.workspace_id = w.id
"""  # noqa: S608  # our own columns
ACTIVE = "w.status <> 'removed'"
# Each change of a row sets a new xmin, so the visible ids and xmins identify the visible contents of a table. Unlike a
# timestamp column, this also notices a transaction that commits late.
VERSION = f"""
    SELECT (SELECT coalesce(max(seq), 0) FROM structure_events),
      (SELECT bit_xor(uuid_hash_extended(id, xmin::text::bigint)) FROM workspaces WHERE status <> 'removed'),
      ({shown_deployments.VERSION}),
      (SELECT bit_xor(uuid_hash_extended(workspace_id, xmin::text::bigint)) FROM canvas_layouts),
      (SELECT bit_xor(uuid_hash_extended(id, xmin::text::bigint)) FROM canvas_viewport),
      (SELECT id::text FROM structure_events ORDER BY seq DESC LIMIT 1)
"""  # noqa: S608  # of constants
# Versions of a release with other fields differ.
FORMAT = crc32((ROWS + VERSION).encode())


@dataclass(frozen=True, kw_only=True)
class Version:
    """`workspaces` changes whenever the result of workspaces() does, `everything` whenever that of now() does.

    Both contain the id of the event at `position`, because a restored database uses seq and xmin again.
    """

    position: Position
    workspaces: str
    everything: str


def version() -> Version:
    """Call it before reading the data: then it may be too old, but never newer than the data."""
    with connection.cursor() as cursor:
        cursor.execute(VERSION)
        seq, *hashes, event_id = cursor.fetchone()
    *shown, viewport_version = (f"{(part or 0) & (2**64 - 1):x}" for part in hashes)
    listed = "-".join([f"{FORMAT:x}", f"{seq:x}", (event_id or "")[:8], *shown])
    return Version(position=Position(seq, event_id), workspaces=listed, everything=f"{listed}-{viewport_version}")


def workspaces(
    *, wanted: WorkspaceFilter | None = None, after: UUID | None = None, limit: int | None = None
) -> tuple[Position | None, list[dict[str, Any]]]:
    """The workspaces that are wanted, by default the active ones, by created_at, and the last event that they include;
    None for an empty list.

    `after` is the last id of the previous page, and may be that of a removed workspace. Ids and times are text, agent
    cards JSON text that the renderer passes on. Raises Invalid.
    """
    page_start = (
        "" if after is None else "AND (w.created_at, w.id) > (SELECT created_at, id FROM workspaces WHERE id = %s)"
    )
    selection, values = _selection(wanted or WorkspaceFilter())
    parameters = [*values, *(one for one in (after, limit) if one is not None)]
    page_size = "" if limit is None else "LIMIT %s"
    position, found = _read(
        f"{ROWS} WHERE {selection} {page_start} ORDER BY w.created_at, w.id {page_size}", parameters
    )
    if not found and after is not None and not Workspace.objects.filter(id=after).exists():
        raise Invalid("after: no such workspace", field="after")
    return position, found


def _selection(wanted: WorkspaceFilter) -> tuple[str, Sequence[Any]]:
    """The condition on `w`, and its parameters."""
    if wanted == WorkspaceFilter():
        return ACTIVE, ()
    found, values = filters.select(Workspace.objects.order_by(), wanted).values("id").query.sql_with_params()
    return f"w.id IN ({found})", values


def workspace(workspace_id: UUID) -> dict[str, Any]:
    """One active workspace. Raises NotFound, Forwarded, Removed."""
    _, found = _read(f"{ROWS} WHERE {ACTIVE} AND w.id = %s", [workspace_id])
    if not found:
        rows.find(workspace_id)
        raise NotFound
    return found[0]


def agent_card_problems(workspace: dict[str, Any]) -> list[str]:
    """What cannot be used in the card of a workspace as workspace() returns it; empty without a card."""
    card = workspace["agent_card"]
    # The card is a fragment of JSON text, which orjson gives back only by printing it.
    return [] if card is None else list(read_card(orjson.loads(orjson.dumps(card))).problems)


def without_operator_fields(workspace: dict[str, Any]) -> dict[str, Any]:
    """What other workspaces and its own agent may see of a workspace."""
    return {name: value for name, value in workspace.items() if name not in OPERATOR_FIELDS}


def now(if_empty: Position) -> tuple[Position, dict[str, Any]]:
    """The current snapshot and its position. `if_empty`, read before, is that of an empty organisation."""
    time, (read, shown) = clock.now(), workspaces()
    position = read or if_empty
    return position, {"seq": position.seq, "at": time, "workspaces": shown, "viewport": viewport()}


def at(when: int | datetime) -> dict[str, Any]:
    """The snapshot at an event or a time, from the log. Live fields are None; places are the current ones."""
    moment = history.moment(when)
    state = history.state_at(moment)
    active = history.active(state)
    models = {
        agent["workspace_id"]: agent["model"]
        for agent in state.agents.values()
        if agent["status"] == AgentStatus.ACTIVE
    }
    places = CanvasLayout.objects.in_bulk(list(active))
    cards = history.cards(row["agent_card"] for row in active.values())
    shown = [_past(i, {**row, "model": models.get(i, "")}, cards, places.get(i, UNPLACED)) for i, row in active.items()]
    time = when if isinstance(when, datetime) else moment.at
    return {"seq": moment.seq, "before": moment.before, "at": time, "workspaces": shown, "viewport": viewport()}


def _past(workspace_id: UUID, row: Row, cards: Mapping[int | None, str | None], place: CanvasLayout) -> dict[str, Any]:
    fields = {
        **row,
        "agent_card": json_fragment(cards[row["agent_card"]]),
        "id": workspace_id,
        "url": row["url"] or "",
        "forwarded_to": row["forwarded_to_id"],
    }
    fields |= {"runtime": row["runtime"] or "", "external": row["runtime"] == EXTERNAL}
    fields |= {"x": place.x, "y": place.y, "collapsed": place.collapsed, **dict.fromkeys(LIVE)}
    return {name: fields[name] for name in COLUMNS}


def _read(statement: str, parameters: Sequence[Any]) -> tuple[Position | None, list[dict[str, Any]]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchall()
    position = Position(found[0][-2] or 0, found[0][-1]) if found else None
    return position, [_fields(row) for row in found]


def _fields(row: tuple[Any, ...]) -> dict[str, Any]:
    fields = dict(zip(COLUMNS, row, strict=False))
    if row[CARD] is not None:
        fields["agent_card"] = compact(row[CARD])
    return fields
