"""What each event means: pure, closed, and the same in memory as in the database."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from activity.models import EventType, StructureEvent
from registry import lifecycle, projection, removal
from registry.lifecycle import NewWorkspace
from registry.models import Agent, Workspace


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
    lifecycle.update(child.id, {"name": "renamed", "tier": 2, "parent_id": None}, actor="test")
    lifecycle.register(parent.id, url="http://p:1", agent_card={"name": "p"}, held=True, enrolment_id=None)
    lifecycle.create(NewWorkspace(name="gone"), actor="test")
    removal.remove(child.id, actor="test", confirm=True)
    state = projection.fold(StructureEvent.objects.order_by("seq"))
    for table, rows in ((Workspace, state.workspaces), (Agent, state.agents)):
        for row in table.objects.all():
            assert {name: getattr(row, name) for name in rows[row.id]} == rows[row.id]
        assert len(rows) == table.objects.count()
