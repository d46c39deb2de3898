"""Operations on workspaces: each change is recorded as an event and applied to the tables."""

import threading
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from activity import redis
from activity.models import EventType, StructureEvent
from registry.exceptions import BadCredential, Forwarded, HasChildren, Invalid, NotFound, Removed
from registry.identity import enrolment, tokens
from registry.liveness import presence
from registry.models import Agent, Status, Workspace, WorkspaceToken
from registry.organisation import removal, workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.structure import rows

Make = Callable[..., Workspace]
ACTOR = "operator:test"
CARD = {"name": "Agent", "skills": [{"id": "s"}]}


def events_of(workspace: Workspace) -> list[StructureEvent]:
    return list(StructureEvent.objects.filter(workspace_id=workspace.id).order_by("seq"))


def types_of(workspace: Workspace) -> list[str]:
    return [event.event_type for event in events_of(workspace)]


def register(workspace: Workspace, *, url: str = "http://a:1", card: object = CARD, held: bool = True) -> str | None:
    return workspaces.register(workspace.id, url=url, agent_card=card, held=held, enrolment_id=None)  # type: ignore[arg-type]


def test_create_records_all_columns_of_the_row(db: None) -> None:
    parent = workspaces.create(NewWorkspace(name="parent"), actor=ACTOR)
    new = NewWorkspace(
        name="child", role="QA", tier=3, runtime="x", parent_id=parent.id, model="m", template="t", place=(1, 2)
    )
    child = workspaces.create(new, actor=ACTOR)
    assert types_of(child) == [EventType.WORKSPACE_PROVISIONING, EventType.AGENT_ASSIGNED]
    event = events_of(child)[0]
    assert event.actor == ACTOR
    assert event.payload == {
        "name": "child", "role": "QA", "tier": 3, "runtime": "x", "parent_id": str(parent.id), "template": "t",
        "source_bundle_id": None, "external": False, "x": 1, "y": 2,
    }  # fmt: skip
    assert (child.name, child.role, child.tier, child.runtime, child.parent_id) == ("child", "QA", 3, "x", parent.id)
    assert (child.status, child.created_at, child.updated_at) == ("provisioning", event.created_at, event.created_at)
    assert Agent.objects.get().model == "m"


def test_an_external_workspace_with_a_url_is_online_at_once(db: None) -> None:
    workspace = workspaces.create(NewWorkspace(name="x", external=True, url="http://x:1"), actor=ACTOR)
    assert (workspace.status, workspace.url) == ("online", "http://x:1")
    assert workspace.lease_expires_at is not None
    assert types_of(workspace) == [EventType.WORKSPACE_PROVISIONING, EventType.WORKSPACE_ONLINE]


def test_a_parent_must_exist_and_be_active(make_workspace: Make) -> None:
    for parent_id in (uuid4(), make_workspace(status="removed").id):
        with pytest.raises(Invalid):
            workspaces.create(NewWorkspace(name="x", parent_id=parent_id), actor=ACTOR)
    assert Workspace.objects.count() == 1


@pytest.mark.parametrize("status", ["provisioning", "offline", "failed", "degraded"])
def test_registering_sets_online_from_any_status(make_workspace: Make, status: str) -> None:
    workspace = make_workspace(status=status)
    register(workspace)
    workspace.refresh_from_db()
    assert (workspace.status, workspace.url, workspace.agent_card) == ("online", "http://a:1", CARD)
    assert events_of(workspace)[-1].payload == {"from": status, "url": "http://a:1", "agent_card": CARD}


def test_registering_again_unchanged_records_no_event(make_workspace: Make) -> None:
    workspace = make_workspace()
    register(workspace)
    before = types_of(workspace)
    register(workspace)
    assert types_of(workspace) == before
    register(workspace, url="http://a:2")
    assert types_of(workspace) == [*before, EventType.WORKSPACE_ONLINE]


def test_a_paused_workspace_stays_paused_when_it_registers(make_workspace: Make) -> None:
    workspace = make_workspace(status="paused")
    register(workspace)
    workspace.refresh_from_db()
    assert (workspace.status, workspace.agent_card) == ("paused", CARD)
    assert types_of(workspace)[-1] == EventType.WORKSPACE_UPDATED


def test_registering_sets_the_liveness_key_and_the_cached_url(
    make_workspace: Make, django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    workspace = make_workspace()
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        register(workspace)
    assert redis.client().get(f"ws:{workspace.id}") == "online"
    assert 55 < redis.client().ttl(f"ws:{workspace.id}") <= 60
    assert redis.client().get(f"ws:{workspace.id}:url") == "http://a:1"
    assert 295 < redis.client().ttl(f"ws:{workspace.id}:url") <= 300


def test_an_enrolment_token_works_once(make_workspace: Make) -> None:
    workspace = make_workspace()
    enrolment.issue(workspace.id)
    token = WorkspaceToken.objects.get()
    arguments = {"url": "http://a:1", "agent_card": CARD, "held": False, "enrolment_id": token.id}
    assert workspaces.register(workspace.id, **arguments)  # type: ignore[arg-type]
    WorkspaceToken.objects.filter(kind="agent").update(last_used_at=timezone.now())
    before = types_of(workspace)
    with pytest.raises(BadCredential):
        workspaces.register(workspace.id, **{**arguments, "url": "http://evil"})  # type: ignore[arg-type]
    assert types_of(workspace) == before
    assert Workspace.objects.get().url == "http://a:1"


def test_an_expired_enrolment_token_is_refused(make_workspace: Make, settings: object) -> None:
    settings.ENROLMENT_TOKEN_SECONDS = -1  # type: ignore[attr-defined]
    text = enrolment.issue(make_workspace().id).token
    with pytest.raises(BadCredential):
        tokens.principal_for_token(text)


def test_open_enrolment_is_refused_for_a_workspace_with_a_token(make_workspace: Make) -> None:
    workspace = make_workspace()
    assert register(workspace, held=False)
    with pytest.raises(BadCredential):
        register(workspace, held=False)
    assert WorkspaceToken.objects.count() == 1


def test_open_enrolment_creates_an_unknown_workspace_with_the_name_of_its_card(db: None) -> None:
    workspace_id = uuid4()
    token = workspaces.register(workspace_id, url="http://a:1", agent_card=CARD, held=False, enrolment_id=None)
    workspace = Workspace.objects.get(id=workspace_id)
    assert token
    assert (workspace.name, workspace.status) == ("Agent", "online")


def test_update_records_old_and_new_values_and_returns_whether_a_restart_is_needed(make_workspace: Make) -> None:
    workspace = make_workspace(role="QA")
    assert not workspaces.update(workspace.id, {"name": "Renamed", "role": None}, actor=ACTOR).needs_restart
    assert events_of(workspace)[-1].payload == {"changes": {"name": ["Workspace", "Renamed"], "role": ["QA", None]}}
    assert workspaces.update(workspace.id, {"tier": 2}, actor=ACTOR).needs_restart
    before = types_of(workspace)
    assert workspaces.update(workspace.id, {"tier": 2, "name": "Renamed"}, actor=ACTOR) == workspaces.Update(
        needs_restart=False, event_ids=[]
    )
    assert types_of(workspace) == before


def test_a_move_records_both_parents(make_workspace: Make) -> None:
    old, new = make_workspace(), make_workspace()
    child = make_workspace(parent_id=old.id)
    workspaces.update(child.id, {"parent_id": new.id}, actor=ACTOR)
    child.refresh_from_db()
    assert child.parent_id == new.id
    assert events_of(child)[-1].payload == {"old_parent_id": str(old.id), "new_parent_id": str(new.id)}


def test_a_move_that_makes_a_cycle_is_invalid(make_workspace: Make) -> None:
    top = make_workspace()
    middle = make_workspace(parent_id=top.id)
    bottom = make_workspace(parent_id=middle.id)
    for target in (top, middle, bottom):
        with pytest.raises(Invalid):
            workspaces.update(top.id, {"parent_id": target.id}, actor=ACTOR)
    assert EventType.WORKSPACE_MOVED not in types_of(top)


def test_the_database_refuses_cycles_too(make_workspace: Make) -> None:
    top = make_workspace()
    bottom = make_workspace(parent_id=make_workspace(parent_id=top.id).id)
    for parent in (top, bottom):
        with pytest.raises(IntegrityError), transaction.atomic():
            Workspace.objects.filter(id=top.id).update(parent_id=parent.id)


@pytest.mark.django_db(transaction=True)
def test_of_two_concurrent_moves_that_make_a_cycle_one_is_refused(make_workspace: Make) -> None:
    """By SQL, without the checks of the operations: only the trigger and its lock prevent the cycle."""
    one, two = make_workspace("one"), make_workspace("two")
    start, outcomes = threading.Barrier(2), []

    def move(child: Workspace, parent: Workspace) -> None:
        try:
            with transaction.atomic():
                Workspace.objects.filter(id=child.id).values("id").get()
                start.wait(10)
                Workspace.objects.filter(id=child.id).update(parent_id=parent.id)
            outcomes.append("moved")
        except DatabaseError:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=move, args=pair) for pair in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["moved", "refused"]


def test_removing_a_workspace_with_children_needs_confirmation(make_workspace: Make) -> None:
    top = make_workspace("top")
    child = make_workspace("child", parent_id=top.id)
    with pytest.raises(HasChildren) as refused:
        removal.remove(top.id, actor=ACTOR, confirm=False)
    assert refused.value.children == [(child.id, "child")]
    assert Workspace.objects.active().count() == 2


def test_removal_includes_everything_below_deepest_first(make_workspace: Make) -> None:
    top = make_workspace("top")
    child = make_workspace("child", parent_id=top.id)
    grandchild = make_workspace("grandchild", parent_id=child.id)
    tokens.issue_workspace_token(grandchild.id)
    removed = removal.remove(top.id, actor=ACTOR, confirm=True)
    assert removed == [grandchild.id, child.id, top.id]
    assert not Workspace.objects.active().exists()
    assert not WorkspaceToken.objects.filter(revoked_at=None).exists()
    removals = StructureEvent.objects.filter(event_type=EventType.WORKSPACE_REMOVED).order_by("seq")
    assert [event.workspace_id for event in removals] == removed
    assert [event.payload["cascade_deleted"] for event in removals] == [0, 0, 2]  # type: ignore[index]


def test_nothing_changes_the_status_of_a_removed_workspace(make_workspace: Make) -> None:
    workspace = make_workspace()
    removal.remove(workspace.id, actor=ACTOR, confirm=True)
    before = types_of(workspace)
    for operation in (
        lambda: register(workspace),
        lambda: workspaces.update(workspace.id, {"name": "x"}, actor=ACTOR),
        lambda: workspaces.update_card(workspace.id, CARD, actor=ACTOR),
        lambda: removal.remove(workspace.id, actor=ACTOR, confirm=True),
    ):
        with pytest.raises(Removed):
            operation()
    for status in set(Status) - {Status.REMOVED}:
        with pytest.raises(DatabaseError, match="stays so"), transaction.atomic():
            Workspace.objects.filter(id=workspace.id).update(status=status)
    assert types_of(workspace) == before
    assert redis.client().keys("ws:*") == []


def test_finding_a_removed_workspace_follows_its_forwards(make_workspace: Make) -> None:
    last = make_workspace("last")
    chain = [make_workspace(str(number)) for number in range(3)]
    for workspace, target in zip(chain, [*chain[1:], last], strict=True):
        removal.remove(workspace.id, actor=ACTOR, confirm=True, forward_to=target.id)
    with pytest.raises(Forwarded) as forwarded:
        rows.find(chain[0].id)
    assert forwarded.value.forwarded_to == last.id
    removal.remove(last.id, actor=ACTOR, confirm=True)
    with pytest.raises(Removed) as removed:
        rows.find(chain[0].id)
    assert removed.value.last_event
    assert removed.value.last_event["event"] == EventType.WORKSPACE_REMOVED
    with pytest.raises(NotFound):
        rows.find(uuid4())


def test_the_target_of_a_forward_must_be_active(make_workspace: Make) -> None:
    top = make_workspace()
    child = make_workspace(parent_id=top.id)
    for target in (uuid4(), make_workspace(status="removed").id, top.id, child.id):
        with pytest.raises(Invalid):
            removal.remove(top.id, actor=ACTOR, confirm=True, forward_to=target)
    assert Workspace.objects.active().count() == 2


def test_a_heartbeat_that_reaches_redis_after_the_removal_sets_no_key(
    make_workspace: Make, django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    """It was committed before the removal."""
    removed, active = make_workspace(), make_workspace()
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
        removal.remove(removed.id, actor=ACTOR, confirm=True)
    presence.mark_alive({removed.id: None, active.id: None})
    presence.cache_url(removed.id, "http://late:1")
    assert redis.client().keys("ws:*") == [f"ws:{active.id}"]
