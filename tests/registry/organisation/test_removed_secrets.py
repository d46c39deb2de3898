"""The secrets of a removed workspace are deleted with it; its event says how many."""

from collections.abc import Callable

import pytest

from activity.models import StructureEvent
from registry.models import SecretAccess, Workspace, WorkspaceSecret
from registry.organisation import rebuild, removal, teams
from registry.secrets import store

Make = Callable[..., Workspace]


@pytest.fixture
def team(make_workspace: Make) -> tuple[Workspace, Workspace, Workspace]:
    """A workspace with two secrets, its child with one, and another one with one; each key names its owner."""
    top = make_workspace("top")
    child, other = make_workspace("child", parent_id=top.id), make_workspace("other")
    for workspace, key in ((top, "TOP_A"), (top, "TOP_B"), (child, "CHILD"), (other, "OTHER")):
        store.set_for_workspace(workspace.id, key, "value", actor="test")
    return top, child, other


def deletions() -> dict[str, int]:
    found = StructureEvent.objects.filter(event_type="WORKSPACE_REMOVED")
    payloads = [event.payload or {} for event in found]
    return {payload["name"]: payload["secrets_deleted"] for payload in payloads}


@pytest.mark.django_db(transaction=True)
def test_a_removal_deletes_the_secrets_of_all_that_it_removes(team: tuple[Workspace, ...]) -> None:
    top, child, _other = team
    removal.remove(top.id, actor="operator:ada", confirm=True)
    assert deletions() == {"top": 2, "child": 1}
    assert [secret.key for secret in WorkspaceSecret.objects.all()] == ["OTHER"]
    noted = SecretAccess.objects.filter(action="deleted")
    assert {(each.actor, each.workspace_id, *each.keys) for each in noted} == {
        ("operator:ada", top.id, "TOP_A", "TOP_B"),
        ("operator:ada", child.id, "CHILD"),
    }
    assert rebuild.check() == []


def test_a_removed_team_leaves_no_secrets(team: tuple[Workspace, ...]) -> None:
    top, _child, other = team
    teams.remove_team(top.id, actor="test")
    assert deletions() == {"child": 1}
    removal.remove(other.id, actor="test", confirm=True)
    assert {secret.key for secret in WorkspaceSecret.objects.all()} == {"TOP_A", "TOP_B"}


def test_a_removal_that_fails_keeps_the_secrets(team: tuple[Workspace, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise RuntimeError("no room for the event")

    monkeypatch.setattr(removal, "record", fail)
    with pytest.raises(RuntimeError):
        removal.remove(team[0].id, actor="test", confirm=True)
    assert WorkspaceSecret.objects.count() == 4
