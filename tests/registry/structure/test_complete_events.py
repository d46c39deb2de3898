"""Every event that the database accepts can be replayed and is in order, also one that plain SQL inserted."""

import json
import os
import threading
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activity import bus, cache_versions, events
from activity.events import NewEvent
from activity.models import EventType, StructureEvent
from activity.outbox import Frame
from registry.models import Agent, Workspace
from registry.organisation import rebuild, workspaces
from registry.organisation.audience import Teams
from registry.organisation.workspaces import NewWorkspace
from registry.structure import projection
from tests.e2e.stack import until
from tests.registry.racing import STRESS

INSERT = (
    "INSERT INTO structure_events (event_type, workspace_id, agent_id, payload, actor) VALUES (%s, %s, %s, %s, 'sql')"
)
ME, AGENT, OTHER = (UUID(int=number) for number in (1, 2, 3))


def insert(event_type: str, payload: Any, workspace_id: UUID | None = ME, agent_id: UUID | None = AGENT) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(INSERT, [event_type, workspace_id, agent_id, None if payload is None else json.dumps(payload)])


# One complete event of each type that needs something, as SQL would insert it.
COMPLETE: dict[str, dict[str, Any]] = {
    "WORKSPACE_PROVISIONING": {"name": "w"},
    "WORKSPACE_UPDATED": {"changes": {"name": ["a", "b"], "url": ["x", None], "color": [1, {}]}},
    "WORKSPACE_MOVED": {"old_parent_id": None, "new_parent_id": str(OTHER)},
    "WORKSPACE_REMOVED": {"forwarded_to": None},
    "AGENT_ASSIGNED": {"model": "m"},
    "AGENT_REMOVED": {"reason": None},
    "AGENT_REPLACED": {"old_agent_id": str(OTHER), "new_model": "m"},
    "AGENT_MOVED": {"to_workspace_id": str(OTHER)},
    "AGENT_CARD_UPDATED": {"agent_card": {"name": "a"}},
}
SMALLEST = COMPLETE | {kind: {} for kind in EventType if kind not in COMPLETE}


@pytest.mark.parametrize("event_type", SMALLEST)
def test_a_complete_event_is_accepted(db: None, event_type: str) -> None:
    insert(event_type, SMALLEST[event_type])


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        *((kind, None) for kind in COMPLETE),
        *((kind, {}) for kind in COMPLETE),
        *((kind, [SMALLEST[kind]]) for kind in EventType),
        ("WORKSPACE_PROVISIONING", {"name": ""}),
        ("WORKSPACE_PROVISIONING", {"name": ["w"]}),
        ("WORKSPACE_PROVISIONING", {"name": "w", "tier": 5}),
        ("WORKSPACE_PROVISIONING", {"name": "w", "tier": "1"}),
        ("WORKSPACE_PROVISIONING", {"name": "w", "parent_id": "nobody"}),
        ("WORKSPACE_PROVISIONING", {"name": "w", "parent_id": [None]}),
        ("WORKSPACE_ONLINE", {"agent_card": "text"}),
        ("WORKSPACE_UPDATED", {"changes": [["a", "b"]]}),
        ("WORKSPACE_UPDATED", {"changes": {"name": "b"}}),
        ("WORKSPACE_UPDATED", {"changes": {"other": [1]}}),
        ("WORKSPACE_UPDATED", {"changes": {"name": ["a", None]}}),
        ("WORKSPACE_UPDATED", {"changes": {"forwarded_to": [None, "x"]}}),
        ("WORKSPACE_MOVED", {"new_parent_id": None}),
        ("WORKSPACE_MOVED", {"old_parent_id": None, "new_parent_id": str(OTHER).upper() + "0"}),
        ("WORKSPACE_MOVED", {"old_parent_id": None, "new_parent_id": 5}),
        ("AGENT_REPLACED", {"old_agent_id": None, "new_model": "m"}),
        ("AGENT_MOVED", {"to_workspace_id": [str(OTHER)]}),
    ],
)
def test_an_event_without_what_its_type_needs_is_refused(db: None, event_type: str, payload: Any) -> None:
    with pytest.raises(IntegrityError, match="structure_events_complete"):
        insert(event_type, payload)


@pytest.mark.parametrize("event_type", SMALLEST)
def test_every_event_needs_its_workspace_and_an_agents_event_its_agent(db: None, event_type: str) -> None:
    with pytest.raises(IntegrityError, match="structure_events_complete"):
        insert(event_type, SMALLEST[event_type], workspace_id=None)
    if event_type.startswith("AGENT") and event_type != EventType.AGENT_CARD_UPDATED:
        with pytest.raises(IntegrityError, match="structure_events_complete"):
            insert(event_type, SMALLEST[event_type], agent_id=None)


KEYS = sorted({key for payload in SMALLEST.values() for key in payload} | {"from", "tier", "parent_id", "role", "url"})
ODD: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, 0, 1, 1.0, 4, 5, 10**30, "", "w", str(ME), str(OTHER).upper() + "F", "{", {}, []]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "tier", *KEYS]), inner),
    max_leaves=4,
)
CHANGES = st.dictionaries(st.sampled_from(["forwarded_to", *projection.EDITABLE]), st.lists(ODD, max_size=3) | ODD)
PAYLOAD = st.dictionaries(st.sampled_from(KEYS), ODD, max_size=3) | ODD | st.fixed_dictionaries({"changes": CHANGES})


@pytest.mark.django_db(transaction=True)
@given(st.sampled_from(sorted(SMALLEST)), PAYLOAD, st.booleans(), st.sampled_from(["alone", "over", "under"]))
@settings(
    max_examples=2000 if STRESS else 200,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_what_the_database_accepts_can_be_replayed(kind: str, odd: Any, has_agent: bool, how: str) -> None:
    """On its own, with the values that it needs, and with those overwritten by odd ones."""
    payload = odd
    if how != "alone" and isinstance(odd, dict):
        payload = SMALLEST[kind] | odd if how == "over" else odd | SMALLEST[kind]
    with transaction.atomic():
        for workspace_id in (ME, OTHER):
            insert("WORKSPACE_PROVISIONING", {"name": "w"}, workspace_id)
        insert("AGENT_ASSIGNED", {"model": "m"}, OTHER, OTHER)
        try:
            insert(kind, payload, ME, AGENT if has_agent else None)
        except IntegrityError:
            transaction.set_rollback(True)
            return
        log = list(StructureEvent.objects.order_by("seq"))
        state = projection.fold(log)
        if log[-1].event_type != EventType.WORKSPACE_PROVISIONING or "from" in (log[-1].payload or {}):
            projection.apply(log)
            for table, rows in ((Workspace, state.workspaces), (Agent, state.agents)):
                for row in table._default_manager.all():
                    assert {name: getattr(row, name) for name in rows[row.pk]} == rows[row.pk]
        teams = Teams()
        for event in log:
            frame = _frame(event)
            teams.fold(frame)
            teams.groups_for(frame)
        transaction.set_rollback(True)


def _frame(event: StructureEvent) -> Frame:
    return Frame(bus.encode(events.envelope_of(event)), event.seq, event.event_type, str(event.workspace_id))


@pytest.mark.django_db(transaction=True)
def test_an_insert_that_commits_late_is_not_behind_a_higher_position() -> None:
    """Later inserts wait for it: a position becomes visible only after all lower ones."""
    created = threading.Thread(target=lambda: _create_and_close("after it"))
    with psycopg.connect(os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"]) as foreign:
        foreign.execute(INSERT, ["WORKSPACE_PROVISIONING", uuid4(), None, '{"name": "by hand"}'])
        created.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        try:
            until(lambda: _value(waiting), "the writer to wait for the log's lock")
            assert not StructureEvent.objects.exists()
        finally:
            foreign.commit()
            created.join()
    names = [event.payload["name"] for event in StructureEvent.objects.order_by("seq") if event.payload]
    assert names == ["by hand", "after it"]
    assert [one.replayed and one.replayed["name"] for one in rebuild.check()] == ["by hand"]


def _create_and_close(name: str) -> None:
    workspaces.create(NewWorkspace(name=name), actor="test")
    connection.close()


def _value(query: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def test_the_lock_of_the_trigger_is_the_logs(db: None) -> None:
    with transaction.atomic():
        insert("WORKSPACE_OFFLINE", {})
        held = "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        assert _value(held) == cache_versions.LOG.lock_id


def test_record_is_as_strict(db: None) -> None:
    incomplete = NewEvent(event_type=EventType.WORKSPACE_MOVED, workspace_id=ME)
    with pytest.raises(IntegrityError, match="structure_events_complete"), transaction.atomic():
        events.record([incomplete], actor="test")
