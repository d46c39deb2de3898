"""What clients of this protocol send and expect, as their existing releases do."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from activity.log import Entry, write
from activity.models import ActivityLog, EventType, StructureEvent
from registry.identity import tokens
from registry.models import SecretAccess, Workspace, WorkspaceSecret
from registry.secrets import store

Make = Callable[..., Workspace]
As = Callable[[Workspace], APIClient]
EMPTY = ["", None]


@pytest.mark.parametrize("empty", EMPTY)
def test_optional_fields_of_a_report_may_be_empty(make_workspace: Make, as_workspace: As, empty: Any) -> None:
    mine = make_workspace()
    optional = ["method", "summary", "source_id", "target_id", "duration_ms", "status", "error_detail"]
    entry = {"activity_type": "agent_log"} | dict.fromkeys(optional, empty)
    assert as_workspace(mine).post(f"/workspaces/{mine.id}/activity", entry).status_code == 200
    assert as_workspace(mine).post(f"/workspaces/{mine.id}/activity", [entry]).status_code == 200
    rows = ActivityLog.objects.values_list("source_id", "target_id", "status", "duration_ms")
    assert list(rows) == [(mine.id, None, "ok", None)] * 2


@pytest.mark.parametrize("empty", EMPTY)
def test_optional_fields_of_a_heartbeat_may_be_empty(make_workspace: Make, as_workspace: As, empty: Any) -> None:
    mine = make_workspace(status="online")
    optional = ["error_rate", "sample_error", "active_tasks", "uptime_seconds", "current_task", "runtime_state"]
    beat = {"workspace_id": str(mine.id)} | dict.fromkeys(optional, empty)
    assert as_workspace(mine).post("/registry/heartbeat", beat).status_code == 200


@pytest.mark.parametrize("empty", EMPTY)
def test_optional_fields_of_a_new_workspace_may_be_empty(as_operator: APIClient, empty: Any) -> None:
    optional = ["role", "tier", "runtime", "parent_id", "model", "template", "external", "url", "canvas"]
    answer = as_operator.post("/workspaces", {"name": "Scout"} | dict.fromkeys(optional, empty))
    assert answer.status_code == 201, answer.json()
    row = as_operator.get(f"/workspaces/{answer.json()['id']}").json()
    assert (row["role"], row["tier"], row["runtime"], row["parent_id"]) == (None, 1, "", None)


@pytest.mark.parametrize("body", [{"name": ""}, {"name": None}, {}])
def test_a_required_field_may_not_be_empty(as_operator: APIClient, body: dict[str, Any]) -> None:
    answer = as_operator.post("/workspaces", body)
    assert (answer.status_code, answer.json()["field"]) == (400, "name")


@pytest.mark.parametrize("empty", EMPTY)
def test_a_name_cannot_be_cleared(make_workspace: Make, as_operator: APIClient, empty: Any) -> None:
    answer = as_operator.patch(f"/workspaces/{make_workspace().id}", {"name": empty})
    assert (answer.status_code, answer.json()["field"]) == (400, "name")


@pytest.mark.parametrize("empty", EMPTY)
def test_a_registration_may_have_an_empty_interval(make_workspace: Make, as_workspace: As, empty: Any) -> None:
    mine = make_workspace()
    body = {"id": str(mine.id), "url": "http://a:1", "agent_card": {"name": "A"}, "heartbeat_interval": empty}
    assert as_workspace(mine).post("/registry/register", body).status_code == 200


def test_null_moves_to_the_top_and_empty_changes_nothing(make_workspace: Make, as_operator: APIClient) -> None:
    lead = make_workspace("Lead", role="leads")
    member = make_workspace("Member", parent_id=lead.id, tier=3)
    unchanged = {"name": "Member 2", "parent_id": "", "tier": None, "x": None, "y": ""}
    assert as_operator.patch(f"/workspaces/{member.id}", unchanged).status_code == 200
    member.refresh_from_db()
    assert (member.name, member.parent_id, member.tier) == ("Member 2", lead.id, 3)
    assert as_operator.patch(f"/workspaces/{member.id}", {"parent_id": None}).status_code == 200
    member.refresh_from_db()
    assert member.parent_id is None


LISTS = ["/activity", "/workspaces/{id}/activity", "/events", "/workspaces"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(("limit", "most"), [("0", 1), ("-7", 1), ("2", 2), ("99999", 3)])
def test_a_limit_outside_its_range_counts_as_the_nearest(
    make_workspace: Make, as_operator: APIClient, path: str, limit: str, most: int
) -> None:
    rows = [make_workspace(str(n)) for n in range(3)]
    write(rows[0].id, [Entry(activity_type="agent_log")] * 3)
    answer = as_operator.get(f"{path.format(id=rows[0].id)}?limit={limit}")
    assert (answer.status_code, len(answer.json())) == (200, most)


def test_a_limit_is_clamped_to_the_bound_of_its_list(make_workspace: Make, as_operator: APIClient) -> None:
    mine = make_workspace()
    write(mine.id, [Entry(activity_type="agent_log")] * 501)
    assert len(as_operator.get("/activity?limit=1000000").json()) == 500


@pytest.mark.parametrize("path", LISTS)
def test_a_limit_that_is_no_number_is_refused(make_workspace: Make, as_operator: APIClient, path: str) -> None:
    assert as_operator.get(f"{path.format(id=make_workspace().id)}?limit=many").status_code == 400


@pytest.mark.parametrize("path", LISTS[:3])
@pytest.mark.parametrize("query", ["type=delegation", "type=x&limit=5"])
def test_a_filter_for_an_unknown_type_matches_nothing(
    make_workspace: Make, as_operator: APIClient, path: str, query: str
) -> None:
    mine = make_workspace()
    write(mine.id, [Entry(activity_type="agent_log")])
    answer = as_operator.get(f"{path.format(id=mine.id)}?{query}")
    assert (answer.status_code, answer.json()) == (200, [])


@pytest.mark.parametrize("query", ["status=lost", "source=elsewhere"])
def test_other_filters_of_activity_match_nothing_too(make_workspace: Make, as_operator: APIClient, query: str) -> None:
    write(make_workspace().id, [Entry(activity_type="agent_log")])
    assert as_operator.get(f"/activity?{query}").json() == []
    assert len(as_operator.get("/activity?type=&status=&source=&limit=").json()) == 1


def test_what_is_stored_must_have_a_known_type(make_workspace: Make, as_workspace: As) -> None:
    mine = make_workspace()
    answer = as_workspace(mine).post(f"/workspaces/{mine.id}/activity", {"activity_type": "delegation"})
    assert answer.status_code == 400
    assert not ActivityLog.objects.exists()


def test_a_wedged_agent_is_degraded_until_it_says_otherwise(make_workspace: Make, as_workspace: As) -> None:
    mine = make_workspace(status="online")
    client = as_workspace(mine)

    def beat(**fields: Any) -> str:
        answer = client.post("/registry/heartbeat", {"workspace_id": str(mine.id), **fields})
        assert answer.status_code == 200
        mine.refresh_from_db()
        return mine.status

    assert beat(runtime_state="wedged", sample_error="the runtime does not answer") == "degraded"
    event = StructureEvent.objects.filter(event_type=EventType.WORKSPACE_DEGRADED).get()
    assert event.payload is not None
    assert event.payload["runtime_state"] == "wedged"
    assert event.payload["sample_error"] == "the runtime does not answer"
    assert beat(runtime_state="wedged") == "degraded"
    assert mine.last_sample_error == "the runtime does not answer"
    assert beat(runtime_state="busy") == "online"
    assert mine.last_sample_error is None


@pytest.mark.parametrize("attachments", [[{"uri": "file:///a"}], ["a"], {"a": 1}, "a"])
def test_a_message_with_attachments_is_refused_rather_than_cut(
    make_workspace: Make, as_workspace: As, attachments: Any
) -> None:
    mine = make_workspace()
    answer = as_workspace(mine).post(f"/workspaces/{mine.id}/notify", {"message": "x", "attachments": attachments})
    assert (answer.status_code, answer.json()["field"]) == (400, "attachments")
    assert answer.json()["error"] == "attachments: are not supported yet"
    assert not ActivityLog.objects.exists()


@pytest.mark.parametrize("attachments", [[], None, ""])
def test_a_message_may_have_no_attachments(make_workspace: Make, as_workspace: As, attachments: Any) -> None:
    mine = make_workspace()
    body = {"message": "x", "attachments": attachments}
    assert as_workspace(mine).post(f"/workspaces/{mine.id}/notify", body).status_code == 200


def test_secrets_of_a_new_workspace_are_stored_with_it(as_administrator: APIClient) -> None:
    answer = as_administrator.post("/workspaces", {"name": "Scout", "secrets": {"KEY": " v ", "OTHER": "w"}})
    assert answer.status_code == 201
    created = Workspace.objects.get(id=answer.json()["id"])
    assert store.environment_for(created.id, actor="test") == {"KEY": " v ", "OTHER": "w"}
    noted = SecretAccess.objects.filter(action="set").values_list("keys", flat=True)
    assert sorted(key for keys in noted for key in keys) == ["KEY", "OTHER"]


@pytest.mark.parametrize(
    "secrets",
    [
        {"1KEY": "v"},
        {"KEY": ""},
        {"KEY": None},
        {"KEY": {"nested": 1}},
        {"KEY": "v" * (store.MAX_VALUE_BYTES + 1)},
        ["KEY"],
        "KEY",
        {f"KEY{n}": "v" for n in range(101)},
    ],
    ids=lambda secrets: str(secrets)[:20],
)
def test_a_bad_secret_creates_no_workspace(as_administrator: APIClient, secrets: Any) -> None:
    answer = as_administrator.post("/workspaces", {"name": "Scout", "secrets": secrets})
    assert (answer.status_code, answer.json()["field"][:7]) == (400, "secrets")
    assert not Workspace.objects.exists()


def test_only_administrators_store_secrets_with_a_workspace(as_operator: APIClient) -> None:
    body = {"name": "Scout", "secrets": {"KEY": "v"}}
    assert as_operator.post("/workspaces", body).status_code == 403
    assert not Workspace.objects.exists()
    assert as_operator.post("/workspaces", body | {"secrets": {}}).status_code == 201


def test_without_a_key_neither_workspace_nor_secret_is_stored(as_administrator: APIClient, settings: Any) -> None:
    settings.SECRETS_ENCRYPTION_KEY = ""
    assert as_administrator.post("/workspaces", {"name": "Scout", "secrets": {"KEY": "v"}}).status_code == 503
    assert not Workspace.objects.exists()
    assert not WorkspaceSecret.objects.exists()


def test_unknown_fields_are_named_in_the_answer(make_workspace: Make, as_operator: APIClient) -> None:
    lead = make_workspace()
    created = as_operator.post(
        "/workspaces", {"name": "A", "color": "red", "empty": "", "canvas": {"x": 1, "y": 2, "z": 3}}
    )
    assert created.json()["ignored_fields"] == ["color", "canvas.z"]
    changed = as_operator.patch(f"/workspaces/{lead.id}", {"x": 1, "y": 2, "color": "red"})
    assert changed.json() == {"status": "updated", "ignored_fields": ["color"]}
    expanded = as_operator.post(
        f"/workspaces/{lead.id}/expand", {"members": [{"name": "B"}, {"name": "C", "tools": ["x"]}]}
    )
    assert expanded.json()["ignored_fields"] == ["members.1.tools"]
    assert "ignored_fields" not in as_operator.patch(f"/workspaces/{lead.id}", {"name": "Lead"}).json()


def test_tokens_are_listed_with_their_count(make_workspace: Make, as_workspace: As) -> None:
    mine = make_workspace()
    tokens.issue_workspace_token(mine.id)
    listed = as_workspace(mine).get(f"/workspaces/{mine.id}/tokens").json()
    assert (listed["count"], len(listed["tokens"])) == (2, 2)


@pytest.mark.parametrize("header", ["nonsense", "00000000-0000-0000-0000-000000000001"])
def test_a_workspace_id_beside_an_operators_credential_is_ignored(
    as_operator: APIClient, anonymous: APIClient, header: str
) -> None:
    assert as_operator.get("/workspaces", headers={"X-Workspace-ID": header}).status_code == 200
    assert anonymous.get("/workspaces", headers={"X-Workspace-ID": header}).status_code == 401


def test_a_workspace_id_beside_a_workspaces_token_must_be_its_own(make_workspace: Make, as_workspace: As) -> None:
    mine, other = make_workspace(), make_workspace()
    client = as_workspace(mine)
    path = f"/workspaces/{mine.id}"
    statuses = [
        client.get(path, headers={"X-Workspace-ID": header}).status_code
        for header in ("nonsense", str(other.id), str(mine.id))
    ]
    assert statuses == [400, 403, 200]


def test_a_model_is_assigned_replaced_and_cleared(
    make_workspace: Make, as_operator: APIClient, as_viewer: APIClient
) -> None:
    path = f"/workspaces/{make_workspace().id}/model"
    assert as_viewer.put(path, {"model": "gpt-5"}).status_code == 403
    for model in ("gpt-5", "gpt-5", "opus-5", "", ""):
        assert as_operator.put(path, {"model": model}).json() == {"status": "saved", "model": model}
        source = "agent" if model else "default"
        assert as_operator.get(path).json() == {"model": model, "source": source}
    events = StructureEvent.objects.filter(event_type__startswith="AGENT_").order_by("seq")
    assert list(events.values_list("event_type", flat=True)) == ["AGENT_ASSIGNED", "AGENT_REPLACED", "AGENT_REMOVED"]


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": "a\nb"}, {"model": "x" * 101}, {"model": ["a"]}])
def test_a_model_that_is_none_is_refused(make_workspace: Make, as_operator: APIClient, body: dict[str, Any]) -> None:
    mine = make_workspace(model="gpt-5")
    assert as_operator.put(f"/workspaces/{mine.id}/model", body).status_code == 400
    assert as_operator.get(f"/workspaces/{mine.id}/model").json()["model"] == "gpt-5"


def test_a_target_that_has_an_agent_is_a_conflict_before_anything_else(
    make_workspace: Make, as_operator: APIClient
) -> None:
    idle, busy = make_workspace(), make_workspace(model="gpt-5")
    for source in (idle.id, "00000000-0000-0000-0000-000000000001"):
        answer = as_operator.post(f"/workspaces/{source}/agent/move", {"target_workspace_id": str(busy.id)})
        assert answer.status_code == 409


def test_expanding_an_unknown_workspace_is_404_also_without_members(as_operator: APIClient) -> None:
    path = "/workspaces/00000000-0000-0000-0000-000000000001/expand"
    assert as_operator.post(path, {"members": []}).status_code == 404
    assert as_operator.post(path, {}).status_code == 404


def test_a_removed_team_is_named_in_the_order_of_its_creation(make_workspace: Make, as_operator: APIClient) -> None:
    lead = make_workspace()
    names = [f"member {n}" for n in range(12)]
    members = [make_workspace(name, parent_id=lead.id) for name in names]
    make_workspace("deeper", parent_id=members[0].id)
    assert as_operator.post(f"/workspaces/{lead.id}/collapse").json()["removed"] == names
    event = StructureEvent.objects.get(event_type=EventType.WORKSPACE_COLLAPSED)
    assert event.payload is not None
    assert event.payload["removed_children"] == names


def test_own_secrets_are_listed_first(make_workspace: Make, as_operator: APIClient) -> None:
    mine = make_workspace()
    for key in ("A", "C", "M"):
        store.set_for_all(key, "v", actor="test")
    for key in ("Z", "C", "B"):
        store.set_for_workspace(mine.id, key, "v", actor="test")
    listed = [(row["key"], row["scope"]) for row in as_operator.get(f"/workspaces/{mine.id}/secrets").json()]
    own = [(key, "workspace") for key in ("B", "C", "Z")]
    assert listed == [*own, ("A", "global"), ("M", "global")]


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("online", True),
        ("degraded", True),
        ("offline", True),
        ("paused", False),
        ("provisioning", False),
        ("failed", False),
    ],
)
def test_the_url_of_a_peer_that_was_stopped_is_empty(
    make_workspace: Make, as_workspace: As, status: str, shown: bool
) -> None:
    mine = make_workspace()
    peer = make_workspace(external=True, url="http://peer:1")
    Workspace.objects.filter(id=peer.id).update(status=status)
    (row,) = as_workspace(mine).get(f"/registry/{mine.id}/peers").json()
    assert row["url"] == ("http://peer:1" if shown else "")


@pytest.mark.parametrize("body", [{"external": True}, {"runtime": "external"}, {"external": True, "runtime": "claude"}])
def test_external_and_the_runtime_external_are_the_same(as_operator: APIClient, body: dict[str, Any]) -> None:
    created = as_operator.post("/workspaces", {"name": "Scout", **body}).json()
    assert created["external"] is True
    row = as_operator.get(f"/workspaces/{created['id']}").json()
    assert (row["runtime"], row["external"]) == ("external", True)
    (listed,) = as_operator.get("/workspaces").json()
    (shown,) = as_operator.get("/canvas/snapshot").json()["workspaces"]
    seq = StructureEvent.objects.latest("seq").seq
    (past,) = as_operator.get(f"/canvas/snapshot?at={seq}").json()["workspaces"]
    assert [one["external"] for one in (listed, shown, past)] == [True] * 3


def test_others_are_not_external(as_operator: APIClient) -> None:
    created = as_operator.post("/workspaces", {"name": "Scout", "runtime": "claude"}).json()
    assert "external" not in created
    assert "connection" not in created
    row = as_operator.get(f"/workspaces/{created['id']}").json()
    assert (row["runtime"], row["external"]) == ("claude", False)


def test_an_agent_that_registers_by_itself_is_external(
    anonymous: APIClient, as_operator: APIClient, settings: Any
) -> None:
    settings.MOLECULE_ENROLMENT = "open"
    mine = "7d3f1c9a-0000-4000-8000-000000000001"
    body = {"id": mine, "url": "http://a:1", "agent_card": {"name": "A"}}
    assert anonymous.post("/registry/register", body).status_code == 200
    row = as_operator.get(f"/workspaces/{mine}").json()
    assert (row["runtime"], row["external"]) == ("external", True)


def test_an_external_workspace_with_a_url_needs_no_connection(as_operator: APIClient) -> None:
    created = as_operator.post("/workspaces", {"name": "Scout", "runtime": "external", "url": "http://a:1"}).json()
    assert created == {"id": created["id"], "status": "online", "external": True}


def test_an_external_workspace_without_a_url_gets_what_it_needs_to_connect(as_operator: APIClient) -> None:
    created = as_operator.post("/workspaces", {"name": "Scout", "external": True}).json()
    connection = created["connection"]
    assert connection["auth_token"] == created["enrolment_token"]
    assert connection["platform_url"] == "http://testserver"
    assert connection["registry_endpoint"] == "http://testserver/registry/register"
    assert connection["heartbeat_endpoint"] == "http://testserver/registry/heartbeat"
    assert set(connection) == {
        "auth_token", "platform_url", "registry_endpoint", "heartbeat_endpoint", "curl_register_template",
        "python_snippet",
    }  # fmt: skip
