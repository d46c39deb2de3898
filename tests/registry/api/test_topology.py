"""Discovery, peers and access follow the hierarchy, and changes take effect at once."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from activity import redis
from registry.models import Workspace
from registry.organisation import removal, workspaces

Make = Callable[..., Workspace]
As = Callable[[Workspace], APIClient]
CARD = {"name": "a"}


def registered(make: Make, name: str, **fields: Any) -> Workspace:
    workspace = make(name, **fields)
    workspaces.register(workspace.id, url=f"http://{name}:1", agent_card=CARD, held=True, enrolment_id=None)
    return workspace


def test_a_workspace_discovers_its_peers_only(make_workspace: Make, as_workspace: As, as_viewer: APIClient) -> None:
    top = registered(make_workspace, "top")
    child = registered(make_workspace, "child", parent_id=top.id)
    grandchild = registered(make_workspace, "grandchild", parent_id=child.id)
    expected = {"id": str(top.id), "url": "http://top:1", "name": "top", "status": "online"}
    assert as_workspace(child).get(f"/registry/discover/{top.id}").json() == expected
    assert as_viewer.get(f"/registry/discover/{top.id}").json() == expected
    assert as_workspace(grandchild).get(f"/registry/discover/{top.id}").status_code == 403
    workspaces.update(grandchild.id, {"parent_id": top.id}, actor="test")
    assert as_workspace(grandchild).get(f"/registry/discover/{top.id}").json() == expected


def test_discovery_uses_the_row_and_corrects_the_cached_url(
    make_workspace: Make, as_viewer: APIClient, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        workspace = registered(make_workspace, "a")
    path, key = f"/registry/discover/{workspace.id}", f"ws:{workspace.id}:url"
    assert redis.client().get(key) == "http://a:1"
    redis.client().set(key, "http://stale:1")
    assert as_viewer.get(path).json()["url"] == "http://a:1"
    assert redis.client().get(key) == "http://a:1"
    redis.client().flushall()
    assert as_viewer.get(path).json()["url"] == "http://a:1"
    assert redis.client().get(key) == "http://a:1"


def test_discovery_of_a_workspace_without_url_or_lease_is_503(
    make_workspace: Make, as_viewer: APIClient, unreachable_redis: None
) -> None:
    without_url = make_workspace(status="online")
    offline = registered(make_workspace, "off")
    Workspace.objects.filter(id=offline.id).update(status="offline")
    for workspace, status in ((without_url, "online"), (offline, "offline")):
        answer = as_viewer.get(f"/registry/discover/{workspace.id}")
        assert (answer.status_code, answer.json()["status"]) == (503, status)
        assert answer["Retry-After"]
    assert as_viewer.get(f"/registry/discover/{uuid4()}").status_code == 404


def test_discovery_follows_forwards_to_allowed_targets(
    make_workspace: Make, as_workspace: As, as_viewer: APIClient
) -> None:
    caller, old = make_workspace("caller"), make_workspace("old")
    target = registered(make_workspace, "target")
    removal.remove(old.id, actor="test", confirm=True, forward_to=target.id)
    for client in (as_viewer, as_workspace(caller)):
        assert client.get(f"/registry/discover/{old.id}").json()["id"] == str(target.id)
    other = make_workspace("other", parent_id=make_workspace("p", parent_id=caller.id).id)
    assert as_workspace(other).get(f"/registry/discover/{old.id}").status_code == 403
    removed = make_workspace("removed")
    removal.remove(removed.id, actor="test", confirm=True)
    assert as_viewer.get(f"/registry/discover/{removed.id}").status_code == 410


def test_discovery_in_open_mode_needs_the_workspace_header(
    make_workspace: Make, anonymous: APIClient, settings: Any
) -> None:
    settings.MOLECULE_OPEN = True
    one, two = registered(make_workspace, "one"), make_workspace("two")
    path = f"/registry/discover/{one.id}"
    answer = anonymous.get(path)
    assert (answer.status_code, answer.json()["error"]) == (400, "X-Workspace-ID header is required")
    assert anonymous.get(path, headers={"X-Workspace-ID": str(two.id)}).status_code == 200


@pytest.mark.parametrize("is_root", [True, False])
def test_peers_are_sorted_by_relation_and_then_by_creation(
    make_workspace: Make, as_workspace: As, as_viewer: APIClient, is_root: bool
) -> None:
    """Children come after siblings even if they were created earlier."""
    parent = make_workspace("parent")
    above = None if is_root else parent.id
    me = make_workspace("me", parent_id=above)
    for name, place in (("c1", me.id), ("s1", above), ("c2", me.id), ("s2", above)):
        make_workspace(name, parent_id=place, role="r" * 500)
    make_workspace("removed", parent_id=above, status="removed")
    names = [row["name"] for row in as_workspace(me).get(f"/registry/{me.id}/peers").json()]
    assert names == (["parent", "s1", "s2", "c1", "c2"] if is_root else ["s1", "s2", "c1", "c2", "parent"])
    compressed = as_viewer.get(f"/registry/{me.id}/peers", headers={"Accept-Encoding": "gzip"})
    assert compressed["Content-Encoding"] == "gzip"


def test_peers_are_siblings_then_children_then_the_parent(make_workspace: Make, as_workspace: As) -> None:
    top = make_workspace("top")
    me, sibling = (make_workspace(name, parent_id=top.id) for name in ("me", "sibling"))
    make_workspace("child", parent_id=me.id, role="QA")
    make_workspace("removed", parent_id=top.id, status="removed")
    rows = as_workspace(me).get(f"/registry/{me.id}/peers").json()
    assert [row["name"] for row in rows] == ["sibling", "child", "top"]
    assert rows[1] == rows[1] | {"role": "QA", "tier": 1, "url": "", "parent_id": str(me.id), "active_tasks": 0}
    assert set(rows[0]) == {
        "id", "name", "role", "tier", "status", "agent_card", "url", "parent_id", "active_tasks",
    }  # fmt: skip
    assert as_workspace(sibling).get(f"/registry/{me.id}/peers").status_code == 403


def test_check_access_returns_whether_two_workspaces_may_communicate(
    make_workspace: Make, as_viewer: APIClient, as_workspace: As
) -> None:
    top = make_workspace("top")
    child = make_workspace("child", parent_id=top.id)
    grandchild = make_workspace("grandchild", parent_id=child.id)

    def ask(client: APIClient, caller: Workspace, target: Workspace) -> Any:
        body = {"caller_id": str(caller.id), "target_id": str(target.id)}
        return client.post("/registry/check-access", body)

    assert ask(as_viewer, top, child).json() == {"allowed": True}
    assert ask(as_viewer, top, grandchild).json() == {"allowed": False}
    assert ask(as_workspace(top), top, child).json() == {"allowed": True}
    assert ask(as_workspace(top), child, top).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_explain_returns_the_rule_now_and_at_an_earlier_moment(make_workspace: Make, as_viewer: APIClient) -> None:
    one, two = make_workspace("one"), make_workspace("two")
    child = make_workspace("child", parent_id=one.id)
    sibling = make_workspace("sibling", parent_id=one.id)

    def rule(caller: Workspace, target: Workspace, at: str = "") -> str:
        query = f"caller={caller.id}&target={target.id}{at}"
        answer = as_viewer.get(f"/registry/explain?{query}").json()
        assert answer["allowed"] == (answer["rule"] != "none")
        return str(answer["rule"])

    assert [rule(one, one), rule(one, two), rule(child, one), rule(one, child)] == ["self", "roots", "parent", "child"]
    assert [rule(child, sibling), rule(child, two)] == ["siblings", "none"]
    before = as_viewer.get("/events?limit=1").json()[0]
    workspaces.update(child.id, {"parent_id": two.id}, actor="test")
    assert [rule(child, one), rule(child, one, f"&at={before['seq']}")] == ["none", "parent"]
    assert rule(child, one, f"&at={before['created_at']}") == "parent"
    assert rule(child, one, "&at=0") == "none"
