"""What each event means: pure, closed, and the same in memory as in the database."""

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


def test_every_event_has_a_meaning() -> None:
    assert set(projection.MEANING) == set(EventType)


def test_an_event_without_a_subject_is_an_error() -> None:
    event = StructureEvent(event_type=EventType.WORKSPACE_OFFLINE, payload={})
    with pytest.raises(ValueError, match="names no workspace"):
        list(projection.changes(event))


def test_changes_of_the_unknown_are_nobodys(db: None) -> None:
    event = StructureEvent(event_type=EventType.WORKSPACE_OFFLINE, workspace_id=uuid4(), payload={})
    projection.apply([event])
    assert projection.fold([event]) == projection.State()


def test_the_fold_of_the_log_is_the_table(make_workspace: Callable[..., Workspace]) -> None:
    parent = make_workspace("parent", role="r", model="m")
    child = make_workspace("child", parent_id=parent.id, external=True, url="http://c:1")
    workspaces.update(child.id, {"name": "renamed", "tier": 2, "parent_id": None}, actor="test")
    workspaces.register(parent.id, url="http://p:1", agent_card={"name": "p"}, held=True, enrolment_id=None)
    workspaces.create(NewWorkspace(name="gone"), actor="test")
    removal.remove(child.id, actor="test", confirm=True)
    state = projection.fold(StructureEvent.objects.order_by("seq"))
    for table, rows in ((Workspace, state.workspaces), (Agent, state.agents)):
        for row in table.objects.all():
            assert {name: getattr(row, name) for name in rows[row.id]} == rows[row.id]
        assert len(rows) == table.objects.count()


# --- Batches -------------------------------------------------------------------------------------------------

IDS = [UUID(int=number) for number in range(1, 7)]
BIRTH = {"name": "w", "role": None, "tier": 1, "runtime": "r", "parent_id": None, "source_bundle_id": None}
CARDS = st.sampled_from(
    [None, {"name": "c", "n": 10**30, "half": 0.5}, {"name": "\\ ' \" é \U0001f9ea", "deep": [{}, [1]]}]
)
ID = st.sampled_from(IDS)


def told(kind: str, **payload: Any) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.tuples(st.just(kind), st.fixed_dictionaries({name: _strategy(value) for name, value in payload.items()}))


def _strategy(value: Any) -> Any:
    return value if isinstance(value, st.SearchStrategy) else st.just(value)


HAPPENED = st.one_of(
    told("WORKSPACE_OFFLINE"),
    told("WORKSPACE_DEGRADED", error_rate=0.5),
    told("WORKSPACE_ONLINE"),
    told("WORKSPACE_ONLINE", url=st.sampled_from(["http://a", "http://'%s"]), agent_card=CARDS),
    told("AGENT_CARD_UPDATED", agent_card=CARDS),
    told("WORKSPACE_MOVED", new_parent_id=st.sampled_from([None, *map(str, IDS[:2])])),
    told("WORKSPACE_UPDATED", changes=st.sampled_from([{"name": ["w", "x"]}, {"tier": [1, 3], "role": ["a", None]}])),
    told("AGENT_ASSIGNED", model="m"),
    told("WORKSPACE_PAUSED"),
)
HISTORY = st.lists(st.tuples(HAPPENED, ID), min_size=5, max_size=40)


def log_of(history: list[tuple[tuple[str, dict[str, Any]], UUID]]) -> list[StructureEvent]:
    """Everybody is born; an agent is assigned once, and nobody moves below somebody of the first two but others."""
    happened = [(("WORKSPACE_PROVISIONING", BIRTH), who) for who in IDS]
    assigned: set[UUID] = set()
    for (kind, payload), who in history:
        if (kind == "WORKSPACE_MOVED" and who in IDS[:2]) or (kind == "AGENT_ASSIGNED" and who in assigned):
            continue
        if kind == "AGENT_ASSIGNED":
            assigned.add(who)
        happened.append(((kind, payload), who))
    began = datetime(2026, 1, 1, microsecond=123456, tzinfo=UTC)
    return [
        StructureEvent(
            seq=number,
            event_type=kind,
            workspace_id=who,
            agent_id=UUID(int=who.int + 100) if kind == "AGENT_ASSIGNED" else None,
            payload=payload,
            actor="test",
            created_at=began + timedelta(seconds=number),
        )
        for number, ((kind, payload), who) in enumerate(happened, start=1)
    ]


def tables() -> list[list[dict[str, Any]]]:
    return [[dict(row) for row in table.objects.order_by("id").values()] for table in (Workspace, Agent)]


@pytest.mark.django_db(transaction=True)
@given(HISTORY)
@settings(max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_in_batches_one_by_one_and_in_memory_it_is_the_same(history: list[Any]) -> None:
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


def test_what_happens_to_many_is_one_statement(db: None) -> None:
    births = log_of([])
    assert statements(births) == 1
    silence = log_of([(("WORKSPACE_OFFLINE", {}), who) for who in IDS])[len(IDS) :]
    assert statements(silence) == 1
    twice = log_of([((kind, {}), who) for kind in ("WORKSPACE_ONLINE", "WORKSPACE_DEGRADED") for who in IDS])[
        len(IDS) :
    ]
    assert statements(twice) == 2


def moved(who: UUID, whither: UUID | None) -> tuple[tuple[str, dict[str, Any]], UUID]:
    return ("WORKSPACE_MOVED", {"new_parent_id": None if whither is None else str(whither)}), who


def test_a_batch_is_refused_what_each_of_it_would_be(db: None) -> None:
    """A cycle that a later move undoes, and a return from removal that one statement would not see."""
    a, b, c, d = IDS[2:6]
    projection.apply(log_of([moved(c, d)]))
    through_a_cycle = log_of([moved(d, c), moved(c, None)])[len(IDS) :]
    back_again = log_of([(("WORKSPACE_PAUSED", {}), a), (("WORKSPACE_PAUSED", {}), b), (("WORKSPACE_OFFLINE", {}), a)])
    back_again[len(IDS)].event_type = EventType.WORKSPACE_REMOVED
    back_again[len(IDS)].payload = {"forwarded_to": None}
    for events, complaint in ((through_a_cycle, "its own ancestor"), (back_again[len(IDS) :], "is removed and stays")):
        with pytest.raises(DatabaseError, match=complaint), transaction.atomic():
            projection.apply(events)
