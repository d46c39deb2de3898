"""Which workspaces a list shows: parameters become a filter, the filter conditions on rows.

One definition for `GET /workspaces`, the admin's list, exports and saved filters.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.lookups import DataContains
from django.db.models import Func, Model, Q, QuerySet, TextField, Value
from django.db.models.expressions import RawSQL

from activity import clock, parameters
from activity.parameters import Parameters
from registry.models import ALIVE, Status, Workspace
from registry.organisation import attention

TIERS = ("1", "2", "3", "4")
ACTIVE, REMOVED, ALL = "active", "removed", "all"
TOP, TEAM = "top", "team"
UNKNOWN_RUNTIME = "unknown"
"""Stands for workspaces whose runtime is not known."""
NAMES = (
    "q", "status", "tier", "runtime", "team", "position", "attention", "flapping", "silent",
    "heartbeat_after", "heartbeat_before", "created_after", "created_before", "state",
)  # fmt: skip
ID_START = re.compile("[0-9a-f]{6,32}")
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, kw_only=True)
class WorkspaceFilter:
    """Conditions that a workspace must all meet; what is empty is no condition.

    `team`: everything below this workspace. `silent`: heartbeats are expected, and the lease has ended. Times: `after`
    includes the moment, `before` does not; a workspace without a heartbeat has no time of one.
    `state` is that which was asked for, otherwise active workspaces, and removed ones where `status` names them.
    """

    q: str = ""
    status: tuple[str, ...] = ()
    tier: tuple[int, ...] = ()
    runtime: tuple[str, ...] = ()
    team: UUID | None = None
    position: str = ""
    attention: bool = False
    flapping: bool = False
    silent: bool = False
    heartbeat_after: datetime | None = None
    heartbeat_before: datetime | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    state: str = ACTIVE


def parse(given: Parameters) -> WorkspaceFilter:
    """The filter that the parameters ask for; other names are ignored. Raises BadParameter."""
    status = parameters.several(given, "status", Status.values)
    names_removed = Status.REMOVED in status
    return WorkspaceFilter(
        q=parameters.text(given, "q"),
        status=status,
        tier=tuple(int(tier) for tier in parameters.several(given, "tier", TIERS)),
        runtime=parameters.several(given, "runtime"),
        team=parameters.identifier(given, "team"),
        position=parameters.choice(given, "position", (TOP, TEAM)),
        attention=parameters.flag(given, "attention"),
        flapping=parameters.flag(given, "flapping"),
        silent=parameters.flag(given, "silent"),
        heartbeat_after=parameters.moment(given, "heartbeat_after"),
        heartbeat_before=parameters.moment(given, "heartbeat_before"),
        created_after=parameters.moment(given, "created_after"),
        created_before=parameters.moment(given, "created_before"),
        state=parameters.choice(given, "state", (ACTIVE, REMOVED, ALL)) or (ALL if names_removed else ACTIVE),
    )


def select(rows: QuerySet[Workspace], wanted: WorkspaceFilter) -> QuerySet[Workspace]:
    """Those of the rows that the filter wants. With `attention`, one query finds what needs somebody."""
    return search(rows, wanted.q).filter(
        *_of_state(wanted), *_of_columns(wanted), *_of_hierarchy(wanted), *_of_health(wanted)
    )


def search(rows: QuerySet[Row], text: str) -> QuerySet[Row]:
    """Those with every word of the text in their name or role; or with an id that is the word or begins so."""
    for word in text.split():
        # The pairs of characters leave few rows to compare, by an index; one character has none.
        likely = Q(DataContains(_pairs("name", "role"), _pairs(Value(word)))) if len(word) > 1 else Q()
        rows = rows.filter(likely & (Q(name__icontains=word) | Q(role__icontains=word)) | has_id(word))
    return rows


def _pairs(*texts: str | Value) -> Func:
    """Their pairs of adjacent characters: see 0020_search.py."""
    return Func(*texts, function="pairs", output_field=ArrayField(TextField()))


def has_id(word: str) -> Q:
    """The word is an id, or how one begins; with fewer characters it would be found in ids by chance."""
    digits = word.replace("-", "").lower()
    if not ID_START.fullmatch(digits):
        return Q(id__in=[])
    return Q(id__range=(UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))))


def _of_state(wanted: WorkspaceFilter) -> list[Q]:
    removed = Q(status=Status.REMOVED)
    return {ACTIVE: [~removed], REMOVED: [removed], ALL: []}[wanted.state]


def _of_columns(wanted: WorkspaceFilter) -> list[Q]:
    """Conditions of one column each."""
    values = {
        "status__in": wanted.status,
        "tier__in": wanted.tier,
        "last_heartbeat_at__gte": wanted.heartbeat_after,
        "last_heartbeat_at__lt": wanted.heartbeat_before,
        "created_at__gte": wanted.created_after,
        "created_at__lt": wanted.created_before,
    }
    found = [Q(**{lookup: value}) for lookup, value in values.items() if value]
    if wanted.runtime:
        unknown = Q(runtime=None) | Q(runtime="") if UNKNOWN_RUNTIME in wanted.runtime else Q()
        found.append(Q(runtime__in=wanted.runtime) | unknown)
    return found


def _of_hierarchy(wanted: WorkspaceFilter) -> list[Q]:
    found = [Q(parent__isnull=wanted.position == TOP)] if wanted.position else []
    below = Q(id__in=RawSQL(BELOW, [wanted.team]))  # noqa: S611  # of a constant
    return [*found, below] if wanted.team else found


def _of_health(wanted: WorkspaceFilter) -> list[Q]:
    now, found = clock.now(), []
    if wanted.attention:
        ids = RawSQL("SELECT unnest(%s::uuid[])", [attention.workspace_ids()])
        found.append(Q(id__in=ids))
    if wanted.flapping:
        found.append(Q(flapping_until__gt=now))
    if wanted.silent:
        overdue = Q(lease_expires_at=None) | Q(lease_expires_at__lte=now)
        found.append(Q(status=Status.OFFLINE) | Q(status__in=ALIVE) & overdue)
    return found


# Also of removed workspaces, whose rows keep their parents. UNION ends a cycle.
BELOW = """
WITH RECURSIVE below AS (
  SELECT id FROM workspaces WHERE parent_id = %s
  UNION SELECT w.id FROM workspaces w JOIN below b ON w.parent_id = b.id
) SELECT id FROM below
"""
