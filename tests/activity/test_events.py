"""The structural log: one writer, append-only, in commit order."""

import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.transaction import TransactionManagementError

from activity.events import NewEvent, latest_seq, record
from activity.models import EventType, StructureEvent
from registry.models import Workspace
from registry.organisation import workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.structure import projection


def online() -> NewEvent:
    return NewEvent(event_type=EventType.WORKSPACE_ONLINE, workspace_id=uuid4(), payload={"from": "offline"})


@pytest.fixture
def one_event(db: None) -> StructureEvent:
    with transaction.atomic():
        return record([online()], actor="test")[0]


@pytest.mark.parametrize("actor", ["operator:%s 'é", None])
def test_record_returns_the_rows_as_stored_in_the_given_order(db: None, actor: str | None) -> None:
    payloads: list[dict[str, Any]] = [
        {"n": 10**30, "half": 0.5},
        {},
        {"text": "\\ ' \" %s é 🧪 \n", "deep": [None, {"a": [1]}]},
    ]
    new = [
        NewEvent(event_type=kind, workspace_id=uuid4(), agent_id=uuid4(), target_id=uuid4(), payload=payload)
        for payload in payloads * 20
        for kind in (EventType.WORKSPACE_DEGRADED, EventType.WORKSPACE_ONLINE)
    ]
    with transaction.atomic():
        rows = record([*new, online()], actor=actor)
    held = list(StructureEvent.objects.order_by("seq").values())
    names = [field.attname for field in StructureEvent._meta.concrete_fields]
    assert [{name: getattr(row, name) for name in names} for row in rows] == held
    assert [row.payload for row in rows[:-1]] == [event.payload for event in new]
    assert [row.actor for row in rows] == [actor or f"workspace:{row.workspace_id}" for row in rows]
    assert (rows[-1].agent_id, rows[-1].target_id) == (None, None)


REFUSED = "structure_events is append-only"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE structure_events SET actor = 'somebody else'",
        "DELETE FROM structure_events",
        "UPDATE structure_events SET actor = '' WHERE false",
        "TRUNCATE structure_events",
        "TRUNCATE structure_events, activity_logs",
        "DELETE FROM structure_events; SELECT 1",
    ],
)
def test_sql_cannot_change_the_log(one_event: StructureEvent, statement: str) -> None:
    with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert StructureEvent.objects.get().actor == "test"


def test_the_orm_cannot_change_the_log(one_event: StructureEvent) -> None:
    one_event.actor = "somebody else"
    for change in (
        lambda: one_event.save(update_fields=["actor"]),
        one_event.delete,
        StructureEvent.objects.all().delete,
        lambda: StructureEvent.objects.update(actor="x"),
        lambda: StructureEvent.objects.bulk_update([one_event], ["actor"]),
    ):
        with pytest.raises(DatabaseError, match=REFUSED), transaction.atomic():
            change()
    assert StructureEvent.objects.get().actor == "test"


def test_replica_mode_does_not_disable_the_trigger(one_event: StructureEvent) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgenabled FROM pg_trigger WHERE tgname = 'structure_events_append_only'")
        assert cursor.fetchone() == ("A",)


def test_the_set_of_event_types_is_closed(db: None) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        StructureEvent.objects.create(event_type="WORKSPACE_VANISHED", actor="test")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'structure_events_event_type_check'"
        )
        definition = cursor.fetchone()[0]
    assert all(f"'{value}'" in definition for value in EventType.values)
    assert definition.count("WORKSPACE_") + definition.count("AGENT_") == len(EventType.values)


@pytest.mark.django_db(transaction=True)
def test_record_outside_a_transaction_is_refused() -> None:
    with pytest.raises(TransactionManagementError):
        record([online()], actor="test")
    assert not StructureEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_crash_between_event_and_projection_leaves_neither_row_nor_message(
    broadcasts: Callable[[], list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "apply", Mock(side_effect=RuntimeError("crash")))
    with pytest.raises(RuntimeError):
        workspaces.create(NewWorkspace(name="half"), actor="test")
    assert not StructureEvent.objects.exists()
    assert not Workspace.objects.exists()
    assert broadcasts() == []


@pytest.mark.django_db(transaction=True)
def test_seq_order_is_commit_order_even_when_the_first_commits_late() -> None:
    """The second writer must not get its position before the first has committed."""
    first_has_recorded, let_first_commit, second_done = threading.Event(), threading.Event(), threading.Event()
    seen_by_reader: list[int] = []

    def first() -> None:
        with transaction.atomic():
            record([online()], actor="first")
            first_has_recorded.set()
            let_first_commit.wait(10)
        connection.close()

    def second() -> None:
        first_has_recorded.wait(10)
        with transaction.atomic():
            record([online()], actor="second")
        second_done.set()
        connection.close()

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    first_has_recorded.wait(10)
    assert not second_done.wait(0.3)
    seen_by_reader.append(latest_seq())
    let_first_commit.set()
    for thread in threads:
        thread.join(10)
    assert seen_by_reader == [0]
    assert list(StructureEvent.objects.order_by("seq").values_list("actor", flat=True)) == ["first", "second"]
    assert list(StructureEvent.objects.order_by("created_at").values_list("actor", flat=True)) == ["first", "second"]


@pytest.mark.django_db(transaction=True)
def test_every_event_is_one_json_object_on_the_broadcast_channel(
    broadcasts: Callable[[], list[dict[str, object]]],
) -> None:
    with transaction.atomic():
        rows = record([online(), online()], actor="test")
    messages = broadcasts()
    assert [message["seq"] for message in messages] == [row.seq for row in rows]
    assert set(messages[0]) == {"event", "workspace_id", "timestamp", "seq", "id", "payload"}
    assert messages[0]["workspace_id"] == str(rows[0].workspace_id)


@pytest.mark.django_db(transaction=True)
def test_an_outage_of_redis_does_not_undo_a_commit(unreachable_redis: None, caplog: pytest.LogCaptureFixture) -> None:
    with transaction.atomic():
        record([online()], actor="test")
    assert StructureEvent.objects.count() == 1
    (line,) = caplog.records
    assert "committed, but not posted" in line.getMessage()
    assert line.exc_info is None
