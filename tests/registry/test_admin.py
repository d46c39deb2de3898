"""The admin: verbs are operations, facts stay facts, secrets stay secret, big lists stay cheap."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from activity import log
from activity.log import Entry
from activity.models import ActivityLog, EventType, StructureEvent
from registry import credentials, lifecycle, loops, removal
from registry.admin.formats import span
from registry.exceptions import SecretsUnavailable
from registry.models import Agent, GlobalSecret, LoopTick, Status, Workspace, WorkspaceSecret, WorkspaceToken

CANARY = "canary-5f1c-never-shown"
LISTS = [
    "registry_workspace", "registry_agent", "registry_workspacesecret", "registry_globalsecret",
    "registry_workspacetoken", "registry_operatortoken", "registry_looptick",
    "activity_activitylog", "activity_structureevent", "auth_user", "auth_group",
]  # fmt: skip
FACTS = [Agent, WorkspaceToken, LoopTick, ActivityLog, StructureEvent]
WORKSPACES = "admin:registry_workspace_changelist"
REMOVE = "admin:registry_workspace_remove"

Make = Callable[..., Workspace]


@pytest.fixture
def root(client: Client, django_user_model: type[User]) -> Client:
    client.force_login(django_user_model.objects.create_superuser("ada", "", "x"))
    return client


def client_with(django_user_model: type[User], **permissions: Any) -> Client:
    user = django_user_model.objects.create_user(f"user-{uuid4().hex[:6]}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(**permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def viewer(db: None, django_user_model: type[User]) -> Client:
    return client_with(django_user_model, codename__startswith="view_")


@pytest.fixture
def operator(db: None, django_user_model: type[User]) -> Client:
    return client_with(django_user_model, codename__in=["view_workspace", "change_workspace"])


@pytest.fixture
def furnished(make_workspace: Make, django_user_model: type[User]) -> Workspace:
    """A workspace with something in every table."""
    workspace = make_workspace("Furnished", model="claude", role="Everything")
    user = django_user_model.objects.create_user("token-holder")
    credentials.issue_workspace_token(workspace.id)
    credentials.issue_operator_token(user)
    credentials.set_workspace_secret(workspace.id, "API_KEY", CANARY)
    credentials.set_global_secret("API_KEY", CANARY)
    log.write(workspace.id, [Entry(activity_type="agent_log", summary="Did it", request_body={"deep": [1]})])
    loops.tick(loops.SUPERVISOR)
    return workspace


def change_url(row: Any) -> str:
    return reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_change", args=[row.pk])


def form_of(workspace: Workspace, **changes: Any) -> dict[str, Any]:
    fields = {
        "name": workspace.name,
        "role": workspace.role or "",
        "tier": workspace.tier,
        "runtime": workspace.runtime,
        "parent": str(workspace.parent_id or ""),
    }
    return fields | {f"initial-{name}": value for name, value in fields.items()} | changes


def last_event(workspace_id: Any) -> StructureEvent:
    event = StructureEvent.objects.filter(workspace_id=workspace_id).order_by("-seq").first()
    assert event is not None
    return event


def removal_form(client: Client, *workspaces: Workspace) -> dict[str, str]:
    """The form as the confirmation page gives it."""
    page = client.get(reverse(REMOVE), {"id": [str(w.id) for w in workspaces]})
    return dict(page.context["form"].initial)


# --- Pages render ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
def test_every_list_renders(root: Client, furnished: Workspace, name: str) -> None:
    assert root.get(reverse(f"admin:{name}_changelist")).status_code == 200
    assert root.get(reverse(f"admin:{name}_changelist"), {"q": "x"}).status_code == 200


@pytest.mark.parametrize("model", [*FACTS, Workspace, WorkspaceSecret, GlobalSecret])
def test_every_detail_renders(root: Client, viewer: Client, furnished: Workspace, model: Any) -> None:
    url = change_url(model.objects.first())
    assert root.get(url).status_code == 200
    assert viewer.get(url).status_code == 200


def test_index_leads_with_the_registry(root: Client) -> None:
    apps = root.get(reverse("admin:index")).context["app_list"]
    assert [app["app_label"] for app in apps] == ["registry", "activity", "auth"]
    assert apps[0]["models"][0]["object_name"] == "Workspace"


def test_nothing_inline_that_a_strict_csp_would_refuse(root: Client, furnished: Workspace) -> None:
    pages = [reverse(f"admin:{name}_changelist") for name in LISTS] + [change_url(furnished), _remove_url(furnished)]
    for url in pages:
        html = root.get(url).content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html), url


def _remove_url(workspace: Workspace) -> str:
    return f"{reverse(REMOVE)}?id={workspace.id}"


# --- Workspaces: the list ----------------------------------------------------------------------------


def test_list_shows_the_living_until_asked(root: Client, make_workspace: Make) -> None:
    make_workspace("Alive")
    gone = make_workspace("Gone")
    removal.remove(gone.id, actor="test", confirm=True)

    def names(**query: str) -> set[str]:
        return {w.name for w in root.get(reverse(WORKSPACES), query).context["cl"].result_list}

    assert names() == {"Alive"}
    assert names(existence="removed") == names(status__exact="removed") == {"Gone"}
    assert names(existence="all") == {"Alive", "Gone"}


def test_list_finds_by_name_role_and_whole_id(root: Client, make_workspace: Make) -> None:
    wanted = make_workspace("Scout", role="Reads sources")
    child = make_workspace("Other", parent_id=wanted.id)
    for query in ({"q": "scou"}, {"q": "sources"}, {"q": str(wanted.id)}, {"place": "root"}):
        assert [w.id for w in root.get(reverse(WORKSPACES), query).context["cl"].result_list] == [wanted.id]
    below = root.get(reverse(WORKSPACES), {"place": "below"})
    assert [w.id for w in below.context["cl"].result_list] == [child.id]


def test_list_says_last_for_a_task_nobody_can_vouch_for(root: Client, make_workspace: Make) -> None:
    for status in (Status.ONLINE, Status.OFFLINE):
        made = make_workspace(status, status=status)
        Workspace.objects.filter(id=made.id).update(current_task="Dig")
    assert root.get(reverse(WORKSPACES)).content.decode().count("last: ") == 1


def test_names_of_agents_are_escaped(root: Client, make_workspace: Make) -> None:
    evil = "<script>alert(1)</script>"
    made = make_workspace(evil, role=evil)
    Workspace.objects.filter(id=made.id).update(current_task=evil, agent_card={"name": evil}, url=evil)
    log.write(made.id, [Entry(activity_type="agent_log", summary=evil, request_body=[evil], method=evil)])
    rows = [made, ActivityLog.objects.get(), last_event(made.id)]
    urls = [reverse(f"admin:{name}_changelist") for name in LISTS] + [change_url(row) for row in rows]
    for url in [*urls, _remove_url(made)]:
        assert evil not in root.get(url).content.decode(), url


def test_autocomplete_offers_the_living(root: Client, make_workspace: Make) -> None:
    make_workspace("Alive")
    removal.remove(make_workspace("Gone").id, actor="test", confirm=True)
    field = {"app_label": "registry", "model_name": "workspace", "field_name": "parent"}
    answer = root.get(reverse("admin:autocomplete"), field).json()
    assert [result["text"] for result in answer["results"]] == ["Alive"]


# --- Workspaces: verbs -------------------------------------------------------------------------------


def test_edit_is_an_operation_by_the_operator(root: Client, make_workspace: Make) -> None:
    workspace, lead = make_workspace("Old"), make_workspace("Lead")
    answer = root.post(change_url(workspace), form_of(workspace, name="New", tier=3, parent=str(lead.id)))
    assert answer.status_code == 302
    updated, moved = StructureEvent.objects.filter(workspace_id=workspace.id).order_by("seq")[1:]
    assert updated.payload == {"changes": {"name": ["Old", "New"], "tier": [1, 3]}}
    assert (moved.event_type, updated.actor, moved.actor) == ("WORKSPACE_MOVED", "operator:ada", "operator:ada")
    workspace.refresh_from_db()
    assert (workspace.name, workspace.tier, workspace.parent_id) == ("New", 3, lead.id)


def test_saving_an_untouched_form_is_no_event(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Same")
    assert root.post(change_url(workspace), form_of(workspace)).status_code == 302
    assert last_event(workspace.id).event_type == EventType.WORKSPACE_PROVISIONING


def test_a_stale_form_does_not_undo_what_others_changed(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Old")
    stale = form_of(workspace, tier=2)
    lifecycle.update(workspace.id, {"name": "Renamed meanwhile"}, actor="test")
    root.post(change_url(workspace), stale)
    workspace.refresh_from_db()
    assert (workspace.name, workspace.tier) == ("Renamed meanwhile", 2)


def test_facts_in_the_form_are_ignored(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Fact")
    root.post(change_url(workspace), form_of(workspace, status="online", url="http://evil", active_tasks=9, id=uuid4()))
    workspace.refresh_from_db()
    assert (workspace.status, workspace.url, workspace.active_tasks) == (Status.PROVISIONING, None, 0)


def test_a_cycle_is_an_error_at_the_parent_and_changes_nothing(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    below = make_workspace("Below", parent_id=top.id)
    answer = root.post(change_url(top), form_of(top, name="Renamed", parent=str(below.id)))
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors == {"parent": ["a workspace cannot be below itself"]}
    top.refresh_from_db()
    assert (top.name, top.parent_id) == ("Top", None)
    assert last_event(top.id).event_type == EventType.WORKSPACE_PROVISIONING
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("bad", [{"name": "a\nb\rc"}, {"name": "a\x00"}, {"tier": 5}, {"name": ""}, {"parent": "x"}])
def test_values_that_break_a_rule_are_form_errors(root: Client, make_workspace: Make, bad: dict[str, Any]) -> None:
    workspace = make_workspace("Fine")
    answer = root.post(change_url(workspace), form_of(workspace, **bad))
    assert answer.status_code == 200
    assert set(answer.context["adminform"].form.errors) == set(bad)


def test_add_creates_by_operation_and_shows_the_enrolment_token_once(root: Client, make_workspace: Make) -> None:
    lead = make_workspace("Lead")
    form = {"name": "New", "tier": 2, "runtime": "claude-code", "parent": str(lead.id), "model": "claude"}
    shown = root.post(reverse("admin:registry_workspace_add"), form, follow=True).content.decode()
    new = Workspace.objects.get(name="New")
    assert (new.parent_id, new.role, new.runtime) == (lead.id, None, "claude-code")
    assert new.agents.get().model == "claude"
    assert last_event(new.id).actor == "operator:ada"
    found = re.search(r"mol_en_\w+?_[\w-]+", shown)
    assert found is not None
    assert credentials.principal_for_token(found[0])[1].workspace_id == new.id
    assert found[0] not in root.get(change_url(new)).content.decode()


def test_add_external_with_a_url_is_online(root: Client, db: None) -> None:
    form = {"name": "Ext", "tier": 1, "runtime": "x", "external": "on", "agent_url": "http://agent:1"}
    root.post(reverse("admin:registry_workspace_add"), form)
    assert Workspace.objects.get(name="Ext").status == Status.ONLINE


def test_add_refuses_a_url_that_is_none(root: Client, db: None) -> None:
    form = {"name": "Ext", "tier": 1, "runtime": "x", "external": "on", "agent_url": "javascript:alert(1)"}
    answer = root.post(reverse("admin:registry_workspace_add"), form)
    assert list(answer.context["adminform"].form.errors) == ["agent_url"]
    assert "ErrorDetail" not in answer.content.decode()
    assert not Workspace.objects.exists()


def test_to_act_is_one_permission(operator: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Old")
    assert operator.get(reverse("admin:registry_workspace_add")).status_code == 200
    assert operator.post(change_url(workspace), form_of(workspace, name="New")).status_code == 302
    assert operator.get(reverse("admin:registry_workspacesecret_changelist")).status_code == 403


# --- Removal -----------------------------------------------------------------------------------------


def test_asking_lists_all_that_goes_and_removes_nothing(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    middle = make_workspace("Middle", parent_id=top.id)
    make_workspace("Bottom", parent_id=middle.id)
    page = root.get(_remove_url(top)).content.decode()
    assert all(name in page for name in ("Top", "Middle", "Bottom", "3 workspaces"))
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()


def test_removal_retires_the_subtree_and_says_how_many(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    child, heir = make_workspace("Child", parent_id=top.id), make_workspace("Heir")
    form = removal_form(root, top) | {"forward_to": str(heir.id)}
    answer = root.post(reverse(REMOVE), form, follow=True)
    assert "Removed 2 workspaces." in [str(message) for message in answer.context["messages"]]
    assert set(Workspace.objects.filter(status=Status.REMOVED)) == {top, child}
    top.refresh_from_db()
    assert top.forwarded_to_id == heir.id
    assert last_event(top.id).actor == "operator:ada"


def test_what_was_not_seen_does_not_go(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    form = removal_form(root, top)
    make_workspace("Newcomer", parent_id=top.id)
    answer = root.post(reverse(REMOVE), form)
    assert "has changed since" in answer.content.decode()
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()
    root.post(reverse(REMOVE), dict(answer.context["form"].initial))
    assert Workspace.objects.filter(status=Status.REMOVED).count() == 2


def test_forwarding_to_what_goes_is_refused(root: Client, make_workspace: Make) -> None:
    top = make_workspace("Top")
    child = make_workspace("Child", parent_id=top.id)
    answer = root.post(reverse(REMOVE), removal_form(root, top) | {"forward_to": str(child.id)})
    assert "Is being removed as well" in answer.content.decode()
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()


def test_action_asks_first_and_counts_overlaps_once(root: Client, make_workspace: Make) -> None:
    top, other = make_workspace("Top"), make_workspace("Other")
    child = make_workspace("Child", parent_id=top.id)
    chosen = {"action": "remove", "_selected_action": [str(w.id) for w in (child, top, other)]}
    asked = root.post(reverse(WORKSPACES), chosen)
    assert asked.context["plan"].size == 3
    assert not Workspace.objects.filter(status=Status.REMOVED).exists()
    root.post(reverse(REMOVE), dict(asked.context["form"].initial))
    assert Workspace.objects.filter(status=Status.REMOVED).count() == 3


def test_removed_is_removed(root: Client, make_workspace: Make) -> None:
    gone = make_workspace("Gone")
    form = removal_form(root, gone)
    removal.remove(gone.id, actor="test", confirm=True)
    assert root.post(reverse(REMOVE), form).status_code == 302
    assert root.get(_remove_url(gone)).status_code == 302
    assert root.post(change_url(gone), form_of(gone, name="Back")).status_code == 403
    assert "Remove…" not in root.get(change_url(gone)).content.decode()


def test_removal_of_nonsense_is_not_found(root: Client, db: None) -> None:
    assert root.get(reverse(REMOVE), {"id": "x"}).status_code == 404
    assert root.post(reverse(REMOVE), {"chosen": "x"}).status_code == 404


def test_removal_needs_a_csrf_token(make_workspace: Make, django_user_model: type[User]) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(django_user_model.objects.create_superuser("eve", "", "x"))
    workspace = make_workspace("Stays")
    assert strict.post(reverse(REMOVE), removal_form(strict, workspace)).status_code == 403


# --- Who may what ------------------------------------------------------------------------------------


def test_viewer_sees_no_verbs_and_may_do_nothing(viewer: Client, furnished: Workspace) -> None:
    page = viewer.get(change_url(furnished)).content.decode()
    assert "Remove…" not in page
    assert 'name="_save"' not in page
    assert 'name="action"' not in viewer.get(reverse(WORKSPACES)).content.decode()
    form = form_of(furnished, name="Mine")
    assert viewer.post(change_url(furnished), form).status_code == 403
    assert viewer.post(reverse("admin:registry_workspace_add"), form).status_code == 403
    assert viewer.get(_remove_url(furnished)).status_code == 403
    assert viewer.post(reverse(REMOVE), {"chosen": str(furnished.id)}).status_code == 403
    secret = WorkspaceSecret.objects.get()
    assert viewer.post(change_url(secret), {"value": "x"}).status_code == 403
    assert viewer.post(reverse("admin:registry_workspacesecret_delete", args=[secret.pk])).status_code == 403
    furnished.refresh_from_db()
    assert (furnished.name, furnished.status) == ("Furnished", Status.PROVISIONING)


@pytest.mark.parametrize("model", FACTS)
def test_nobody_edits_or_deletes_a_fact(root: Client, furnished: Workspace, model: Any) -> None:
    row = model.objects.first()
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    assert root.post(change_url(row), {"payload": "{}"}).status_code == 403
    assert root.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    assert root.post(reverse(f"{name}_add"), {}).status_code == 403


def test_a_workspace_is_never_deleted(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Stays")
    url = reverse("admin:registry_workspace_delete", args=[workspace.id])
    assert root.post(url, {"post": "yes"}).status_code == 403
    root.post(reverse(WORKSPACES), {"action": "delete_selected", "_selected_action": [workspace.id], "post": "yes"})
    assert Workspace.objects.living().filter(id=workspace.id).exists()


# --- Secrets -----------------------------------------------------------------------------------------


def test_secret_is_sealed_and_shown_nowhere(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("Holder")
    form = {"workspace": str(workspace.id), "key": "API_KEY", "value": CANARY}
    added = root.post(reverse("admin:registry_workspacesecret_add"), form, follow=True)
    secret = WorkspaceSecret.objects.get()
    sealed = bytes(secret.encrypted_value)
    assert credentials.keyring().unseal(sealed, context=secret.context()) == CANARY.encode()
    root.post(change_url(secret), {"value": f"{CANARY}-2"})
    history = reverse("admin:registry_workspacesecret_history", args=[secret.pk])
    urls = [reverse("admin:registry_workspacesecret_changelist"), change_url(secret), history, change_url(workspace)]
    pages = [added.content.decode()] + [root.get(url).content.decode() for url in [*urls, reverse("admin:index")]]
    told = " ".join([*pages, *(f"{e.object_repr} {e.change_message}" for e in LogEntry.objects.all())])
    assert LogEntry.objects.count() == 2
    secret.refresh_from_db()
    for hidden in (sealed, bytes(secret.encrypted_value)):
        assert hidden.hex() not in told
        assert repr(hidden)[2:-1] not in told
    assert CANARY not in told
    assert "encrypted" not in told


def test_a_refused_value_does_not_come_back(root: Client, db: None) -> None:
    answer = root.post(reverse("admin:registry_globalsecret_add"), {"key": "not valid", "value": CANARY})
    assert list(answer.context["adminform"].form.errors) == ["key"]
    assert CANARY not in answer.content.decode()


def test_replacing_a_secret_keeps_its_key(root: Client, db: None) -> None:
    credentials.set_global_secret("OLD", "before")
    secret = GlobalSecret.objects.get()
    root.post(change_url(secret), {"key": "NEW", "value": "after"})
    secret.refresh_from_db()
    opened = credentials.keyring().unseal(bytes(secret.encrypted_value), context=secret.context())
    assert (secret.key, opened) == ("OLD", b"after")


def test_a_key_that_exists_is_not_overwritten_by_adding(root: Client, db: None) -> None:
    credentials.set_global_secret("KEY", "before")
    sealed = bytes(GlobalSecret.objects.get().encrypted_value)
    answer = root.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": "after"})
    assert answer.status_code == 200
    assert bytes(GlobalSecret.objects.get().encrypted_value) == sealed


@pytest.mark.parametrize("value", ["", "a\x00b", "é" * (32 * 1024) + "x"])
def test_values_out_of_bounds_are_form_errors(root: Client, db: None, value: str) -> None:
    answer = root.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": value})
    assert list(answer.context["adminform"].form.errors) == ["value"]
    assert not GlobalSecret.objects.exists()


@pytest.mark.parametrize("value", [" ", "x" * 64 * 1024])
def test_values_at_the_bounds_are_kept_as_they_are(root: Client, db: None, value: str) -> None:
    root.post(reverse("admin:registry_globalsecret_add"), {"key": "KEY", "value": value})
    secret = GlobalSecret.objects.get()
    assert credentials.keyring().unseal(bytes(secret.encrypted_value), context=secret.context()) == value.encode()


@pytest.mark.parametrize("key", ["", "too-short"])
def test_without_a_usable_key_nothing_is_stored(root: Client, make_workspace: Make, settings: Any, key: str) -> None:
    settings.SECRETS_ENCRYPTION_KEY = key
    with pytest.raises(SecretsUnavailable) as refusal:
        credentials.keyring()
    form = {"workspace": str(make_workspace("Holder").id), "key": "KEY", "value": CANARY}
    for name in ("workspacesecret", "globalsecret"):
        answer = root.post(reverse(f"admin:registry_{name}_add"), form)
        assert answer.context["adminform"].form.non_field_errors() == [refusal.value.message]
        assert CANARY not in answer.content.decode()
    assert not WorkspaceSecret.objects.exists()
    assert not GlobalSecret.objects.exists()
    assert not LogEntry.objects.exists()


def test_secrets_are_deleted_one_by_one_and_in_bulk(root: Client, furnished: Workspace) -> None:
    own, common = WorkspaceSecret.objects.get(), GlobalSecret.objects.get()
    root.post(reverse("admin:registry_workspacesecret_delete", args=[own.pk]), {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [str(common.pk)], "post": "yes"}
    root.post(reverse("admin:registry_globalsecret_changelist"), chosen)
    assert not WorkspaceSecret.objects.exists()
    assert not GlobalSecret.objects.exists()


def test_token_hashes_are_not_shown(root: Client, furnished: Workspace) -> None:
    token = WorkspaceToken.objects.first()
    assert token is not None
    for url in (reverse("admin:registry_workspacetoken_changelist"), change_url(token)):
        page = root.get(url).content.decode()
        assert token.prefix in page
        assert bytes(token.hash).hex() not in page
        assert repr(bytes(token.hash))[2:-1] not in page


# --- Big lists ---------------------------------------------------------------------------------------


def statements(client: Client, url: str, **query: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url, query).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


@pytest.mark.parametrize("name", LISTS[:-2])
def test_queries_do_not_grow_with_rows(root: Client, make_workspace: Make, name: str) -> None:
    def grow(count: int) -> None:
        lead = make_workspace("Lead")
        for number in range(count):
            made = make_workspace(f"W{number}", parent_id=lead.id, model="m")
            credentials.issue_workspace_token(made.id)
            credentials.set_workspace_secret(made.id, "KEY", "x")
            log.write(made.id, [Entry(activity_type="agent_log")])

    url = reverse(f"admin:{name}_changelist")
    grow(5)
    few = len(statements(root, url))
    grow(30)
    assert len(statements(root, url)) == few


@pytest.mark.parametrize("name", ["activity_activitylog", "activity_structureevent"])
@pytest.mark.parametrize("query", [{}, {"q": "x"}, {"_facets": "True"}, {"all": ""}, {"since": "1d"}])
def test_logs_are_never_counted(root: Client, furnished: Workspace, name: str, query: dict[str, str]) -> None:
    ran = statements(root, reverse(f"admin:{name}_changelist"), **query)
    assert not [sql for sql in ran if "COUNT(" in sql.upper()]


def test_lists_leave_heavy_columns_alone(root: Client, furnished: Workspace) -> None:
    ran = statements(root, reverse("admin:activity_activitylog_changelist"))
    assert not [sql for sql in ran if "request_body" in sql or "response_body" in sql]
    ran = statements(root, reverse(WORKSPACES))
    assert not [sql for sql in ran if "agent_card" in sql]


@pytest.mark.parametrize("name", ["activity_activitylog", "activity_structureevent"])
def test_pages_follow_each_other_without_gap_or_overlap(root: Client, make_workspace: Make, name: str) -> None:
    for number in range(60):
        made = make_workspace(f"W{number}")
        log.write(made.id, [Entry(activity_type="agent_log")] * 2)
    ActivityLog.objects.update(created_at="2026-01-01T00:00:00Z")  # only the id tells them apart
    model: Any = ActivityLog if "log" in name else StructureEvent
    url, seen, pages = reverse(f"admin:{name}_changelist"), [], [""]
    for query in pages:
        changelist = root.get(url + query).context["cl"]
        seen += [row.pk for row in changelist.result_list]
        pages += [changelist.older] if changelist.older else []
    assert seen == list(model.objects.values_list("pk", flat=True))
    assert len(seen) > 50


def test_logs_of_one_workspace(root: Client, make_workspace: Make) -> None:
    one, other = make_workspace("One"), make_workspace("Other")
    for workspace in (one, other):
        log.write(workspace.id, [Entry(activity_type="agent_log", summary="found")])
    for name in ("activity_activitylog", "activity_structureevent"):
        url = reverse(f"admin:{name}_changelist")
        for query in ({"workspace_id": str(one.id)}, {"q": str(one.id)}):
            rows = root.get(url, query).context["cl"].result_list
            assert [row.workspace_id for row in rows] == [one.id]
        assert root.get(url, {"workspace_id": "x"}).status_code == 302
        assert root.get(url, {"before": "x"}).status_code == 302


def test_search_in_activity_ends_at_a_day(root: Client, make_workspace: Make) -> None:
    workspace = make_workspace("One")
    log.write(workspace.id, [Entry(activity_type="agent_log", summary=f"found {n}") for n in range(2)])
    ActivityLog.objects.filter(summary="found 0").update(created_at="2020-01-01T00:00:00Z")
    rows = root.get(reverse("admin:activity_activitylog_changelist"), {"q": "found"}).context["cl"].result_list
    assert [row.summary for row in rows] == ["found 1"]


def test_events_are_found_by_part_of_their_type(root: Client, make_workspace: Make) -> None:
    make_workspace("One", model="m")
    rows = root.get(reverse("admin:activity_structureevent_changelist"), {"q": "agent as"}).context["cl"].result_list
    assert [row.event_type for row in rows] == [EventType.AGENT_ASSIGNED]


# --- Words -------------------------------------------------------------------------------------------


def test_spans_are_in_their_largest_unit() -> None:
    assert [span(s) for s in (-3, 0, 59.9, 60, 3599, 3600, 86399, 86400, 200000)] == [
        "0 s", "0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d", "2 d",
    ]  # fmt: skip


def test_background_loops_are_fresh_or_stale(root: Client, db: None) -> None:
    loops.tick("fast")
    loops.tick("dead")
    LoopTick.objects.filter(name="dead").update(ticked_at="2020-01-01T00:00:00Z")
    page = root.get(reverse("admin:registry_looptick_changelist")).content.decode()
    assert (page.count(">fresh<"), page.count(">stale<")) == (1, 1)
