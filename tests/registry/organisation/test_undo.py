"""Changes that are undone, and those that are not, because somebody else has changed the same since."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from activity.models import StructureEvent
from registry.exceptions import Conflict, Invalid, NotFound, Removed
from registry.models import Workspace
from registry.organisation import rebuild, removal, undo, workspaces
from tests.registry.racing import together

Make = Callable[..., Workspace]
ADA, BOB = "operator:ada", "operator:bob"


def changed(workspace: Workspace, *, actor: str = ADA, **changes: Any) -> list[UUID]:
    """Change the workspace and return the ids of the events."""
    before = StructureEvent.objects.order_by("-seq")[0].seq
    workspaces.update(workspace.id, changes, actor=actor)
    return undo.undoable_since([workspace.id], before, actor=actor)


def now(workspace: Workspace) -> dict[str, Any]:
    row: Any = Workspace.objects.values("name", "role", "tier", "runtime", "parent_id").get(id=workspace.id)
    return dict(row)


@pytest.fixture
def team(make_workspace: Make) -> list[Workspace]:
    """A lead, a member, and another lead."""
    lead = make_workspace("Lead")
    return [lead, make_workspace("Member", parent_id=lead.id, role="Writes"), make_workspace("Other")]


def test_a_change_is_undone_with_all_its_events(team: list[Workspace]) -> None:
    _lead, member, other = team
    before = now(member)
    made = changed(member, name="Renamed", role=None, tier=3, runtime="python", parent_id=other.id)
    assert len(made) == 2
    undo.undo(member.id, made, actor=BOB)
    assert now(member) == before
    assert StructureEvent.objects.order_by("-seq")[0].actor == BOB


def test_of_several_changes_the_state_before_the_first_returns(team: list[Workspace]) -> None:
    _lead, member, _other = team
    before = now(member)
    made = [*changed(member, name="One"), *changed(member, name="Two", tier=2), *changed(member, name="Three")]
    undo.undo(member.id, made, actor=ADA)
    assert now(member) == before


def test_an_undo_can_be_undone(team: list[Workspace]) -> None:
    _lead, member, other = team
    made = changed(member, parent_id=other.id)
    position = StructureEvent.objects.order_by("-seq")[0].seq
    undo.undo(member.id, made, actor=ADA)
    undo.undo(member.id, undo.undoable_since([member.id], position, actor=ADA), actor=ADA)
    assert now(member)["parent_id"] == other.id


@pytest.mark.parametrize(("mine", "theirs"), [({"name": "Mine"}, {"name": "Theirs"}), ({"tier": 3}, {"tier": 2})])
def test_what_somebody_changed_since_is_kept(team: list[Workspace], mine: Any, theirs: Any) -> None:
    _lead, member, _other = team
    made = changed(member, **mine)
    workspaces.update(member.id, theirs, actor=BOB)
    with pytest.raises(Conflict, match="has been changed since"):
        undo.undo(member.id, made, actor=ADA)
    assert now(member) == now(member) | theirs


@pytest.mark.parametrize(("column", "mine", "theirs"), [("name", "Mine", "Theirs"), ("parent_id", 2, None)])
def test_what_somebody_changed_and_set_back_is_theirs(
    team: list[Workspace], column: str, mine: Any, theirs: Any
) -> None:
    member, value = team[1], team[mine].id if column == "parent_id" else mine
    made = changed(member, **{column: value})
    for theirs_then_mine in (theirs, value):
        workspaces.update(member.id, {column: theirs_then_mine}, actor=BOB)
    with pytest.raises(Conflict, match="has been changed since"):
        undo.undo(member.id, made, actor=ADA)
    assert now(member)[column] == value


def test_what_somebody_changed_between_two_changes_is_not_skipped(team: list[Workspace]) -> None:
    _lead, member, _other = team
    made = changed(member, name="One")
    workspaces.update(member.id, {"name": "Theirs"}, actor=BOB)
    made += changed(member, name="Two")
    with pytest.raises(Conflict, match="the name has been changed since"):
        undo.undo(member.id, made, actor=ADA)
    assert now(member)["name"] == "Two"


def test_a_move_is_kept_when_somebody_moved_it_on(team: list[Workspace], make_workspace: Make) -> None:
    _lead, member, other = team
    made = changed(member, parent_id=other.id)
    workspaces.update(member.id, {"parent_id": None}, actor=BOB)
    with pytest.raises(Conflict, match="the parent has been changed since"):
        undo.undo(member.id, made, actor=ADA)
    assert now(member)["parent_id"] is None


def test_changes_of_other_columns_do_not_hinder(team: list[Workspace]) -> None:
    lead, member, other = team
    made = changed(member, parent_id=other.id)
    workspaces.update(member.id, {"name": "Renamed since"}, actor=BOB)
    undo.undo(member.id, made, actor=ADA)
    assert now(member) == now(member) | {"name": "Renamed since", "parent_id": lead.id}


def test_the_former_parent_may_be_gone_or_below(team: list[Workspace]) -> None:
    lead, member, other = team
    made = changed(member, parent_id=other.id)
    workspaces.update(lead.id, {"parent_id": member.id}, actor=BOB)
    with pytest.raises(Invalid, match="is below"):
        undo.undo(member.id, made, actor=ADA)
    removal.remove(lead.id, actor=BOB, confirm=True)
    with pytest.raises(Invalid, match="removed"):
        undo.undo(member.id, made, actor=ADA)
    assert now(member)["parent_id"] == other.id


def test_what_cannot_be_undone(team: list[Workspace]) -> None:
    _lead, member, other = team
    made = changed(member, name="Renamed")
    created = StructureEvent.objects.filter(workspace_id=member.id).order_by("seq")[0].id
    for events, error in (([created], Conflict), ([uuid4()], NotFound), ([*made, uuid4()], NotFound), ([], NotFound)):
        with pytest.raises(error):
            undo.undo(member.id, events, actor=ADA)
    with pytest.raises(NotFound):
        undo.undo(other.id, made, actor=ADA)
    with pytest.raises(NotFound):
        undo.undo(uuid4(), made, actor=ADA)
    removal.remove(member.id, actor=ADA, confirm=True)
    with pytest.raises(Removed):
        undo.undo(member.id, made, actor=ADA)


@pytest.mark.django_db(transaction=True)
def test_an_undo_and_another_move_at_once_end_in_one_of_both(make_workspace: Make) -> None:
    for _ in range(10):
        undo_while_somebody_moves_it(make_workspace)
    assert rebuild.check() == []


def undo_while_somebody_moves_it(make_workspace: Make) -> None:
    first, second, third, member = (make_workspace(name) for name in ("First", "Second", "Third", "Member"))
    workspaces.update(member.id, {"parent_id": first.id}, actor=BOB)
    made = changed(member, parent_id=second.id)
    refused: list[Conflict] = []

    def attempt() -> None:
        try:
            undo.undo(member.id, made, actor=ADA)
        except Conflict as error:
            refused.append(error)

    together(attempt, lambda: workspaces.update(member.id, {"parent_id": third.id}, actor=BOB))
    # Bob's move comes last in both orders: after the undo, or before it, which is then refused.
    assert now(member)["parent_id"] == third.id
    moves = StructureEvent.objects.filter(workspace_id=member.id, payload__new_parent_id=str(first.id))
    assert len(refused) + moves.count() == 2


def test_rest(as_operator: APIClient, as_viewer: APIClient, team: list[Workspace]) -> None:
    lead, member, other = team
    path = f"/workspaces/{member.id}/undo"
    as_operator.patch(f"/workspaces/{member.id}", {"parent_id": str(other.id)})
    event = as_operator.get("/events?limit=1").json()[0]
    body = {"event_ids": [event["id"]]}
    assert as_viewer.post(path, body).status_code == 403
    assert as_operator.post(path, {"event_ids": []}).status_code == 400
    assert as_operator.post(path, {}).status_code == 400
    assert as_operator.post(path, {"event_ids": [str(uuid4())]}).status_code == 404
    assert as_operator.post(path, body).json() == {"status": "undone"}
    assert now(member)["parent_id"] == lead.id
    again = as_operator.post(path, body)
    assert (again.status_code, again.json()) == (409, {"error": "the parent has been changed since"})
