"""Rebuild the tables from the log: check() compares them with a replay, fix() sets them from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from activity.events import lock_log
from activity.models import StructureEvent
from registry.liveness import presence
from registry.models import ALIVE, Agent, Workspace, WorkspaceSecret, WorkspaceToken
from registry.structure import projection
from registry.structure.projection import Row, State

CHUNK = 5000
# Events that are in memory at once, with their cards.
READ_AHEAD = 100
STRUCTURAL: dict[type[Workspace] | type[Agent], tuple[str, ...]] = {
    Workspace: (
        "name", "role", "tier", "runtime", "status", "source_bundle_id", "agent_card", "url", "parent_id",
        "forwarded_to_id", "created_at", "updated_at",
    ),
    Agent: ("workspace_id", "model", "status", "removed_at", "removal_reason", "created_at"),
}  # fmt: skip
# Triggers that refuse changes which a repair has to make.
GUARDS = ("workspaces_removed_is_final", "workspaces_no_cycle")


@dataclass(frozen=True)
class Difference:
    """A row that differs from the log. `found` or `replayed` is None if the table or the log has no such row."""

    table: type[Workspace] | type[Agent]
    id: UUID
    found: Row | None
    replayed: Row | None

    def columns(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield (column, found, replayed) for each column that differs."""
        for name in STRUCTURAL[self.table]:
            found, replayed = (None if row is None else row[name] for row in (self.found, self.replayed))
            if found != replayed:
                yield name, found, replayed


def check(progress: Callable[[int], None] = lambda done: None) -> list[Difference]:
    """Replay the log and return how the tables differ, both read in one snapshot. Requests continue meanwhile.

    `progress` is called with the number of replayed events.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return _compare(progress)


def fix(progress: Callable[[int], None] = lambda done: None) -> list[Difference]:
    """Set the tables from the log, under locks that block all writes. Returns what was different."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            # The same order as in operations: rows first (here all of them), the log last.
            cursor.execute("LOCK TABLE workspaces, agents IN EXCLUSIVE MODE")
            lock_log()
            _set_guards(cursor, "DISABLE")
            differences = _compare(progress)
            _repair(differences)
            _grant_leases()
            _set_guards(cursor, "ENABLE")
        return differences


def _compare(progress: Callable[[int], None]) -> list[Difference]:
    state = _replay(progress)
    return [*_differences(Workspace, state.workspaces), *_differences(Agent, state.agents)]


def _replay(progress: Callable[[int], None]) -> State:
    state = State()
    done = 0
    for event in StructureEvent.objects.order_by("seq").iterator(READ_AHEAD):
        projection.fold([event], state)
        done += 1
        if done % CHUNK == 0:
            progress(done)
    progress(done)
    return state


def _differences(table: type[Workspace] | type[Agent], replayed: dict[UUID, Row]) -> Iterator[Difference]:
    columns = STRUCTURAL[table]
    found = {row.pop("id"): row for row in table.objects.values("id", *columns)}
    for i in found.keys() | replayed.keys():
        wanted = {name: replayed[i][name] for name in columns} if i in replayed else None
        if found.get(i) != wanted:
            yield Difference(table, i, found.get(i), wanted)


def _repair(differences: list[Difference]) -> None:
    """Missing workspaces are created first, without references, so that every reference finds its row."""
    for one in differences:
        if one.found is None and one.replayed is not None and one.table is Workspace:
            Workspace.objects.create(id=one.id, name=one.replayed["name"])
    for one in differences:
        if one.replayed is None:
            continue
        if one.table is Agent and one.found is None:
            Agent.objects.create(id=one.id, **one.replayed)
        else:
            one.table.objects.filter(id=one.id).update(**one.replayed)
    unknown = {table: [d.id for d in differences if d.table is table and d.replayed is None] for table in STRUCTURAL}
    Agent.objects.filter(id__in=unknown[Agent]).delete()
    for belonging in (WorkspaceSecret, WorkspaceToken):
        belonging.objects.filter(workspace_id__in=unknown[Workspace]).delete()
    Workspace.objects.filter(id__in=unknown[Workspace]).delete()


def _grant_leases() -> None:
    """No heartbeat could be stored while all rows were locked, and rows that the repair created have no lease."""
    alive = Workspace.objects.filter(status__in=ALIVE).values_list("id", flat=True)
    presence.grant_leases(alive)


def _set_guards(cursor: Any, verb: str) -> None:
    for guard in GUARDS:
        cursor.execute(f"ALTER TABLE workspaces {verb} TRIGGER {guard}")
