"""The API's rules for names, roles, URLs, runtimes and heartbeat intervals: what is refused and what is stored."""

from collections.abc import Callable
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from activity import redis
from activity.models import EventType, StructureEvent
from registry.liveness.heartbeats import Beat, flush
from registry.liveness.presence import liveness_key
from registry.models import Workspace
from registry.organisation import rebuild

Make = Callable[..., Workspace]
As = Callable[[Workspace], APIClient]
CARD = {"name": "Agent"}
BIDI = "CEO\u202egnp.exe"


def registration(workspace: Workspace, **fields: Any) -> dict[str, Any]:
    return {"id": str(workspace.id), "url": "http://a:1", "agent_card": CARD} | fields


@pytest.mark.parametrize("name", [BIDI, "\u200b", "a\nb", "\u2800", "x" * 256], ids=ascii)
def test_every_route_refuses_invalid_names(as_operator: APIClient, make_workspace: Make, name: str) -> None:
    path = f"/workspaces/{make_workspace().id}"
    events = StructureEvent.objects.count()
    answers = [
        as_operator.post("/workspaces", {"name": name}),
        as_operator.patch(path, {"name": name}),
        as_operator.post(f"{path}/expand", {"members": [{"name": name}]}),
    ]
    assert [answer.status_code for answer in answers] == [400] * 3
    assert all("name" in answer.json()["field"] for answer in answers)
    assert StructureEvent.objects.count() == events


def test_every_route_refuses_invalid_roles(as_operator: APIClient, make_workspace: Make) -> None:
    path = f"/workspaces/{make_workspace().id}"
    answers = [
        as_operator.post("/workspaces", {"name": "a", "role": BIDI}),
        as_operator.patch(path, {"role": BIDI}),
        as_operator.post(f"{path}/expand", {"members": [{"name": "a", "role": BIDI}]}),
    ]
    assert [answer.status_code for answer in answers] == [400] * 3
    assert all("role" in answer.json()["field"] for answer in answers)


def test_a_role_may_have_several_lines(as_operator: APIClient) -> None:
    created = as_operator.post("/workspaces", {"name": " Zoe\u0308 ", "role": "First line\r\nSecond line"}).json()
    row = as_operator.get(f"/workspaces/{created['id']}").json()
    assert (row["name"], row["role"]) == ("Zo\u00eb", "First line\nSecond line")


@pytest.mark.parametrize("name", [BIDI, "a\x07b", "\u200b"], ids=ascii)
def test_a_card_with_an_invalid_name_is_refused(make_workspace: Make, as_workspace: As, name: str) -> None:
    workspace = make_workspace()
    client = as_workspace(workspace)
    card = {"name": name}
    answers = [
        client.post("/registry/register", registration(workspace, agent_card=card)),
        client.post("/registry/update-card", {"workspace_id": str(workspace.id), "agent_card": card}),
    ]
    assert [(answer.status_code, answer.json()["field"]) for answer in answers] == [(400, "agent_card")] * 2
    workspace.refresh_from_db()
    assert workspace.agent_card is None


def test_a_card_is_stored_unchanged(make_workspace: Make, as_workspace: As, as_operator: APIClient) -> None:
    workspace = make_workspace()
    card = {"name": "  Zoe\u0308 ", "url": "http://user:pw@a"}
    as_workspace(workspace).post("/registry/register", registration(workspace, agent_card=card))
    assert as_operator.get(f"/workspaces/{workspace.id}").json()["agent_card"] == card


@pytest.mark.parametrize(
    "url", ["http://user@a:1", "http://user:pw@a:1", "https://:pw@a", "remote://me@x", "http://@a"]
)
def test_every_route_refuses_a_url_with_a_user_name_or_password(
    as_operator: APIClient, make_workspace: Make, as_workspace: As, url: str
) -> None:
    workspace = make_workspace()
    answers = [
        as_operator.post("/workspaces", {"name": "a", "external": True, "url": url}),
        as_workspace(workspace).post("/registry/register", registration(workspace, url=url)),
    ]
    assert [(answer.status_code, answer.json()["field"]) for answer in answers] == [(400, "url")] * 2
    assert all("user name or password" in answer.json()["error"] for answer in answers)
    assert not any("pw" in answer.content.decode() for answer in answers)


def test_the_event_of_a_registration_has_the_replaced_values(make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    client = as_workspace(workspace)
    for fields in ({}, {"url": "http://b:2"}, {"agent_card": {"name": "Tool"}}):
        client.post("/registry/register", registration(workspace, **{"url": "http://b:2", **fields} if fields else {}))
        Workspace.objects.filter(id=workspace.id).update(status="offline")
    first, second, third = (
        event.payload or {}
        for event in StructureEvent.objects.filter(event_type=EventType.WORKSPACE_ONLINE).order_by("seq")
    )
    assert not {"old_url", "old_agent_card"} & first.keys()
    assert second["old_url"] == "http://a:1"
    assert "old_agent_card" not in second
    assert third["old_agent_card"] == CARD
    assert "old_url" not in third


@pytest.mark.django_db(transaction=True)
def test_an_unknown_runtime_is_empty_in_the_api_and_null_in_the_table(as_operator: APIClient) -> None:
    created = as_operator.post("/workspaces", {"name": "a", "runtime": None}).json()
    path = f"/workspaces/{created['id']}"
    workspace = Workspace.objects.get(id=created["id"])
    assert (as_operator.get(path).json()["runtime"], workspace.runtime) == ("", None)
    assert (StructureEvent.objects.get().payload or {})["runtime"] == ""
    for runtime, stored in (("crewai", "crewai"), ("", None)):
        assert as_operator.patch(path, {"runtime": runtime}).json()["needs_restart"] is True
        workspace.refresh_from_db()
        assert (as_operator.get(path).json()["runtime"], workspace.runtime) == (runtime, stored)
    assert "needs_restart" not in as_operator.patch(path, {"runtime": ""}).json()
    past = as_operator.get("/canvas/snapshot", {"at": str(StructureEvent.objects.latest("seq").seq)}).json()
    assert past["workspaces"][0]["runtime"] == ""
    assert rebuild.check() == []


def test_a_row_written_by_sql_has_no_runtime(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO workspaces (name) VALUES ('a') RETURNING runtime")
        assert cursor.fetchone() == (None,)


def test_the_migration_of_runtimes_can_be_undone(make_workspace: Make) -> None:
    named, unnamed = make_workspace(runtime="crewai"), make_workspace()
    migration = import_module("registry.migrations.0007_roles_and_runtime")
    stored = Workspace.objects.in_bulk
    with connection.cursor() as cursor:
        cursor.execute(migration.UNDO)
        assert [stored()[one.id].runtime for one in (named, unnamed)] == ["crewai", ""]
        cursor.execute("INSERT INTO workspaces (name) VALUES ('a') RETURNING runtime")
        assert cursor.fetchone() == ("langgraph",)
        cursor.execute(migration.APPLY)
        cursor.execute("INSERT INTO workspaces (name) VALUES ('a') RETURNING runtime")
        assert cursor.fetchone() == (None,)
    assert stored()[named.id].runtime == "crewai"


@pytest.mark.parametrize("interval", [9, 601, -1, 0, 10.5, True, "soon", []])
def test_an_interval_out_of_range_is_refused(make_workspace: Make, as_workspace: As, interval: object) -> None:
    workspace = make_workspace()
    body = registration(workspace, heartbeat_interval=interval)
    answer = as_workspace(workspace).post("/registry/register", body)
    assert answer.status_code == 400
    workspace.refresh_from_db()
    assert (workspace.status, workspace.heartbeat_interval) == ("provisioning", None)


@pytest.mark.parametrize(
    ("interval", "stored", "lease"), [(600, 600, 1500), (10, 10, 60), (None, None, 60), ("", None, 60)]
)
def test_the_lease_lasts_two_and_a_half_intervals(
    make_workspace: Make,
    as_workspace: As,
    django_capture_on_commit_callbacks: Any,
    interval: object,
    stored: int | None,
    lease: float,
) -> None:
    workspace = make_workspace()
    client = as_workspace(workspace)
    ordinary = make_workspace()
    for attempt in ("register", "heartbeat"):
        with django_capture_on_commit_callbacks(execute=True):
            if attempt == "register":
                client.post("/registry/register", registration(workspace, heartbeat_interval=interval))
            else:
                flush([Beat(workspace_id=workspace.id), Beat(workspace_id=ordinary.id)])
        workspace.refresh_from_db()
        assert workspace.heartbeat_interval == stored
        assert workspace.lease_expires_at is not None
        left = (workspace.lease_expires_at - timezone.now()).total_seconds()
        assert left == pytest.approx(lease, abs=5)
        assert redis.client().pttl(liveness_key(workspace.id)) / 1000 == pytest.approx(lease, abs=5)
    assert redis.client().pttl(liveness_key(ordinary.id)) / 1000 == pytest.approx(60, abs=5)


def test_registering_again_without_an_interval_ends_the_long_lease(make_workspace: Make, as_workspace: As) -> None:
    workspace = make_workspace()
    client = as_workspace(workspace)
    client.post("/registry/register", registration(workspace, heartbeat_interval=600))
    client.post("/registry/register", registration(workspace))
    workspace.refresh_from_db()
    assert workspace.heartbeat_interval is None
    assert workspace.lease_expires_at is not None
    assert (workspace.lease_expires_at - timezone.now()).total_seconds() < 65


def test_open_enrolment_names_the_workspace_by_the_shortened_name_of_its_card(
    anonymous: APIClient, settings: Any, db: None
) -> None:
    settings.MOLECULE_ENROLMENT = "open"
    i = uuid4()
    body = {"id": str(i), "url": "http://a:1", "agent_card": {"name": "  Zoe\u0308 " + "x" * 250 + "\u200dx"}}
    assert anonymous.post("/registry/register", body).status_code == 200
    assert Workspace.objects.get(id=i).name == "Zo\u00eb " + "x" * 250
