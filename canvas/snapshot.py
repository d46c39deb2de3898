"""One consistent picture of the organisation, with the position it is true for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zlib import crc32

from django.db import connection
from django.utils import timezone

from activity.strict_json import compact
from canvas.layout import viewport
from canvas.models import CanvasLayout
from registry.exceptions import Invalid, NotFound
from registry.models import Workspace
from registry.structure import history, rows
from registry.structure.projection import Row


def _time(column: str) -> str:
    """As text: of ten thousand rows, making and printing datetimes would cost more than all the rest."""
    return f"""replace(to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '')"""


# What clients see of a workspace, and where it comes from. Texts and places are never null.
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
    "runtime": "w.runtime",
    "last_heartbeat_at": _time("w.last_heartbeat_at"),
    "flapping_until": _time("w.flapping_until"),
    "enrolment_expires_at": _time("w.enrolment_expires_at"),
    "last_refusal": f"""CASE WHEN w.refused_at IS NOT NULL THEN json_build_object('at', {_time("w.refused_at")},
      'count', w.refused_count, 'reason', w.refused_reason, 'address', w.refused_address) END""",
    "created_at": _time("w.created_at"),
    "updated_at": _time("w.updated_at"),
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
)
OPERATOR_FIELDS = {"enrolment_expires_at", "last_refusal"}
UNPLACED = CanvasLayout(x=0.0, y=0.0, collapsed=False)

# The position comes with each row: from one statement, so from one instant.
PICTURES = f"""
    SELECT {", ".join(COLUMNS.values())}, (SELECT max(seq) FROM structure_events)
    FROM workspaces w LEFT JOIN canvas_layouts l ON l.workspace_id = w.id
    WHERE w.status <> 'removed'
"""  # noqa: S608  # our own columns
# Each change of a row gives it another xmin. So what we see of a table is said by the ids and xmins that we see:
# a transaction that commits late shows as late as its rows do, which no clock in a column would.
VERSION = """
    SELECT (SELECT coalesce(max(seq), 0) FROM structure_events),
      (SELECT bit_xor(uuid_hash_extended(id, xmin::text::bigint)) FROM workspaces WHERE status <> 'removed'),
      (SELECT bit_xor(uuid_hash_extended(workspace_id, xmin::text::bigint)) FROM canvas_layouts),
      (SELECT bit_xor(uuid_hash_extended(id, xmin::text::bigint)) FROM canvas_viewport)
"""
# A release that pictures otherwise has other versions.
FORM = crc32((PICTURES + VERSION).encode())


@dataclass(frozen=True, kw_only=True)
class Version:
    """Of what there is to see. `workspaces` changes with all that workspaces() would say, `everything` with now()."""

    seq: int
    workspaces: str
    everything: str


def version() -> Version:
    """Read it before what it is of: then it is too old at worst, and never vouches for what came later."""
    with connection.cursor() as cursor:
        cursor.execute(VERSION)
        seq, *hashes = cursor.fetchone()
    first, second, third = (f"{(part or 0) & (2**64 - 1):x}" for part in hashes)
    listed = f"{FORM:x}-{seq:x}-{first}-{second}"
    return Version(seq=seq, workspaces=listed, everything=f"{listed}-{third}")


def workspaces(*, after: UUID | None = None, limit: int | None = None) -> tuple[int | None, list[dict[str, Any]]]:
    """The living workspaces by created_at, and the event position they are true for; None for an empty list.

    `after` is the last id of the page before; removed ones still mark their place in the order. Ids and times are
    text, agent cards JSON text, for the renderer to pass on. Raises Invalid.
    """
    beyond = "" if after is None else "AND (w.created_at, w.id) > (SELECT created_at, id FROM workspaces WHERE id = %s)"
    given = [one for one in (after, limit) if one is not None]
    end = "" if limit is None else "LIMIT %s"
    seq, found = _read(f"{PICTURES} {beyond} ORDER BY w.created_at, w.id {end}", given)
    if not found and after is not None and not Workspace.objects.filter(id=after).exists():
        raise Invalid("after: no such workspace", field="after")
    return seq, found


def workspace(workspace_id: UUID) -> dict[str, Any]:
    """Raises NotFound, Forwarded, Removed."""
    _, found = _read(f"{PICTURES} AND w.id = %s", [workspace_id])
    if not found:
        rows.find(workspace_id)
        raise NotFound
    return found[0]


def without_operator_fields(workspace: dict[str, Any]) -> dict[str, Any]:
    """What other workspaces and its own agent may see of a workspace."""
    return {name: value for name, value in workspace.items() if name not in OPERATOR_FIELDS}


def now(seq: int) -> dict[str, Any]:
    """`seq`: read before; an empty organisation is true for a position at least this late."""
    at, (read, pictures) = timezone.now(), workspaces()
    return {"seq": seq if read is None else read, "at": at, "workspaces": pictures, "viewport": viewport()}


def then(when: int | datetime) -> dict[str, Any]:
    """The organisation as it was, from the log. Live columns are None; places are those of today."""
    moment = history.moment(when)
    living = history.living_at(moment)
    places = CanvasLayout.objects.in_bulk(list(living))
    pictures = [_past(i, row, places.get(i, UNPLACED)) for i, row in living.items()]
    at = when if isinstance(when, datetime) else moment.at
    return {"seq": moment.seq, "at": at, "workspaces": pictures, "viewport": viewport()}


def _past(workspace_id: UUID, row: Row, place: CanvasLayout) -> dict[str, Any]:
    picture = {**row, "id": workspace_id, "url": row["url"] or "", "forwarded_to": row["forwarded_to_id"]}
    picture |= {"x": place.x, "y": place.y, "collapsed": place.collapsed, **dict.fromkeys(LIVE)}
    return {name: picture[name] for name in COLUMNS}


def _read(statement: str, given: Sequence[Any]) -> tuple[int | None, list[dict[str, Any]]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, given)
        found = cursor.fetchall()
    seq = found[0][-1] or 0 if found else None
    return seq, [_picture(row) for row in found]


def _picture(row: tuple[Any, ...]) -> dict[str, Any]:
    picture = dict(zip(COLUMNS, row, strict=False))
    if row[CARD] is not None:
        picture["agent_card"] = compact(row[CARD])
    return picture
