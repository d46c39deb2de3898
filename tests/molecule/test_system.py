"""The System page: what it shows to whom, also while an engine is away, and who may let the supervisor prune."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as configured
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.urls import reverse

from activity import clock, log
from activity.log import Entry
from activity.models import ActivityLog
from molecule import health, platform_status
from registry.liveness import presence
from registry.models import LoopTick, Workspace
from registry.supervision import jobs, retention
from registry.supervision.retention import Progress, Retention
from tests.registry.admin.pages import shown_messages

Make = Callable[..., Workspace]
PAGE, PRUNE, INDEX = reverse("admin:system"), reverse("admin:system_prune"), reverse("admin:index")
OLD_DAYS = 30


@pytest.fixture
def members(db: None) -> dict[str, Client]:
    """A client for a member of each group, and for a user without any."""
    clients = {name: Client() for name in ("viewers", "operators", "administrators", "nobody")}
    for name, client in clients.items():
        user = User.objects.create_user(name, is_staff=True)
        user.groups.set(Group.objects.filter(name=name))
        client.force_login(user)
    return clients


@pytest.fixture
def administrator(members: dict[str, Client]) -> Client:
    return members["administrators"]


@pytest.fixture
def one_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' database has one role for everything, of which a check always warns."""
    monkeypatch.setitem(health.CHECKS, "database-role", lambda: "may append to the log")


@pytest.fixture
def healthy(db: None) -> None:
    """Everything runs."""
    presence.announce_expiries()
    for name in (jobs.SUPERVISOR, jobs.WEB):
        jobs.tick(name, took_ms=12)
    jobs.tick(jobs.RETENTION, **Progress(started_at=clock.now(), finished_at=clock.now(), removed=3, total=30).detail())
    jobs.tick(f"{jobs.PROCESS}here:1", state="leading")
    jobs.tick(f"{jobs.PROCESS}there:1", state="standby")
    jobs.tick(f"{jobs.WEB_PROCESS}here:2", sockets=4, behind=17)


@pytest.fixture
def away(transactional_db: None) -> Iterator[None]:
    """A table whose queries fail, so that a part of the page does."""
    rename("loop_ticks", "away")
    yield
    rename("away", "loop_ticks")


def rename(name: str, other: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {name} RENAME TO {other}")


def html_of(client: Client, url: str = PAGE) -> str:
    answer = client.get(url)
    assert answer.status_code == 200, answer.content
    return answer.content.decode()


def let_stop(name: str) -> None:
    LoopTick.objects.filter(name=name).update(ticked_at=clock.now() - timedelta(minutes=5))


def old_activity(workspace: Workspace, count: int) -> None:
    log.write(workspace.id, [Entry(activity_type="agent_log")] * count)
    ActivityLog.objects.update(created_at=clock.now() - timedelta(days=OLD_DAYS))


def progress() -> Progress:
    return Progress.of(LoopTick.objects.get(name=jobs.RETENTION).detail)


# --- What it shows ------------------------------------------------------------------------------------


def test_jobs_are_shown_in_words(administrator: Client, healthy: None) -> None:
    html = html_of(administrator)
    for job in jobs.descriptions().values():
        assert all(words in html for words in (job.label, job.does, job.if_it_stops))
    assert html.count(">Healthy<") == 3
    assert html.count(">12 ms<") == 2
    let_stop(jobs.WEB)
    jobs.Failures(jobs.SUPERVISOR).add(ValueError("<b>of a kind</b>"))
    html = html_of(administrator)
    assert [html.count(f">{word}<") for word in ("Healthy", "Failing", "Stopped")] == [1, 1, 1]
    assert "ValueError: &lt;b&gt;of a kind&lt;/b&gt;" in html
    LoopTick.objects.filter(name=jobs.RETENTION).delete()
    assert html_of(administrator).count(">Never ran<") == 1


def test_processes_are_shown_with_what_they_do(administrator: Client, healthy: None) -> None:
    html = html_of(administrator)
    for words in ("<code>here:1</code>", "<code>there:1</code>", "<code>here:2</code>", "17 events"):
        assert words in html
    assert [html.count(f">{word}<") for word in ("Serving", "Leading", "Standby", "Silent")] == [1, 1, 1, 0]
    let_stop(f"{jobs.PROCESS}there:1")
    assert [html_of(administrator).count(f">{word}<") for word in ("Standby", "Silent")] == [0, 1]


def test_all_is_healthy_or_what_is_wrong_comes_first(administrator: Client, healthy: None, one_role: None) -> None:
    for url in (PAGE, INDEX):
        assert ">All healthy<" in html_of(administrator, url)
    LoopTick.objects.filter(name=jobs.SUPERVISOR).delete()
    MigrationRecorder.Migration.objects.filter(app="canvas").delete()
    platform_status.recent.forget()
    for url in (PAGE, INDEX):
        html = html_of(administrator, url)
        assert '<span class="badge badge-failed">2 problems</span>' in html
        assert "never ran: start manage.py supervise" in html
        assert "canvas.0001_initial" in html


def test_the_overview_has_the_same_in_short_for_who_may_see_it(members: dict[str, Client], healthy: None) -> None:
    html = html_of(members["viewers"], INDEX)
    for words in ("1 process", "1 leading, 1 on standby", "of 200 connections", f'href="{PAGE}"'):
        assert words in html, words
    assert PAGE not in html_of(members["nobody"], INDEX)


def test_it_has_no_credentials(administrator: Client, healthy: None) -> None:
    """Not even their place: addresses of engines may contain a password."""
    html = html_of(administrator)
    for secret in (configured.DATABASE_URL, configured.REDIS_URL, configured.SECRET_KEY):
        assert secret not in html


# --- While an engine is away --------------------------------------------------------------------------


def test_without_redis_the_rest_is_shown(administrator: Client, healthy: None, unreachable_redis: None) -> None:
    html = html_of(administrator)
    assert '<span class="badge badge-failed">Redis</span>' in html
    assert "ConnectionError: cannot reach it" in html
    assert "<h2>PostgreSQL</h2>" in html
    assert "<h2>Redis</h2>" not in html
    assert "does not answer" in html_of(administrator, INDEX)


def test_a_part_that_cannot_be_read_is_left_out(administrator: Client, away: None) -> None:
    html = html_of(administrator)
    assert "ProgrammingError: cannot reach it" in html
    assert "Background jobs</h2>" not in html
    assert "<h2>PostgreSQL</h2>" in html


# --- Who may ------------------------------------------------------------------------------------------


def test_who_may_see_it_and_prune(members: dict[str, Client], healthy: None) -> None:
    answers = {name: (client.get(PAGE).status_code, client.get(PRUNE).status_code) for name, client in members.items()}
    assert answers == {
        "viewers": (200, 403), "operators": (200, 403), "administrators": (200, 200), "nobody": (403, 403),
    }  # fmt: skip
    offered = {name: "Prune now…" in client.get(PAGE).content.decode() for name, client in members.items()}
    assert [name for name, is_offered in offered.items() if is_offered] == ["administrators"]
    assert {name: client.post(PRUNE).status_code for name, client in members.items()} == {
        "viewers": 403, "operators": 403, "administrators": 302, "nobody": 403,
    }  # fmt: skip
    assert Client().get(PAGE).status_code == 302


def test_it_is_in_the_navigation_of_who_may_see_it(members: dict[str, Client]) -> None:
    link = f'<a href="{PAGE}">System</a>'
    assert [name for name, client in members.items() if link in html_of(client, reverse("admin:password_change"))] == [
        "viewers", "operators", "administrators",
    ]  # fmt: skip


def test_a_forged_request_prunes_nothing(administrator: Client, healthy: None) -> None:
    administrator.handler.enforce_csrf_checks = True
    assert administrator.post(PRUNE).status_code == 403
    assert progress().asked_by == ""


# --- Pruning ------------------------------------------------------------------------------------------


def test_pruning_says_what_it_deletes_and_the_supervisor_does_it(
    administrator: Client, healthy: None, make_workspace: Make
) -> None:
    workspace = make_workspace()
    log.write(workspace.id, [Entry(activity_type="agent_log")])
    assert "nothing would be deleted" in html_of(administrator, PRUNE)
    old_activity(workspace, 4)
    assert "<strong>5 rows</strong> of activity" in html_of(administrator, PRUNE)
    answer = administrator.post(PRUNE, follow=True)
    assert shown_messages(answer) == ["Pruning begins within a few seconds. Its progress is shown under Retention."]
    assert "begins within a few seconds, for administrators" in answer.content.decode()
    assert ActivityLog.objects.count() == 5, "the request itself deletes nothing"
    Retention(rest=lambda _seconds: None).step()
    assert ActivityLog.objects.count() == 0
    html = html_of(administrator)
    assert "5 rows removed in" in html
    assert ", for administrators" in html
    assert "<dt>Removed in all</dt><dd>35 rows</dd>" in html


def test_one_request_is_one_run(healthy: None, make_workspace: Make) -> None:
    old_activity(make_workspace(), 1)
    retention.ask("operator:ada#7")
    job = Retention(rest=lambda _seconds: None)
    job.step()
    finished = progress()
    assert (finished.removed, finished.asked_by, finished.begun_for) == (1, "", "operator:ada#7")
    job.step()
    assert progress() == finished


def test_a_run_that_has_begun_goes_on(healthy: None) -> None:
    running = Progress(started_at=clock.now(), removed=7, total=7)
    LoopTick.objects.filter(name=jobs.RETENTION).update(detail=running.detail())
    retention.ask("operator:ada#7")
    assert progress() == running


def test_its_progress_is_shown(administrator: Client, healthy: None) -> None:
    running = Progress(started_at=clock.now(), removed=1500, total=1500, begun_for="operator:ada#7")
    LoopTick.objects.filter(name=jobs.RETENTION).update(detail=running.detail())
    assert "pruning, 1,500 rows removed so far, for ada" in html_of(administrator)


def test_without_a_leader_it_says_that_pruning_waits(administrator: Client, healthy: None) -> None:
    let_stop(f"{jobs.PROCESS}here:1")
    assert shown_messages(administrator.post(PRUNE, follow=True)) == [
        "Pruning begins as soon as a supervisor leads: none does now."
    ]


def test_where_activity_is_kept_forever_there_is_nothing_to_prune(
    administrator: Client, healthy: None, settings: Any
) -> None:
    settings.ACTIVITY_RETENTION_DAYS = 0
    html = html_of(administrator)
    assert "all activity" in html
    assert "Prune now…" not in html
    assert shown_messages(administrator.post(PRUNE, follow=True)) == [
        "Activity is kept forever: ACTIVITY_RETENTION_DAYS is 0."
    ]
    assert progress().asked_by == ""


def test_many_rows_are_estimated(healthy: None, make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    old_activity(make_workspace(), 6)
    monkeypatch.setattr(log, "COUNTED", 3)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE activity_logs")
    assert 4 <= log.about_prunable(clock.now()) <= 12
