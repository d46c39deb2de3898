"""Metrics: in Prometheus' format, for operators and for who holds METRICS_TOKEN, also while the database is down."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient

import molecule.asgi
from activity.events import latest_seq
from molecule import metrics
from registry.models import Status, Workspace
from registry.supervision import jobs
from tests.conftest import bearer
from tests.e2e.stack import ROOT

Make = Callable[..., Workspace]
TOKEN = "a-token-of-metrics-only"


@pytest.fixture
def scraper(settings: Any, db: None) -> APIClient:
    settings.METRICS_TOKEN = TOKEN
    return bearer(TOKEN)


def samples(client: APIClient) -> dict[tuple[str, str], float]:
    """By name and the value of the one label."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.content.decode())
    return {(s.name, ",".join(s.labels.values())): s.value for family in families for s in family.samples}


def test_it_is_what_prometheus_reads(scraper: APIClient, as_viewer: APIClient) -> None:
    assert scraper.get("/metrics")["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(scraper)["molecule_up", "postgres"] == 1
    assert samples(as_viewer)["molecule_up", "redis"] == 1
    assert ("process_resident_memory_bytes", "") in samples(scraper)


def test_openmetrics_for_who_asks_for_it(scraper: APIClient) -> None:
    answer = scraper.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "molecule_workspaces" in {family.name for family in openmetrics(answer.content.decode())}


def test_the_head_alone(scraper: APIClient, anonymous: APIClient) -> None:
    answer = scraper.head("/metrics")
    assert (answer.status_code, answer.content) == (200, b"")
    assert anonymous.head("/metrics").status_code == 401


def test_the_organisation_in_numbers(scraper: APIClient, make_workspace: Make) -> None:
    for status in ("online", "online", "offline"):
        make_workspace(status=status)
    found = samples(scraper)
    counted = {status: found["molecule_workspaces", status] for status in Status}
    assert counted == dict.fromkeys(Status, 0.0) | {Status.ONLINE: 2.0, Status.OFFLINE: 1.0}
    assert found["molecule_event_seq", ""] == latest_seq() > 0


def test_nobody_is_named(scraper: APIClient, make_workspace: Make) -> None:
    workspace = make_workspace("A name of its own")
    text = scraper.get("/metrics").content.decode()
    assert workspace.name not in text
    assert str(workspace.id) not in text


def test_activity_is_estimated_and_never_counted(scraper: APIClient) -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE activity_logs")  # what was known of it is known no more
        assert ("molecule_activity_rows", "") not in samples(scraper)
        cursor.execute("ANALYZE activity_logs")
    with CaptureQueriesContext(connection) as captured:
        assert samples(scraper)["molecule_activity_rows", ""] == 0
    assert not any("FROM activity_logs" in query["sql"] for query in captured.captured_queries)


def test_loops_by_age_and_errors_processes_by_number(scraper: APIClient) -> None:
    jobs.tick(jobs.SUPERVISOR)
    jobs.Failures(jobs.RETENTION).add(ValueError())
    jobs.tick(f"{jobs.PROCESS}here:1", state="leading")
    jobs.tick(f"{jobs.PROCESS}there:1", state="standby")
    found = samples(scraper)
    assert 0 <= found["molecule_loop_age_seconds", jobs.SUPERVISOR] < jobs.STALE_SECONDS
    assert ("molecule_loop_age_seconds", jobs.RETENTION) not in found
    assert found["molecule_loop_errors_total", jobs.RETENTION] == 1
    assert [found["molecule_supervisors", state] for state in ("leading", "standby")] == [1, 1]
    assert not any("here:1" in label for _, label in found)


def test_what_retention_has_done(scraper: APIClient) -> None:
    assert ("molecule_retention_last_run_timestamp_seconds", "") not in samples(scraper)
    jobs.tick(jobs.RETENTION, total=12, started_at="2026-01-31T05:00:00Z", finished_at="2026-01-31T06:00:00Z")
    found = samples(scraper)
    assert found["molecule_activity_pruned_total", ""] == 12
    assert found["molecule_retention_last_run_timestamp_seconds", ""] == 1769839200


def test_while_redis_is_away(scraper: APIClient, unreachable_redis: None) -> None:
    found = samples(scraper)
    assert (found["molecule_up", "redis"], found["molecule_up", "postgres"]) == (0, 1)


def test_every_metric_of_ours_is_in_the_documentation(db: None) -> None:
    assert molecule.asgi.application is not None, "all that counts is there"
    documented = (ROOT / "docs/configuration.md").read_text()
    ours = {family.name for family in metrics.Everything().collect() if family.name.startswith("molecule_")}
    assert {name for name in ours if f"`{name}" not in documented} == set()


def test_database_metrics_come_all_or_none(scraper: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError

    monkeypatch.setattr(metrics, "latest_seq", fail)
    found = samples(scraper)
    assert found["molecule_up", "postgres"] == 0
    assert not any(name == "molecule_workspaces" for name, _ in found)


@pytest.mark.parametrize("token", ["", TOKEN])
@pytest.mark.parametrize("sent", ["wrong", TOKEN[:-1], TOKEN + "x", "mol_op_" + "0" * 12 + "_x"])
def test_another_token_opens_nothing(settings: Any, db: None, token: str, sent: str) -> None:
    settings.METRICS_TOKEN = token
    assert bearer(sent).get("/metrics").status_code == 401


def test_without_metrics_token_no_token_is_accepted(settings: Any, db: None) -> None:
    settings.METRICS_TOKEN = ""
    assert bearer(TOKEN).get("/metrics").status_code == 401
    assert bearer("").get("/metrics").status_code == 401


def test_it_opens_metrics_and_nothing_else(scraper: APIClient) -> None:
    for path in ("/workspaces", "/events", "/api/schema", "/canvas/snapshot"):
        assert scraper.get(path).status_code == 403
    assert "loops" not in scraper.get("/health/ready").json()
