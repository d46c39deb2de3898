"""Verbs that take a value: agents, forwarding a removed workspace, members, an enrolment token."""

import re
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client

from activity.models import EventType, StructureEvent
from activity.principals import operator_name
from registry.admin.workspace.dialogs import DIALOGS
from registry.identity import tokens
from registry.models import Agent, Workspace, WorkspaceToken
from registry.organisation import agents, removal
from tests.registry.admin.pages import Make, change_url, executed_sql, last_event, shown_messages, url_of

NAMES = [*(dialog.name for dialog in DIALOGS), "expand", "connect"]


def available(client: Client, workspace: Workspace) -> list[str]:
    return [bound.dialog.name for bound in client.get(url_of("agent", workspace)).context["dialogs"]]


def members(*rows: dict[str, Any]) -> dict[str, Any]:
    """As a browser sends the page: every row, with the tier it started with."""
    blank = {"name": "", "role": "", "tier": "1", "model": ""}
    form = {f"form-{n}-{key}": value for n, row in enumerate(rows) for key, value in (blank | row).items()}
    return form | {"form-TOTAL_FORMS": str(len(rows)), "form-INITIAL_FORMS": "0"}


# --- Agents ------------------------------------------------------------------------------------------


def test_an_agent_is_assigned_replaced_and_removed(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    assert available(root, one) == ["assign"]
    assert shown_messages(root.post(url_of("assign", one), {"model": "a"}, follow=True)) == ["Assigned a to One."]
    assert available(root, one) == ["replace", "transfer", "dismiss"]
    assert shown_messages(root.post(url_of("replace", one), {"model": "b"}, follow=True)) == ["Replaced a with b."]
    gone = root.post(url_of("dismiss", one), {"reason": "too slow"}, follow=True)
    assert shown_messages(gone) == ["Removed b from One."]
    assert last_event(one.id).payload == {"agent_id": str(Agent.objects.get(model="b").id), "model": "b",
                                          "reason": "too slow"}  # fmt: skip
    assert operator_name(last_event(one.id).actor) == "operator:ada"
    html = gone.content.decode()
    assert "too slow" in html
    assert {agent.model for agent in gone.context["agents"]} == {"a", "b"}


def test_an_agent_moves_to_another_workspace(root: Client, make_workspace: Make) -> None:
    one, other = make_workspace("One", model="m"), make_workspace("Other")
    answer = root.post(url_of("transfer", one), {"target": str(other.id)}, follow=True)
    assert shown_messages(answer) == ["Moved m to Other."]
    assert agents.active(one.id) is None
    assert Agent.objects.get().workspace_id == other.id


def test_an_error_of_the_operation_is_shown_in_the_form(root: Client, make_workspace: Make) -> None:
    busy, also, idle = make_workspace("Busy", model="m"), make_workspace("Also", model="n"), make_workspace("Idle")
    free = make_workspace("Free")
    refused: list[tuple[str, Workspace, dict[str, str], str]] = [
        ("assign", busy, {"model": "x"}, agents.ALREADY_ASSIGNED),
        ("replace", idle, {"model": "x"}, "no active agent to replace"),
        ("dismiss", idle, {"reason": ""}, "no active agent to remove"),
        ("transfer", idle, {"target": str(free.id)}, "no active agent to move"),
        ("transfer", busy, {"target": str(also.id)}, "target workspace already has an active agent"),
    ]
    events = StructureEvent.objects.count()
    for name, workspace, form, why in refused:
        answer = root.post(url_of(name, workspace), form)
        assert answer.context["bound"].form.non_field_errors() == [why]
    assert StructureEvent.objects.count() == events
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("model", ["", "x" * 101, "a\nb\rc", "a\x00b"])
def test_an_invalid_model_is_a_form_error(root: Client, make_workspace: Make, model: str) -> None:
    answer = root.post(url_of("assign", make_workspace("One")), {"model": model})
    assert list(answer.context["bound"].form.errors) == ["model"]
    assert not Agent.objects.exists()


def test_an_invalid_target_is_a_form_error(root: Client, make_workspace: Make) -> None:
    one, gone = make_workspace("One", model="m"), make_workspace("Gone")
    removal.remove(gone.id, actor="test", confirm=True)
    for target in ("", "x", str(uuid4()), str(gone.id)):
        answer = root.post(url_of("transfer", one), {"target": target})
        assert list(answer.context["bound"].form.errors) == ["target"]


# --- Forwarding the removed --------------------------------------------------------------------------


@pytest.fixture
def gone(make_workspace: Make) -> Workspace:
    workspace = make_workspace("Gone", model="m")
    removal.remove(workspace.id, actor="test", confirm=True)
    return workspace


def test_forwarding_a_removed_workspace_starts_and_ends(root: Client, gone: Workspace, make_workspace: Make) -> None:
    heir = make_workspace("Heir")
    assert available(root, gone) == []
    (forward,) = root.get(change_url(gone)).context["header"].toolbar.buttons
    assert (forward.title, forward.url) == ("Forward…", url_of("forward", gone))
    assert shown_messages(root.post(url_of("forward", gone), {"forward_to": str(heir.id)}, follow=True)) == [
        "Gone is forwarded to Heir."
    ]
    gone.refresh_from_db()
    assert gone.forwarded_to_id == heir.id
    assert operator_name(last_event(gone.id).actor) == "operator:ada"
    root.post(url_of("forward", gone), {"forward_to": ""})
    gone.refresh_from_db()
    assert gone.forwarded_to_id is None


def test_it_is_not_forwarded_to_itself_or_to_a_removed_one(root: Client, gone: Workspace, make_workspace: Make) -> None:
    also = make_workspace("Also")
    removal.remove(also.id, actor="test", confirm=True)
    for target in (str(gone.id), str(also.id), str(uuid4()), "x"):
        answer = root.post(url_of("forward", gone), {"forward_to": target})
        assert list(answer.context["bound"].form.errors) == ["forward_to"]
    gone.refresh_from_db()
    assert gone.forwarded_to_id is None


def test_an_active_workspace_is_not_forwarded(root: Client, make_workspace: Make) -> None:
    one, heir = make_workspace("One"), make_workspace("Heir")
    answer = root.post(url_of("forward", one), {"forward_to": str(heir.id)})
    assert answer.context["bound"].form.non_field_errors() == ["only a removed workspace can be forwarded"]


def test_a_removed_workspace_has_no_other_verb(root: Client, gone: Workspace) -> None:
    for name in NAMES:
        if name != "forward":
            assert root.post(url_of(name, gone), {"model": "x"} | members({"name": "x"})).status_code in (302, 403)
    assert not WorkspaceToken.objects.filter(revoked_at=None).exists()
    assert Agent.objects.filter(status="active").count() == 0
    assert last_event(gone.id).event_type == EventType.WORKSPACE_REMOVED


# --- Members -----------------------------------------------------------------------------------------


def test_several_members_are_added_at_once(root: Client, make_workspace: Make) -> None:
    lead = make_workspace("Lead")
    form = members({"name": "A", "role": "Cook", "tier": "3", "model": "m"}, {}, {"name": "B"})
    answer = root.post(url_of("expand", lead), form, follow=True)
    assert shown_messages(answer)[0].startswith("Added 2 members: A, B.")
    found = Workspace.objects.filter(parent_id=lead.id).order_by("name").values_list("name", "role", "tier")
    assert list(found) == [("A", "Cook", 3), ("B", None, 1)]
    assert Agent.objects.get().model == "m"
    assert last_event(lead.id).event_type == EventType.WORKSPACE_EXPANDED


@pytest.mark.parametrize("row", [{"role": "Nobody"}, {"name": "A", "tier": "5"}, {"name": "a\nb\rc"}])
def test_an_invalid_row_adds_no_member(root: Client, make_workspace: Make, row: dict[str, str]) -> None:
    lead = make_workspace("Lead")
    answer = root.post(url_of("expand", lead), members({"name": "Fine"}, row))
    assert answer.context["formset"].total_error_count() == 1
    assert Workspace.objects.count() == 1


def test_a_team_needs_a_member(root: Client, make_workspace: Make) -> None:
    answer = root.post(url_of("expand", make_workspace("Lead")), members({}, {}))
    assert "Members: must have at least one member" in answer.content.decode()


def test_a_formset_without_its_management_form_is_an_error(root: Client, make_workspace: Make) -> None:
    assert root.post(url_of("expand", make_workspace("Lead")), {}).status_code == 200
    assert Workspace.objects.count() == 1


# --- Enrolment ---------------------------------------------------------------------------------------


def test_an_enrolment_token_is_shown_once_and_kept_nowhere(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One")
    answer = root.post(url_of("connect", one), follow=True)
    found = re.search(r"mol_en_\w+?_[\w-]+", answer.content.decode())
    assert found is not None
    assert tokens.principal_for_token(found[0])[1].workspace_id == one.id
    assert "no-store" in answer["Cache-Control"]
    secret = found[0].rpartition("_")[2]
    for url in (url_of("connect", one), change_url(one)):
        assert secret not in root.get(url).content.decode()
    assert LogEntry.objects.get().change_message == "Issued an enrolment token."


def test_to_add_redirects_and_a_reload_creates_nothing(root: Client, db: None) -> None:
    form = {"name": "New", "tier": 1, "runtime": "x", "_addanother": "1"}
    created = root.post("/admin/registry/workspace/add/", form)
    one = Workspace.objects.get()
    assert (created.status_code, created.url) == (302, url_of("connect", one))  # type: ignore[attr-defined]
    stored = Session.objects.get()
    page = root.get(url_of("connect", one)).content.decode()
    (token,) = set(re.findall(r"mol_en_\w+?_[\w-]+", page))
    assert tokens.principal_for_token(token)[1].workspace_id == one.id
    secret = token.rpartition("_")[2]
    assert secret not in stored.session_data
    assert secret not in str(stored.get_decoded())
    again = root.get(url_of("connect", one))
    assert not re.search(r"mol_en_\w+?_[\w-]+", again.content.decode())
    assert "shown only once" in again.content.decode()
    assert (Workspace.objects.count(), WorkspaceToken.objects.count()) == (1, 1)


# --- All of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_get_does_nothing(root: Client, make_workspace: Make, name: str) -> None:
    one, other = make_workspace("One", model="m"), make_workspace("Other")
    form = {"model": "x", "reason": "x", "target": str(other.id), "forward_to": str(other.id)}
    events = StructureEvent.objects.count()
    assert root.get(url_of(name, one), form).status_code == 200
    assert StructureEvent.objects.count() == events
    assert not WorkspaceToken.objects.exists()


@pytest.mark.parametrize("name", NAMES)
def test_viewers_are_refused(viewer: Client, make_workspace: Make, name: str) -> None:
    one, other = make_workspace("One", model="m"), make_workspace("Other")
    form = {"model": "x", "reason": "x", "target": str(other.id), "forward_to": str(other.id)}
    events = StructureEvent.objects.count()
    for workspace in (one, other):
        assert viewer.post(url_of(name, workspace), form | members({"name": "x"})).status_code == 403
    assert viewer.get(url_of(name, one)).status_code == 403
    assert available(viewer, one) == []
    assert StructureEvent.objects.count() == events
    assert not WorkspaceToken.objects.exists()


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_workspace_is_not_found(root: Client, db: None, name: str) -> None:
    answer = root.post(url_of(name, Workspace(id=uuid4())), {"model": "x"} | members({"name": "x"}))
    assert answer.status_code == (302 if name == "connect" else 404)


def test_queries_of_a_workspace_page_do_not_grow_with_its_history(root: Client, make_workspace: Make) -> None:
    one = make_workspace("One", model="m")
    few = len(executed_sql(root, change_url(one)))
    for number in range(30):
        agents.replace(one.id, f"m{number}", actor="test")
    assert len(executed_sql(root, change_url(one))) == few
