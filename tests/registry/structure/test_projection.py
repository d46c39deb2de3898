"""What each event changes: the same in memory as in the database, one by one or in batches."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activity.models import EventType, StructureEvent
from registry.models import Agent, Workspace
from registry.organisation import removal, workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.structure import projection


def test_every_event_type_has_a_handler() -> None:
    assert set(projection.HANDLERS) == set(EventType)


def test_an_event_without_a_workspace_is_an_error() -> None:
    event = StructureEvent(event_type=EventType.WORKSPACE_OFFLINE, payload={})
    with pytest.raises(ValueError, match="has no workspace_id"):
        list(projection.changes(event))


def test_an_event_of_an_unknown_workspace_changes_nothing(db: None) -> None:
    event = StructureEvent(event_type=EventType.WORKSPACE_OFFLINE, workspace_id=uuid4(), payload={})
    projection.apply([event])
    assert projection.fold([event]) == projection.State()


def test_folding_the_log_gives_the_tables(make_workspace: Callable[..., Workspace]) -> None:
    parent = make_workspace("parent", role="r", model="m")
    child = make_workspace("child", parent_id=parent.id, external=True, url="http://c:1")
    workspaces.update(child.id, {"name": "renamed", "tier": 2, "parent_id": None}, actor="test")
    workspaces.register(parent.id, url="http://p:1", agent_card={"name": "p"}, held=True, enrolment_id=None)
    workspaces.create(NewWorkspace(name="other"), actor="test")
    removal.remove(child.id, actor="test", confirm=True)
    state = projection.fold(StructureEvent.objects.order_by("seq"))
    for table, rows in ((Workspace, state.workspaces), (Agent, state.agents)):
        for row in table.objects.all():
            assert {name: getattr(row, name) for name in rows[row.id]} == rows[row.id]
        assert len(rows) == table.objects.count()


# --- Batches -------------------------------------------------------------------------------------------------

IDS = [UUID(int=number) for number in range(1, 7)]
CREATED = {"name": "w", "role": None, "tier": 1, "runtime": "r", "parent_id": None, "source_bundle_id": None}
CARDS = st.sampled_from(
    [None, {"name": "c", "n": 10**30, "half": 0.5}, {"name": "\\ ' \" é \U0001f9ea", "deep": [{}, [1]]}]
)
ID = st.sampled_from(IDS)


def event_of(kind: str, **payload: Any) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(kind), st.fixed_dictionaries({name: _strategy(value) for name, value in payload.items()}))


def _strategy(value: Any) -> Any:
    return value if isinstance(value, st.SearchStrategy) else st.just(value)


EVENTS = st.one_of(
    event_of("WORKSPACE_OFFLINE"),
    event_of("WORKSPACE_DEGRADED", error_rate=0.5),
    event_of("WORKSPACE_ONLINE"),
    event_of("WORKSPACE_ONLINE", url=st.sampled_from(["http://a", "http://'%s"]), agent_card=CARDS),
    event_of("AGENT_CARD_UPDATED", agent_card=CARDS),
    event_of("WORKSPACE_MOVED", new_parent_id=st.sampled_from([None, *map(str, IDS[:2])])),
    event_of(
        "WORKSPACE_UPDATED", changes=st.sampled_from([{"name": ["w", "x"]}, {"tier": [1, 3], "role": ["a", None]}])
    ),
    event_of("AGENT_ASSIGNED", model="m"),
    event_of("WORKSPACE_PAUSED"),
)
HISTORY = st.lists(st.tuples(EVENTS, ID), min_size=5, max_size=40)


def log_of(history: list[tuple[tuple[str, dict[str, Any]], UUID]]) -> list[StructureEvent]:
    """Create all workspaces, then add the events that are possible: one assignment each, moves without a cycle."""
    happened = [(("WORKSPACE_PROVISIONING", CREATED), i) for i in IDS]
    assigned: set[UUID] = set()
    for (kind, payload), workspace_id in history:
        if (kind == "WORKSPACE_MOVED" and workspace_id in IDS[:2]) or (
            kind == "AGENT_ASSIGNED" and workspace_id in assigned
        ):
            continue
        if kind == "AGENT_ASSIGNED":
            assigned.add(workspace_id)
        happened.append(((kind, payload), workspace_id))
    began = datetime(2026, 1, 1, microsecond=123456, tzinfo=UTC)
    return [
        StructureEvent(
            seq=number,
            event_type=kind,
            workspace_id=workspace_id,
            agent_id=UUID(int=workspace_id.int + 100) if kind == "AGENT_ASSIGNED" else None,
            payload=payload,
            actor="test",
            created_at=began + timedelta(seconds=number),
        )
        for number, ((kind, payload), workspace_id) in enumerate(happened, start=1)
    ]


def tables() -> list[list[dict[str, Any]]]:
    return [[dict(row) for row in table.objects.order_by("id").values()] for table in (Workspace, Agent)]


@pytest.mark.django_db(transaction=True)
@given(HISTORY)
@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_one_batch_single_events_and_memory_give_the_same_rows(history: list[Any]) -> None:
    events = log_of(history)
    outcomes = []
    for portions in ([events], [[event] for event in events]):
        with transaction.atomic():
            for portion in portions:
                projection.apply(portion)
            outcomes.append(tables())
            transaction.set_rollback(True)
    assert outcomes[0] == outcomes[1]
    state = projection.fold(events)
    for rows, folded in zip(outcomes[0], (state.workspaces, state.agents), strict=True):
        assert [{name: row[name] for name in folded[row["id"]]} for row in rows] == [folded[row["id"]] for row in rows]
        assert len(rows) == len(folded)


def statements(events: list[StructureEvent]) -> int:
    with CaptureQueriesContext(connection) as captured:
        projection.apply(events)
    return sum(query["sql"].startswith(("UPDATE", "INSERT")) for query in captured.captured_queries)


def test_equal_changes_of_many_rows_are_one_statement(db: None) -> None:
    created = log_of([])
    assert statements(created) == 1
    offline = log_of([(("WORKSPACE_OFFLINE", {}), i) for i in IDS])[len(IDS) :]
    assert statements(offline) == 1
    twice = log_of([((kind, {}), i) for kind in ("WORKSPACE_ONLINE", "WORKSPACE_DEGRADED") for i in IDS])[len(IDS) :]
    assert statements(twice) == 2


def moved(workspace_id: UUID, parent: UUID | None) -> tuple[tuple[str, dict[str, Any]], UUID]:
    return ("WORKSPACE_MOVED", {"new_parent_id": None if parent is None else str(parent)}), workspace_id


def test_a_batch_is_refused_if_one_of_its_changes_would_be(db: None) -> None:
    """One statement for all would miss a cycle that a later move undoes, and a change after a removal."""
    a, b, c, d = IDS[2:6]
    projection.apply(log_of([moved(c, d)]))
    through_a_cycle = log_of([moved(d, c), moved(c, None)])[len(IDS) :]
    back_again = log_of([(("WORKSPACE_PAUSED", {}), a), (("WORKSPACE_PAUSED", {}), b), (("WORKSPACE_OFFLINE", {}), a)])
    back_again[len(IDS)].event_type = EventType.WORKSPACE_REMOVED
    back_again[len(IDS)].payload = {"forwarded_to": None}
    for events, message in ((through_a_cycle, "its own ancestor"), (back_again[len(IDS) :], "is removed and stays")):
        with pytest.raises(DatabaseError, match=message), transaction.atomic():
            projection.apply(events)
