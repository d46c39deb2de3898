"""Workspaces: the list, creating and editing."""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from activity import log
from activity.log import Entry
from activity.models import ActivityLog, EventType, StructureEvent
from activity.principals import operator_name
from registry.identity import tokens
from registry.models import Status, Workspace
from registry.organisation import removal, workspaces
from tests.registry.admin.pages import (
    LISTS,
    WORKSPACES,
    Make,
    change_url,
    confirmation_url,
    form_of,
    last_event,
    settings_url,
)


def test_list_shows_active_workspaces_by_default(root: Client, make_workspace: Make) -> None:
    make_workspace("Active")
    gone = make_workspace("Gone")
    removal.remove(gone.id, actor="test", confirm=True)

    def names(**query: str) -> set[str]:
        return {w.name for w in root.get(reverse(WORKSPACES), query).context["cl"].result_list}

    assert names() == {"Active"}
    assert names(state="removed") == names(status="removed") == {"Gone"}
    assert names(state="all") == {"Active", "Gone"}


def test_list_finds_by_name_role_and_whole_id(root: Client, make_workspace: Make) -> None:
    wanted = make_workspace("Scout", role="Reads sources")
    child = make_workspace("Other", parent_id=wanted.id)
    for query in ({"q": "scou"}, {"q": "sources"}, {"q": str(wanted.id)}, {"position": "top"}):
        assert [w.id for w in root.get(reverse(WORKSPACES), query).context["cl"].result_list] == [wanted.id]
    below = root.get(reverse(WORKSPACES), {"position": "team"})
    assert [w.id for w in below.context["cl"].result_list] == [child.id]


def test_the_task_of_a_silent_agent_is_marked_as_its_last(root: Client, make_workspace: Make) -> None:
    for status in (Status.ONLINE, Status.OFFLINE):
        made = make_workspace(status, status=status)
        Workspace.objects.filter(id=made.id).update(current_task="Dig")
    assert root.get(reverse(WORKSPACES)).content.decode().count('<span class="past">last: ') == 1


def test_flapping_is_shown_while_it_lasts_and_can_be_filtered(root: Client, make_workspace: Make) -> None:
    flapping, calm = make_workspace("Flapping"), make_workspace("Calm")
    for row, until in ((flapping, timedelta(minutes=5)), (calm, -timedelta(seconds=1))):
        Workspace.objects.filter(id=row.id).update(flapping_until=timezone.now() + until)
    assert root.get(reverse(WORKSPACES)).content.decode().count("badge-flapping") == 1
    asked = root.get(reverse(WORKSPACES), {"flapping": "1"})
    assert [w.id for w in asked.context["cl"].result_list] == [flapping.id]
    assert (
        "offline more than 3 times in 15 minutes</span> <small>until" in root.get(change_url(flapping)).content.decode()
    )
    assert "offline more than" not in root.get(change_url(calm)).content.decode()


def test_text_from_agents_is_escaped(root: Client, make_workspace: Make) -> None:
    evil = "<script>alert(1)</script>"
    made = make_workspace(evil, role=evil)
    Workspace.objects.filter(id=made.id).update(current_task=evil, agent_card={"name": evil}, url=evil)
    log.write(made.id, [Entry(activity_type="agent_log", summary=evil, request_body=[evil], method=evil)])
    rows = [made, ActivityLog.objects.get(), last_event(made.id)]
    urls = [reverse(f"admin:{name}_changelist") for name in LISTS] + [change_url(row) for row in rows]
    for url in [*urls, confirmation_url("remove", made)]:
        assert evil not in root.get(url).content.decode(), url


def test_autocomplete_offers_active_workspaces(root: Client, make_workspace: Make) -> None:
    make_workspace("Active")
    removal.remove(make_workspace("Gone").id, actor="test", confirm=True)
    field = {"app_label": "registry", "model_name": "workspace", "field_name": "parent"}
    answer = root.get(reverse("admin:autocomplete"), field).json()
    assert [result["text"] for result in answer["results"]] == ["Active"]


def test_edit_is_an_operation_by_the_operator(root: Client, make_workspace: Make) -> None:
    workspace, lead = make_workspace("Old"), make_workspace("Lead")
    answer = root.post(settings_url(workspace), form_of(workspace, name="New", tier=3, parent=str(lead.id)))
    assert answer.status_code == 302
    updated, moved = StructureEvent.objects.filter(workspace_id=workspace.id).order_by("seq")[1:]
    assert updated.payload == {"changes": {"name": ["Old", "New"], "tier": [1, 3]}}
    assert moved.event_type == "WORKSPACE_MOVED"
    assert {operator_name(event.actor) for event in (updated, moved)} == {"operator:ada"}
    workspace.refresh_from_db()
    assert (workspace.name, workspace.tier, workspace.parent_id) == ("New", 3, lead.id)


def test_saving_an_unchanged_form_records_no_event(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Same")
    assert root.post(settings_url(workspace), form_of(workspace)).status_code == 302
    assert last_event(workspace.id).event_type == EventType.WORKSPACE_PROVISIONING


def test_a_stale_form_does_not_undo_what_others_changed(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Old")
    stale = form_of(workspace, tier=2)
    workspaces.update(workspace.id, {"name": "Renamed meanwhile"}, actor="test")
    root.post(settings_url(workspace), stale)
    workspace.refresh_from_db()
    assert (workspace.name, workspace.tier) == ("Renamed meanwhile", 2)


def test_read_only_fields_in_the_form_are_ignored(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Fact")
    root.post(
        settings_url(workspace), form_of(workspace, status="online", url="http://evil", active_tasks=9, id=uuid4())
    )
    workspace.refresh_from_db()
    assert (workspace.status, workspace.url, workspace.active_tasks) == (Status.PROVISIONING, None, 0)


def test_a_cycle_is_an_error_at_the_parent_and_changes_nothing(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    below = make_workspace("Below", parent_id=top.id)
    answer = root.post(settings_url(top), form_of(top, name="Renamed", parent=str(below.id)))
    assert answer.status_code == 200
    why = "“Below” is below “Top”; a workspace cannot be moved into its own team"
    assert answer.context["adminform"].form.errors == {"parent": [why]}
    top.refresh_from_db()
    assert (top.name, top.parent_id) == ("Top", None)
    assert last_event(top.id).event_type == EventType.WORKSPACE_PROVISIONING
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("bad", [{"name": "a\nb\rc"}, {"name": "a\x00"}, {"tier": 5}, {"name": ""}, {"parent": "x"}])
def test_values_that_break_a_rule_are_form_errors(root: Client, make_workspace: Make, bad: dict[str, Any]) -> None:
    workspace = make_workspace("Fine")
    answer = root.post(settings_url(workspace), form_of(workspace, **bad))
    assert answer.status_code == 200
    assert set(answer.context["adminform"].form.errors) == set(bad)


def test_add_creates_by_operation_and_shows_the_enrolment_token_once(root: Client, make_workspace: Make) -> None:
    lead = make_workspace("Lead")
    form = {"name": "New", "tier": 2, "runtime": "claude-code", "parent": str(lead.id), "model": "claude"}
    shown = root.post(reverse("admin:registry_workspace_add"), form, follow=True).content.decode()
    new = Workspace.objects.get(name="New")
    assert (new.parent_id, new.role, new.runtime) == (lead.id, None, "claude-code")
    assert new.agents.get().model == "claude"
    assert operator_name(last_event(new.id).actor) == "operator:ada"
    found = re.search(r"mol_en_\w+?_[\w-]+", shown)
    assert found is not None
    assert tokens.principal_for_token(found[0])[1].workspace_id == new.id
    assert found[0] not in root.get(change_url(new)).content.decode()


def test_add_external_with_a_url_is_online(root: Client, db: None) -> None:
    form = {"name": "Ext", "tier": 1, "runtime": "x", "external": "on", "agent_url": "http://agent:1"}
    root.post(reverse("admin:registry_workspace_add"), form)
    assert Workspace.objects.get(name="Ext").status == Status.ONLINE


def test_an_invalid_url_is_a_form_error_in_one_sentence(root: Client, db: None) -> None:
    form = {"name": "Ext", "tier": 1, "runtime": "x", "external": "on", "agent_url": "javascript:alert(1)"}
    answer = root.post(reverse("admin:registry_workspace_add"), form)
    ((field, (message,)),) = answer.context["adminform"].form.errors.items()
    assert field == "agent_url"
    assert message.startswith("must be an http(s) URL")
    assert "ErrorDetail" not in answer.content.decode()
    assert not Workspace.objects.exists()


def test_creating_and_changing_are_one_permission(operator: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Old")
    assert operator.get(reverse("admin:registry_workspace_add")).status_code == 200
    assert operator.post(settings_url(workspace), form_of(workspace, name="New")).status_code == 302
    assert operator.get(reverse("admin:registry_workspacesecret_changelist")).status_code == 403
