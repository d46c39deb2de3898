"""Deny by default: every route and method has a policy row, and a principal gets no more than the row allows."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.urls import URLPattern, get_resolver
from rest_framework.test import APIClient
from rest_framework.views import APIView

from activity.principals import ANONYMOUS, Kind, Level, Principal
from molecule.policy import POLICY, may_listen
from registry.consumers import OrganisationStream
from registry.models import Workspace
from registry.organisation import removal

Make = Callable[..., Workspace]


def endpoints() -> Iterator[tuple[str, type[APIView]]]:
    for pattern in get_resolver().url_patterns:
        view = getattr(getattr(pattern, "callback", None), "cls", None)
        if isinstance(pattern, URLPattern) and view is not None and pattern.name != "not-found":
            yield str(pattern.name), view


def test_the_policy_lists_exactly_the_served_routes_and_methods() -> None:
    served = {
        (name, method.upper())
        for name, view in endpoints()
        for method in view.http_method_names
        if method != "options" and hasattr(view, method)
    }
    served.add(("stream", "CONNECT"))
    assert served == {(name, method) for name, methods in POLICY.items() for method in methods}


def test_every_view_uses_the_central_policy() -> None:
    for name, view in endpoints():
        assert [p.__module__ for p in view.permission_classes] == ["molecule.policy"], name


def test_a_route_without_a_policy_row_is_forbidden(as_operator: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(POLICY, "events")
    assert as_operator.get("/events").status_code == 403


def paths(workspace: Workspace) -> list[tuple[str, str]]:
    url = f"/workspaces/{workspace.id}"
    return [
        ("GET", "/workspaces"), ("POST", "/workspaces"), ("PATCH", url), ("DELETE", url), ("GET", f"{url}/state"),
        ("GET", f"{url}/activity"), ("POST", f"{url}/activity"), ("POST", f"{url}/notify"), ("GET", "/activity"),
        ("GET", "/events"), ("GET", f"/events/{workspace.id}"), ("GET", "/canvas/viewport"),
        ("PUT", "/canvas/viewport"), ("GET", "/api/schema"), ("GET", "/api/docs"), ("GET", "/templates"),
    ]  # fmt: skip


def test_anonymous_foreign_and_ungrouped_callers_are_refused(
    make_workspace: Make,
    anonymous: APIClient,
    as_workspace: Callable[[Workspace], APIClient],
    make_user: Callable[..., Any],
) -> None:
    top = make_workspace("top")
    target = make_workspace("target", parent_id=make_workspace("middle", parent_id=top.id).id)
    foreigner = as_workspace(top)
    without_permissions = APIClient()
    without_permissions.force_login(make_user("ungrouped"))
    for method, path in paths(target):
        assert anonymous.generic(method, path).status_code == 401, (method, path)
        assert foreigner.generic(method, path).status_code == 403, (method, path)
        assert without_permissions.generic(method, path).status_code == 403, (method, path)


def test_viewers_can_read_but_not_write(make_workspace: Make, as_viewer: APIClient) -> None:
    workspace = make_workspace()
    for method, path in paths(workspace):
        status = as_viewer.generic(method, path, "{}", content_type="application/json").status_code
        assert status == (200 if method == "GET" else 403), (method, path)


def test_a_session_needs_a_csrf_token_to_write(make_user: Callable[..., Any]) -> None:
    browser = APIClient(enforce_csrf_checks=True)
    browser.force_login(make_user("operator"))
    assert browser.get("/workspaces").status_code == 200
    refused = browser.post("/workspaces", {"name": "forged"}, format="json")
    assert (refused.status_code, Workspace.objects.count()) == (403, 0)
    assert "CSRF" in refused.json()["error"]
    browser.get("/")
    token = browser.cookies["csrftoken"].value
    assert browser.post("/workspaces", {"name": "x"}, format="json", HTTP_X_CSRFTOKEN=token).status_code == 201


def test_a_child_can_read_its_parent_but_not_its_grandparent(
    make_workspace: Make, as_workspace: Callable[[Workspace], APIClient]
) -> None:
    top = make_workspace("top")
    child = make_workspace("child", parent_id=top.id)
    grandchild = make_workspace("grandchild", parent_id=child.id)
    assert as_workspace(child).get(f"/workspaces/{top.id}").status_code == 200
    assert as_workspace(grandchild).get(f"/workspaces/{top.id}").status_code == 403


def test_the_workspace_id_header_can_restrict_but_never_authenticate(
    make_workspace: Make, as_workspace: Callable[[Workspace], APIClient], anonymous: APIClient
) -> None:
    one, two = make_workspace(), make_workspace()
    client = as_workspace(one)
    state = f"/workspaces/{one.id}/state"
    assert client.get(state, HTTP_X_WORKSPACE_ID=str(one.id)).status_code == 200
    assert client.get(state, HTTP_X_WORKSPACE_ID=str(two.id)).status_code == 403
    assert anonymous.get(state, HTTP_X_WORKSPACE_ID=str(one.id)).status_code == 401


def test_the_agent_of_a_removed_workspace_gets_410_and_no_other_access(
    make_workspace: Make, as_workspace: Callable[[Workspace], APIClient]
) -> None:
    workspace = make_workspace()
    agent = as_workspace(workspace)
    removal.remove(workspace.id, actor="test", confirm=True)
    identity = {"workspace_id": str(workspace.id)}
    card = {"agent_card": {"name": "a"}}
    bodies = {
        "/registry/heartbeat": identity,
        "/registry/update-card": identity | card,
        "/registry/register": {"id": str(workspace.id), "url": "http://a:1"} | card,
    }
    for path, body in bodies.items():
        response = agent.post(path, body, format="json")
        assert (response.status_code, response.json()["error"]) == (410, "workspace removed"), path
        assert response.json()["last_event"]["event"] == "WORKSPACE_REMOVED"
    state = agent.get(f"/workspaces/{workspace.id}/state")
    assert (state.status_code, state.json()) == (
        404,
        {"workspace_id": str(workspace.id), "status": "removed", "deleted": True},
    )
    assert agent.post(f"/workspaces/{workspace.id}/activity", {"activity_type": "error"}).status_code == 401


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        (ANONYMOUS, False),
        (Principal(kind=Kind.OPERATOR), False),
        (Principal(kind=Kind.OPERATOR, level=Level.VIEW), True),
        (Principal(kind=Kind.OPERATOR, level=Level.ADMINISTER), True),
        (Principal(kind=Kind.ENROLMENT, workspace_id=uuid4()), False),
    ],
)
def test_only_operators_with_view_permission_may_open_the_stream(principal: Principal, allowed: bool) -> None:
    assert may_listen(principal) == allowed


def test_a_stream_without_a_policy_refuses_every_principal() -> None:
    assert not OrganisationStream().may_listen(Principal(kind=Kind.OPERATOR, level=Level.ADMINISTER))


def test_head_has_the_same_access_rules_as_get(as_viewer: APIClient, anonymous: APIClient) -> None:
    assert anonymous.head("/health").status_code == 200
    assert anonymous.head("/workspaces").status_code == 401
    response = as_viewer.head("/workspaces")
    assert (response.status_code, response.content) == (200, b"")
    assert anonymous.head("/registry/register").status_code == 405
