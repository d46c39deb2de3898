"""The REST API for agents and operators: fields, status codes, compact JSON."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from activity.models import ActivityLog, StructureEvent
from registry.identity import tokens
from registry.models import Workspace, WorkspaceToken
from registry.organisation import workspaces
from tests.conftest import bearer

Make = Callable[..., Workspace]
As = Callable[[Workspace], APIClient]
CARD = {"name": "Agent", "skills": [{"id": "s"}]}


def test_a_created_workspace_is_in_the_list_with_all_fields(as_operator: APIClient) -> None:
    created = as_operator.post(
        "/workspaces", {"name": "CEO", "role": "", "tier": 0, "canvas": {"x": 3, "y": 4}, "new": 1}
    )
    assert created.status_code == 201
    body = created.json()
    assert set(body) == {"id", "status", "enrolment_token", "ignored_fields"}
    listed = as_operator.get("/workspaces")
    assert listed["X-Event-Seq"] == str(StructureEvent.objects.latest("seq").seq)
    (row,) = listed.json()
    assert (
        row | {"agent_card_problems": [], "missing_environment": []}
        == as_operator.get(f"/workspaces/{body['id']}").json()
    )
    assert {
        "id": body["id"], "name": "CEO", "role": None, "tier": 1, "status": "provisioning", "agent_card": None,
        "url": "",
        "parent_id": None, "forwarded_to": None, "source_bundle_id": None, "active_tasks": 0, "last_error_rate": 0.0,
        "last_sample_error": "", "uptime_seconds": 0, "current_task": "", "runtime": "",
        "last_heartbeat_at": None, "x": 3.0, "y": 4.0, "collapsed": False,
    }.items() <= row.items()  # fmt: skip


def test_json_is_compact_and_typed(as_operator: APIClient) -> None:
    as_operator.post("/workspaces", {"name": "ümlaut"})
    text = as_operator.get("/workspaces").content.decode()
    assert '"tier":1,' in text
    assert '"name":"ümlaut"' in text
    assert ": " not in text


def test_an_external_workspace_with_a_url_is_online_without_an_enrolment_token(as_operator: APIClient) -> None:
    answer = as_operator.post("/workspaces", {"name": "x", "external": True, "url": "http://x:1"}).json()
    assert answer == {"id": answer["id"], "status": "online", "external": True}


def test_the_link_header_leads_through_all_pages(as_operator: APIClient, make_workspace: Make) -> None:
    names = [make_workspace(str(number)).name for number in range(5)]
    path, seen = "/workspaces?limit=2", []
    while path:
        answer = as_operator.get(path)
        seen += [row["name"] for row in answer.json()]
        path = answer.headers.get("Link", "").partition(">")[0].lstrip("<")
    assert seen == names


def test_patch_saves_the_place_and_records_other_changes(as_operator: APIClient, make_workspace: Make) -> None:
    workspace = make_workspace()
    path = f"/workspaces/{workspace.id}"
    assert as_operator.patch(path, {"x": 1.5, "y": -2}).json() == {"status": "updated"}
    renamed = as_operator.patch(path, {"collapsed": True, "name": "new"}).json()
    assert (renamed.keys(), renamed["status"]) == ({"status", "event_ids"}, "updated")
    promoted = as_operator.patch(path, {"tier": 3}).json()
    assert (promoted["status"], promoted["needs_restart"]) == ("updated", True)
    row = as_operator.get(path).json()
    assert (row["x"], row["y"], row["collapsed"], row["name"], row["tier"]) == (1.5, -2.0, True, "new", 3)
    assert StructureEvent.objects.filter(event_type="WORKSPACE_UPDATED").count() == 2


def test_an_agent_enrols_registers_again_and_sends_heartbeats(as_operator: APIClient, anonymous: APIClient) -> None:
    created = as_operator.post("/workspaces", {"name": "a"}).json()
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {created['enrolment_token']}")
    body = {"id": created["id"], "url": "http://a:1", "agent_card": CARD}
    registered = anonymous.post("/registry/register", body).json()
    assert set(registered) == {"status", "auth_token"}
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {registered['auth_token']}")
    assert anonymous.post("/registry/register", body).json() == {"status": "registered"}
    enrolling = bearer(created["enrolment_token"])
    assert enrolling.post("/registry/register", body).status_code == 401
    assert anonymous.post("/registry/heartbeat", {"workspace_id": created["id"]}).json() == {"status": "ok"}
    card = {"workspace_id": created["id"], "agent_card": {"name": "New"}}
    assert anonymous.post("/registry/update-card", card).json() == {"status": "updated"}
    state = anonymous.get(f"/workspaces/{created['id']}/state").json()
    assert state == {"workspace_id": created["id"], "status": "online", "paused": False, "deleted": False}
    row = as_operator.get(f"/workspaces/{created['id']}").json()
    assert (row["status"], row["url"], row["agent_card"]) == ("online", "http://a:1", {"name": "New"})


def test_the_first_of_two_authorization_headers_counts(anonymous: APIClient, make_workspace: Make) -> None:
    workspace = make_workspace()
    token = tokens.issue_workspace_token(workspace.id).text
    for header, status in ((f"Bearer {token}, Bearer x", 200), (f"Bearer x, Bearer {token}", 401)):
        anonymous.credentials(HTTP_AUTHORIZATION=header)
        assert anonymous.get(f"/workspaces/{workspace.id}/state").status_code == status


def test_the_state_of_an_unknown_workspace(as_operator: APIClient) -> None:
    unknown = str(uuid4())
    answer = as_operator.get(f"/workspaces/{unknown}/state")
    assert (answer.status_code, answer.json()) == (404, {"workspace_id": unknown, "deleted": True})


def test_remove_and_forward_by_the_api(as_operator: APIClient, make_workspace: Make) -> None:
    top, target = make_workspace("top"), make_workspace("target", url="http://target:1", external=True)
    child = make_workspace("child", parent_id=top.id)
    path = f"/workspaces/{top.id}"
    refused = as_operator.delete(path)
    assert refused.status_code == 409
    assert refused.json()["status"] == "confirmation_required"
    assert refused.json()["children"] == [{"id": str(child.id), "name": "child"}]
    assert refused.json()["children_count"] == 1
    removed = as_operator.delete(f"{path}?confirm=true&forward_to={target.id}")
    assert removed.json() == {"status": "removed", "cascade_deleted": 1}
    forwarded = as_operator.get(path)
    assert (forwarded.status_code, forwarded["Location"]) == (301, f"/workspaces/{target.id}")
    assert forwarded.json() == {"id": str(top.id), "forwarded_to": str(target.id), "url": "http://target:1"}
    removed_child = as_operator.get(f"/workspaces/{child.id}")
    assert (removed_child.status_code, removed_child.json()["error"]) == (410, "workspace removed")
    assert removed_child.json()["last_event"]["event"] == "WORKSPACE_REMOVED"
    assert [row["name"] for row in as_operator.get("/workspaces").json()] == ["target"]


def test_activity_is_reported_as_one_entry_or_a_list(
    as_operator: APIClient, make_workspace: Make, as_workspace: As
) -> None:
    workspace = make_workspace()
    agent, path = as_workspace(workspace), f"/workspaces/{workspace.id}/activity"
    one = {"activity_type": "a2a_send", "method": "message/send", "metadata": {"k": 1}, "target_id": str(uuid4())}
    assert agent.post(path, one).json() == {"status": "logged"}
    many = [{"activity_type": "error", "status": "error", "summary": str(number)} for number in range(3)]
    assert agent.post(path, many).json() == {"status": "logged", "count": 3}
    assert as_operator.post(path, {"activity_type": "agent_log"}).json() == {"status": "logged"}
    rows = as_operator.get(path).json()
    assert [row["summary"] for row in rows] == [None, "2", "1", "0", None]
    assert rows[-1]["request_body"] == {"k": 1}
    assert "response_body" not in rows[-1]
    hidden = {"request_body", "response_body", "transaction_id"}
    assert set(rows[0]) == {field.name for field in ActivityLog._meta.fields} - hidden
    assert [row["source_id"] for row in rows] == [None, *[str(workspace.id)] * 4]


def test_activity_is_filtered(as_operator: APIClient, make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    agent, path = as_workspace(workspace), f"/workspaces/{workspace.id}/activity"
    agent.post(path, [{"activity_type": "error", "status": "timeout"}, {"activity_type": "agent_log"}])
    as_operator.post(path, {"activity_type": "agent_log"})

    def count(query: str) -> int:
        return len(as_operator.get(f"{path}?{query}").json())

    assert count("") == 3
    assert count("type=error") == count("status=timeout") == 1
    assert (count("source=agent"), count("source=canvas")) == (2, 1)
    assert count("limit=2") == 2
    newest = as_operator.get(path).json()[0]["created_at"]
    assert count(f"since={newest}") == 0
    assert count(f"before={newest}") == 2
    assert len(as_operator.get("/activity").json()) == 3


def test_a_task_update_in_activity_does_not_set_the_current_task(make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    as_workspace(workspace).post(
        f"/workspaces/{workspace.id}/activity", {"activity_type": "task_update", "summary": "busy"}
    )
    workspace.refresh_from_db()
    assert workspace.current_task is None


def test_a_message_to_the_operators_is_stored_as_activity(make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    answer = as_workspace(workspace).post(f"/workspaces/{workspace.id}/notify", {"message": "done"})
    assert answer.json() == {"status": "sent"}
    row = ActivityLog.objects.get()
    assert (row.activity_type, row.method, row.source_id) == ("a2a_receive", "notify", None)
    assert row.response_body == {"result": "done"}


def test_events_are_paged_by_position(as_operator: APIClient, make_workspace: Make) -> None:
    workspace = make_workspace()
    for number in range(5):
        workspaces.update(workspace.id, {"name": f"n{number}"}, actor="test")
    newest = as_operator.get("/events").json()
    seqs = [row["seq"] for row in newest]
    assert seqs == sorted(seqs, reverse=True)
    assert set(newest[0]) == {
        "id", "seq", "event_type", "workspace_id", "agent_id", "target_id", "payload", "actor", "created_at",
        "transaction_id",
    }  # fmt: skip
    ascending = as_operator.get(f"/events/{workspace.id}?after={seqs[3]}&limit=2").json()
    assert [row["seq"] for row in ascending] == [seqs[2], seqs[1]]
    assert len(as_operator.get(f"/events?before={seqs[0]}").json()) == len(seqs) - 1
    assert len(as_operator.get("/events?type=WORKSPACE_UPDATED").json()) == 5


def test_approvals_are_an_empty_list(as_viewer: APIClient) -> None:
    assert as_viewer.get("/approvals/pending").content == b"[]"


def test_open_enrolment_creates_a_workspace_and_works_once(
    anonymous: APIClient, make_workspace: Make, settings: Any
) -> None:
    body = {"id": str(uuid4()), "url": "remote://no-inbound", "agent_card": CARD}
    assert anonymous.post("/registry/register", body).status_code == 401
    settings.MOLECULE_ENROLMENT = "open"
    assert set(anonymous.post("/registry/register", body).json()) == {"status", "auth_token"}
    assert Workspace.objects.get().name == "Agent"
    assert anonymous.post("/registry/register", body).status_code == 401, "the workspace has a token now"
    assert WorkspaceToken.objects.count() == 1


def test_open_mode_accepts_anonymous_requests_and_still_checks_credentials(
    anonymous: APIClient, make_workspace: Make, as_workspace: As, settings: Any
) -> None:
    workspace = make_workspace()
    path = f"/admin/workspaces/{workspace.id}/test-token"
    assert anonymous.get(path).status_code == 404
    settings.MOLECULE_OPEN = True
    assert anonymous.get("/workspaces").status_code == 200
    named = {"X-Workspace-ID": str(workspace.id)}
    beat = {"workspace_id": str(workspace.id)}
    assert anonymous.post("/registry/heartbeat", beat, headers=named).status_code == 200
    assert anonymous.post("/registry/heartbeat", beat).status_code == 200
    issued = anonymous.get(path).json()
    assert set(issued) == {"auth_token", "workspace_id"}
    assert anonymous.post("/registry/heartbeat", beat, headers=named).status_code == 401, (
        "the workspace has a token now"
    )
    assert anonymous.post("/registry/heartbeat", beat).status_code == 401
    assert as_workspace(workspace).get("/workspaces").status_code == 200, (
        "a token does not reduce what anonymous requests may do"
    )
    anonymous.credentials(HTTP_AUTHORIZATION="Bearer mol_ws_0_wrong")
    assert anonymous.get("/workspaces").status_code == 401


def test_cors_allows_only_the_configured_origins(anonymous: APIClient) -> None:
    preflight = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "x-workspace-id"}
    configured = anonymous.options("/workspaces", headers={"Origin": "http://localhost:3000", **preflight})
    assert configured["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert configured["Access-Control-Allow-Credentials"] == "true"
    assert "x-workspace-id" in configured["Access-Control-Allow-Headers"]
    other = anonymous.options("/workspaces", headers={"Origin": "http://evil.example", **preflight})
    assert "Access-Control-Allow-Origin" not in other


@pytest.mark.parametrize("path", ["/api/schema", "/api/docs"])
def test_the_openapi_schema_and_the_documentation_page(as_viewer: APIClient, path: str) -> None:
    answer = as_viewer.get(path)
    assert answer.status_code == 200
    if path == "/api/schema":
        schema = json.loads(answer.content)
        assert "/registry/heartbeat" in schema["paths"]
        assert schema["openapi"].startswith("3.")
