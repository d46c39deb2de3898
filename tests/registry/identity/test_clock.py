"""A process whose clock is an hour off judges what has expired by the database's clock."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as project
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from activity import clock, log
from registry.admin import formats, states
from registry.identity import enrolment, tokens
from registry.models import OperatorToken, Workspace, WorkspaceToken
from registry.structure.states import ENROLMENT_EXPIRED
from registry.supervision import jobs
from tests.conftest import bearer

Make = Callable[..., Workspace]
HALF_AN_HOUR = timedelta(minutes=30)


@pytest.fixture(params=[-1, 1], ids=["an hour behind", "an hour ahead"])
def _skewed(request: Any, db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    wrong = timedelta(hours=request.param)
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) + wrong)
    jobs.tick(jobs.WEB)
    yield
    monkeypatch.undo()
    jobs.tick(jobs.WEB)
    assert abs(clock.seconds_ahead()) < 1


def _true_now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.usefixtures("_skewed")
@pytest.mark.parametrize(("left", "is_good"), [(HALF_AN_HOUR, True), (-HALF_AN_HOUR, False)])
def test_a_token_is_good_until_it_expires(make_workspace: Make, make_user: Any, left: timedelta, is_good: bool) -> None:
    mine, expires_at = make_workspace(), _true_now() + left
    issued = tokens.issue_workspace_token(mine.id, expires_at=expires_at)
    path = f"/workspaces/{mine.id}"
    assert bearer(issued.text).get(path).status_code == (200 if is_good else 401)
    text = tokens.issue_operator_token(make_user("viewer"))
    OperatorToken.objects.update(expires_at=expires_at)
    assert bearer(text).get(path).status_code == (200 if is_good else 401)


@pytest.mark.usefixtures("_skewed")
@pytest.mark.parametrize(("left", "status"), [(HALF_AN_HOUR, 200), (-HALF_AN_HOUR, 401)])
def test_a_session_is_good_until_it_expires(client: Client, make_user: Any, left: timedelta, status: int) -> None:
    client.force_login(make_user("viewer"))
    [session] = Session.objects.all()
    expected = _true_now() + timedelta(seconds=project.SESSION_COOKIE_AGE)
    assert abs((session.expire_date - expected).total_seconds()) < 60
    Session.objects.update(expire_date=_true_now() + left)
    assert client.get("/workspaces").status_code == status


@pytest.mark.usefixtures("_skewed")
def test_an_enrolment_token_lasts_as_long_as_it_says(make_workspace: Make, settings: Any) -> None:
    settings.ENROLMENT_TOKEN_SECONDS = 600
    workspace = make_workspace()
    issued = enrolment.issue(workspace.id)
    assert abs((issued.expires_at - _true_now()).total_seconds() - 600) < 5
    workspace.refresh_from_db()
    assert not states.has_expired(workspace)
    Workspace.objects.update(enrolment_expires_at=_true_now() - timedelta(minutes=1))
    workspace.refresh_from_db()
    assert states.has_expired(workspace)
    assert ENROLMENT_EXPIRED in states.state(workspace)


@pytest.mark.usefixtures("_skewed")
def test_a_token_may_be_issued_for_the_next_half_hour_only_if_that_is_in_the_future(
    make_workspace: Make, as_workspace: Callable[[Workspace], APIClient]
) -> None:
    mine = make_workspace()
    client, path = as_workspace(mine), f"/workspaces/{mine.id}/tokens"
    assert client.post(path, {"expires_at": (_true_now() + HALF_AN_HOUR).isoformat()}).status_code == 201
    assert client.post(path, {"expires_at": (_true_now() - HALF_AN_HOUR).isoformat()}).status_code == 400
    assert WorkspaceToken.objects.filter(expires_at=None).count() == 1


@pytest.mark.usefixtures("_skewed")
def test_ages_are_those_of_the_database() -> None:
    assert ">now<" in formats.relative(_true_now())
    assert "in 30 minutes" in formats.until(_true_now() + HALF_AN_HOUR + timedelta(seconds=10))


@pytest.mark.usefixtures("_skewed")
def test_the_admin_tells_browsers_the_time_of_the_database(client: Client) -> None:
    [told] = re.findall(r'<meta name="server-time" content="(.+?)">', client.get("/admin/login/").content.decode())
    assert abs((datetime.fromisoformat(told) - _true_now()).total_seconds()) < 60


@pytest.mark.django_db
def test_the_first_connection_of_a_process_reads_the_databases_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_ahead", None)
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(hours=1))
    first = connection.copy()
    try:
        first.ensure_connection()
        assert abs(clock.seconds_ahead() + 3600) < 60
    finally:
        first.close()


@pytest.mark.django_db(transaction=True)
def test_a_command_deletes_by_the_time_of_the_database(
    monkeypatch: pytest.MonkeyPatch, make_workspace: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write(make_workspace().id, [log.Entry(activity_type="agent_log")])
    monkeypatch.setattr(clock, "_ahead", None)
    monkeypatch.setattr(timezone, "now", lambda: datetime.now(UTC) + timedelta(days=30))
    connection.close()
    call_command("prune_activity", "--days", "7", "--dry-run")
    assert capsys.readouterr().out.startswith("0 rows")


@pytest.mark.usefixtures("_skewed")
@pytest.mark.parametrize("path", ["/workspaces", "/canvas/snapshot"])
def test_the_lists_tell_the_canvas_the_time_of_the_database(as_viewer: APIClient, path: str) -> None:
    listed = as_viewer.get(path)
    unchanged = as_viewer.get(path, headers={"If-None-Match": listed["ETag"]})
    assert (listed.status_code, unchanged.status_code) == (200, 304)
    for answer in (listed, unchanged):
        told = datetime.fromisoformat(answer["X-Server-Time"])
        assert abs((told - _true_now()).total_seconds()) < 60


@pytest.mark.usefixtures("_skewed")
def test_health_says_that_the_clocks_differ(as_viewer: APIClient) -> None:
    check = as_viewer.get("/health/ready").json()["checks"]["clocks"]
    assert (check["ok"], check["warning"]) == (True, True)
    assert "3600 s" in check["detail"]


def test_health_is_content_with_clocks_that_agree(as_viewer: APIClient) -> None:
    assert "warning" not in as_viewer.get("/health/ready").json()["checks"]["clocks"]
