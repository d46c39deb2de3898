"""Every page renders, and offers and does only what the user has permission for."""

import re
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from registry.admin.formats import age, span
from registry.models import GlobalSecret, Status, Workspace, WorkspaceSecret
from tests.registry.admin.pages import (
    LISTS,
    READ_ONLY,
    WORKSPACES,
    Make,
    change_url,
    confirmation_url,
    form_of,
    url_of,
)


@pytest.mark.parametrize("name", LISTS)
def test_every_list_renders(root: Client, furnished: Workspace, name: str) -> None:
    assert root.get(reverse(f"admin:{name}_changelist")).status_code == 200
    assert root.get(reverse(f"admin:{name}_changelist"), {"q": "x"}).status_code == 200


@pytest.mark.parametrize("model", [*READ_ONLY, Workspace, WorkspaceSecret, GlobalSecret])
def test_every_detail_renders(root: Client, viewer: Client, furnished: Workspace, model: Any) -> None:
    url = change_url(model.objects.first())
    assert root.get(url).status_code == 200
    assert viewer.get(url).status_code == 200


def test_the_address_of_an_application_leads_to_the_overview(root: Client) -> None:
    answer = root.get(reverse("admin:app_list", args=["registry"]))
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:index"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("registry_workspace", "There are no workspaces yet."),
        ("activity_activitylog", "No agent has reported anything yet."),
        ("activity_structureevent", "Nothing has been changed yet."),
        ("registry_secretaccess", "Nobody has used a secret yet."),
        ("registry_agent", "There are no model assignments yet."),
    ],
)
def test_an_empty_list_says_so_in_a_sentence(root: Client, name: str, text: str) -> None:
    assert text in root.get(reverse(f"admin:{name}_changelist")).content.decode()


@pytest.mark.parametrize("view", ["", "team"])
def test_an_empty_list_of_workspaces_leads_to_the_first_one(
    root: Client, viewer: Client, make_workspace: Make, view: str
) -> None:
    link = "Create the first one"
    assert link in root.get(reverse(WORKSPACES), {"view": view} if view else {}).content.decode()
    assert link not in viewer.get(reverse(WORKSPACES)).content.decode()


def test_a_count_names_what_it_counts(root: Client, furnished: Workspace) -> None:
    assert root.get(reverse("admin:registry_secretaccess_changelist")).context["cl"].count_label == "2 entries"
    assert root.get(reverse("admin:registry_workspace_changelist")).context["cl"].count_label == "1 workspace"


def test_the_page_that_creates_a_workspace_is_called_so(root: Client) -> None:
    page = root.get(reverse("admin:registry_workspace_add")).content.decode()
    assert "<title>Create workspace" in page


@pytest.mark.parametrize("name", ["saved", "export", "history"])
def test_the_path_of_a_page_begins_with_its_list(root: Client, furnished: Workspace, name: str) -> None:
    secret = WorkspaceSecret.objects.get()
    address = {
        "saved": reverse("admin:registry_workspacetoken_saved"),
        "export": reverse("admin:registry_workspace_export"),
        "history": reverse("admin:registry_workspacesecret_history", args=[secret.pk]),
    }[name]
    path = re.search(r'<div class="breadcrumbs.*?</div>', root.get(address).content.decode(), re.DOTALL)
    assert path is not None
    assert not re.search("Home|&rsaquo;", path[0])
    assert "/admin/registry/workspace" in path[0]


def test_what_nobody_changed_has_an_empty_history(root: Client, furnished: Workspace) -> None:
    secret = WorkspaceSecret.objects.get()
    page = root.get(reverse("admin:registry_workspacesecret_history", args=[secret.pk])).content.decode()
    assert "Nobody has changed this in the admin." in page


def test_nothing_inline_that_a_strict_csp_would_refuse(root: Client, furnished: Workspace) -> None:
    pages = [reverse(f"admin:{name}_changelist") for name in LISTS] + [
        change_url(furnished),
        confirmation_url("remove", furnished),
    ]
    for url in pages:
        html = root.get(url).content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html), url


def test_viewers_see_no_verbs_and_change_nothing(viewer: Client, furnished: Workspace) -> None:
    page = viewer.get(change_url(furnished)).content.decode()
    assert "Remove…" not in page
    assert 'name="_save"' not in page
    assert 'name="action"' not in viewer.get(reverse(WORKSPACES)).content.decode()
    form = form_of(furnished, name="Mine")
    assert viewer.post(change_url(furnished), form).status_code == 405
    assert 'name="_save"' not in viewer.get(url_of("settings", furnished)).content.decode()
    assert viewer.post(url_of("settings", furnished), form).status_code == 403
    assert viewer.post(reverse("admin:registry_workspace_add"), form).status_code == 403
    assert viewer.get(confirmation_url("remove", furnished)).status_code == 403
    assert viewer.post(url_of("remove"), {"chosen": str(furnished.id)}).status_code == 403
    secret = WorkspaceSecret.objects.get()
    assert viewer.post(change_url(secret), {"value": "x"}).status_code == 403
    assert viewer.post(reverse("admin:registry_workspacesecret_delete", args=[secret.pk])).status_code == 403
    furnished.refresh_from_db()
    assert (furnished.name, furnished.status) == ("Furnished", Status.PROVISIONING)


@pytest.mark.parametrize("model", READ_ONLY)
def test_read_only_rows_are_not_edited_or_deleted(root: Client, furnished: Workspace, model: Any) -> None:
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
    assert Workspace.objects.active().filter(id=workspace.id).exists()


def test_durations_are_in_their_largest_unit() -> None:
    assert [span(s) for s in (-3, 0, 59.9, 60, 3599, 3600, 86399, 86400, 200000)] == [
        "0 s", "0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d", "2 d",
    ]  # fmt: skip


def test_ages_have_the_words_of_the_canvas() -> None:
    assert [age(s) for s in (-5, 0.999, 12, 200, 7300, 2e5)] == [
        "now", "now", "12 s ago", "3 min ago", "2 h ago", "2 d ago",
    ]  # fmt: skip


def test_lists_have_the_names_that_operators_use(root: Client, furnished: Workspace) -> None:
    expected = {
        "registry_agent": "Model assignments",
        "registry_secretaccess": "Secret access log",
        "activity_structureevent": "Audit log",
    }
    index = root.get(reverse("admin:index")).content.decode()
    for name, label in expected.items():
        page = root.get(reverse(f"admin:{name}_changelist"))
        assert page.context["title"] == label
        assert f">{label}</a>" in index


def test_the_labels_need_no_migration(db: None) -> None:
    call_command("makemigrations", "registry", "activity", check=True, dry_run=True)
