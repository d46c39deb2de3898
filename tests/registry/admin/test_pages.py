"""Every page renders, and offers and does only what the user has permission for."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from registry.admin.formats import age, span
from registry.models import GlobalSecret, LoopTick, Status, Workspace, WorkspaceSecret
from registry.supervision import jobs
from registry.supervision.retention import Progress
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

MORNING = datetime(2026, 1, 31, 6, tzinfo=UTC)


@pytest.mark.parametrize("name", LISTS)
def test_every_list_renders(root: Client, furnished: Workspace, name: str) -> None:
    assert root.get(reverse(f"admin:{name}_changelist")).status_code == 200
    assert root.get(reverse(f"admin:{name}_changelist"), {"q": "x"}).status_code == 200


@pytest.mark.parametrize("model", [*READ_ONLY, Workspace, WorkspaceSecret, GlobalSecret])
def test_every_detail_renders(root: Client, viewer: Client, furnished: Workspace, model: Any) -> None:
    url = change_url(model.objects.first())
    assert root.get(url).status_code == 200
    assert viewer.get(url).status_code == 200


def test_index_leads_with_the_registry(root: Client) -> None:
    apps = root.get(reverse("admin:index")).context["app_list"]
    assert [app["app_label"] for app in apps] == ["registry", "activity", "auth"]
    assert apps[0]["models"][0]["object_name"] == "Workspace"


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
    assert viewer.post(change_url(furnished), form).status_code == 403
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


def test_background_jobs_are_healthy_or_stale(root: Client, db: None) -> None:
    jobs.tick("running")
    jobs.tick("stopped")
    LoopTick.objects.filter(name="stopped").update(ticked_at="2020-01-01T00:00:00Z")
    page = root.get(reverse("admin:registry_looptick_changelist")).content.decode()
    assert (page.count(">healthy<"), page.count(">stale<")) == (1, 1)


def test_background_jobs_show_their_last_error(root: Client, db: None) -> None:
    jobs.tick("erring")
    jobs.Failures("erring").add(ValueError("<b>of a kind</b>"))
    page = root.get(reverse("admin:registry_looptick_changelist")).content.decode()
    assert ">failing<" in page
    assert "ValueError: &lt;b&gt;of a kind&lt;/b&gt;" in page
    assert "ValueError" in root.get(change_url(LoopTick.objects.get())).content.decode()


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress(), "waiting"),
        (Progress(started_at=MORNING, removed=1500), "pruning: 1,500 rows removed so far"),
        (Progress(started_at=MORNING, finished_at=MORNING, removed=2, total=3000), "2 rows removed, 3,000 in total; "),
    ],
)
def test_retention_shows_its_progress(root: Client, db: None, progress: Progress, words: str) -> None:
    jobs.tick(jobs.RETENTION, **progress.detail())
    assert words in root.get(reverse("admin:registry_looptick_changelist")).content.decode()


def test_lists_have_the_names_that_operators_use(root: Client, furnished: Workspace) -> None:
    expected = {
        "registry_agent": "Model assignments",
        "registry_secretaccess": "Secret access log",
        "registry_looptick": "Background jobs",
        "activity_structureevent": "Audit log",
    }
    index = root.get(reverse("admin:index")).content.decode()
    for name, label in expected.items():
        page = root.get(reverse(f"admin:{name}_changelist"))
        assert page.context["title"] == label
        assert f">{label}</a>" in index


def test_the_labels_need_no_migration(db: None) -> None:
    call_command("makemigrations", "registry", "activity", check=True, dry_run=True)
