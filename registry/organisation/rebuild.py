"""Rebuild the tables from the log: check() compares them with a replay, fix() sets them from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import ForeignObjectRel, Model

from activity import bus
from activity.events import lock_log, record_rebuild
from activity.models import StructureEvent
from registry.identity import enrolment, tokens
from registry.liveness import presence
from registry.models import ALIVE, Agent, AgentStatus, Status, Workspace
from registry.structure import projection
from registry.structure.projection import Row, State

CHUNK = 5000
# How many events, with their cards, are in memory at once.
READ_AHEAD = 100
STRUCTURAL: dict[type[Workspace] | type[Agent], tuple[str, ...]] = {
    Workspace: (
        "name", "role", "tier", "runtime", "status", "source_bundle_id", "agent_card", "url", "parent_id",
        "forwarded_to_id", "created_at", "updated_at",
    ),
    Agent: ("workspace_id", "model", "status", "removed_at", "removal_reason", "created_at"),
}  # fmt: skip
# Triggers that refuse changes which a repair needs.
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
    """Set the tables from the log, under locks that block all writes. Returns what was different.

    Workspaces that the log does not have are deleted, with all rows that refer to them. All processes then reload what
    they cache.
    """
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
            if differences:
                record_rebuild(len(differences))
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
    _drop_dangling_references(state)
    return state


def _drop_dangling_references(state: State) -> None:
    """An event that plain SQL inserted may name a workspace that was never created, to which no row can refer."""
    known = state.workspaces.keys() | {None}
    for row in state.workspaces.values():
        row |= {name: None for name in ("parent_id", "forwarded_to_id") if row[name] not in known}
    state.agents = {i: row for i, row in state.agents.items() if row["workspace_id"] in known}


def _differences(table: type[Workspace] | type[Agent], replayed: dict[UUID, Row]) -> Iterator[Difference]:
    columns = STRUCTURAL[table]
    found = {row.pop("id"): row for row in table.objects.values("id", *columns)}
    for i in found.keys() | replayed.keys():
        wanted = {name: replayed[i][name] for name in columns} if i in replayed else None
        if found.get(i) != wanted:
            yield Difference(table, i, found.get(i), wanted)


def _repair(differences: list[Difference]) -> None:
    """In an order in which every reference has its row, and no workspace has two active models at any time."""
    wanted = {table: {d.id: d.replayed for d in differences if d.table is table} for table in STRUCTURAL}
    unknown = {table: [i for i, row in rows.items() if row is None] for table, rows in wanted.items()}
    removed = [i for i, row in wanted[Workspace].items() if row is None or row["status"] == Status.REMOVED]
    tokens.revoke_workspace_tokens(removed)
    Agent.objects.filter(id__in=unknown[Agent]).delete()
    Agent.objects.filter(id__in=wanted[Agent]).update(status=AgentStatus.REMOVED)
    missing = [d for d in differences if d.found is None and d.replayed is not None]
    Workspace.objects.bulk_create(
        Workspace(id=d.id, name=d.replayed["name"]) for d in missing if d.table is Workspace and d.replayed
    )
    Agent.objects.bulk_create(Agent(id=d.id, **d.replayed) for d in missing if d.table is Agent and d.replayed)
    for table, rows in wanted.items():
        for i, row in rows.items():
            if row is not None:
                table._default_manager.filter(id=i).update(**row)
    enrolment.clear(removed)
    _delete_workspaces(unknown[Workspace])
    bus.after_commit(presence.set_tombstones, removed)
    bus.after_commit(presence.forget_urls, list(wanted[Workspace]))


def _delete_workspaces(ids: list[UUID]) -> None:
    """Delete them with the rows of all tables that refer to them; by now none of these is in the log."""
    for relation in Workspace._meta.get_fields(include_hidden=True):
        if isinstance(relation, ForeignObjectRel) and relation.related_model is not Workspace:
            belonging: type[Model] = relation.related_model
            belonging._default_manager.filter(**{f"{relation.field.name}__in": ids}).delete()
    Workspace.objects.filter(id__in=ids).delete()


def _grant_leases() -> None:
    """Restart all leases: no heartbeat was stored while the rows were locked, and new rows have no lease."""
    alive = Workspace.objects.filter(status__in=ALIVE).values_list("id", flat=True)
    presence.grant_leases(alive)


def _set_guards(cursor: Any, verb: str) -> None:
    for guard in GUARDS:
        cursor.execute(f"ALTER TABLE workspaces {verb} TRIGGER {guard}")
