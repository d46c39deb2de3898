"""Metrics: Prometheus format, access for operators and METRICS_TOKEN, and output while an engine is down."""

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
from registry.organisation.attention import Kind
from registry.supervision import jobs
from tests.conftest import bearer
from tests.e2e.stack import ROOT

Make = Callable[..., Workspace]
TOKEN = "a-token-for-metrics-only"


@pytest.fixture
def scraper(settings: Any, db: None) -> APIClient:
    settings.METRICS_TOKEN = TOKEN
    return bearer(TOKEN)


def samples(client: APIClient) -> dict[tuple[str, str], float]:
    """Sample values by metric name and label values."""
    response = client.get("/metrics")
    assert response.status_code == 200
    families = text_string_to_metric_families(response.content.decode())
    return {(s.name, ",".join(s.labels.values())): s.value for family in families for s in family.samples}


def test_metrics_are_served_in_the_prometheus_text_format(scraper: APIClient, as_viewer: APIClient) -> None:
    assert scraper.get("/metrics")["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(scraper)["molecule_up", "postgres"] == 1
    assert samples(as_viewer)["molecule_up", "redis"] == 1
    assert ("process_resident_memory_bytes", "") in samples(scraper)


def test_openmetrics_is_served_when_requested(scraper: APIClient) -> None:
    response = scraper.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "molecule_workspaces" in {family.name for family in openmetrics(response.content.decode())}


def test_head_has_the_same_access_rules_and_no_body(scraper: APIClient, anonymous: APIClient) -> None:
    response = scraper.head("/metrics")
    assert (response.status_code, response.content) == (200, b"")
    assert anonymous.head("/metrics").status_code == 401


def test_workspaces_are_counted_by_status(scraper: APIClient, make_workspace: Make) -> None:
    for status in ("online", "online", "offline"):
        make_workspace(status=status)
    found = samples(scraper)
    counted = {status: found["molecule_workspaces", status] for status in Status}
    assert counted == dict.fromkeys(Status, 0.0) | {Status.ONLINE: 2.0, Status.OFFLINE: 1.0}
    assert found["molecule_event_seq", ""] == latest_seq() > 0


def test_what_needs_somebody_is_counted_by_problem(scraper: APIClient, make_workspace: Make) -> None:
    make_workspace(status="offline")
    make_workspace(status="online")
    found = {kind: samples(scraper)["molecule_attention", kind] for kind in Kind}
    assert found == dict.fromkeys(Kind, 0.0) | {Kind.OFFLINE: 1.0}


def test_metrics_contain_no_workspace_names_or_ids(scraper: APIClient, make_workspace: Make) -> None:
    workspace = make_workspace("A name of its own")
    text = scraper.get("/metrics").content.decode()
    assert workspace.name not in text
    assert str(workspace.id) not in text


def test_the_number_of_activity_rows_is_an_estimate_without_a_table_scan(scraper: APIClient) -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE activity_logs")  # discards the planner's row estimate
        assert ("molecule_activity_rows", "") not in samples(scraper)
        cursor.execute("ANALYZE activity_logs")
    with CaptureQueriesContext(connection) as captured:
        assert samples(scraper)["molecule_activity_rows", ""] == 0
    assert not any("FROM activity_logs" in query["sql"] for query in captured.captured_queries)


def test_background_jobs_have_an_age_and_errors_and_supervisors_are_counted(scraper: APIClient) -> None:
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


def test_retention_reports_its_last_run_and_deleted_rows(scraper: APIClient) -> None:
    assert ("molecule_retention_last_run_timestamp_seconds", "") not in samples(scraper)
    jobs.tick(jobs.RETENTION, total=12, started_at="2026-01-31T05:00:00Z", finished_at="2026-01-31T06:00:00Z")
    found = samples(scraper)
    assert found["molecule_activity_pruned_total", ""] == 12
    assert found["molecule_retention_last_run_timestamp_seconds", ""] == 1769839200


def test_metrics_are_served_while_redis_is_unreachable(scraper: APIClient, unreachable_redis: None) -> None:
    found = samples(scraper)
    assert (found["molecule_up", "redis"], found["molecule_up", "postgres"]) == (0, 1)


def test_every_molecule_metric_is_documented(db: None) -> None:
    assert molecule.asgi.application is not None, "importing it registers every counter"
    documented = (ROOT / "docs/configuration.md").read_text()
    names = {family.name for family in metrics.Everything().collect() if family.name.startswith("molecule_")}
    assert {name for name in names if f"`{name}" not in documented} == set()


def test_a_failed_query_omits_all_database_metrics(scraper: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError

    monkeypatch.setattr(metrics, "latest_seq", fail)
    found = samples(scraper)
    assert found["molecule_up", "postgres"] == 0
    assert not any(name == "molecule_workspaces" for name, _ in found)


@pytest.mark.parametrize("token", ["", TOKEN])
@pytest.mark.parametrize("sent", ["wrong", TOKEN[:-1], TOKEN + "x", "mol_op_" + "0" * 12 + "_x"])
def test_any_other_token_is_refused(settings: Any, db: None, token: str, sent: str) -> None:
    settings.METRICS_TOKEN = token
    assert bearer(sent).get("/metrics").status_code == 401


def test_without_a_metrics_token_setting_no_token_is_accepted(settings: Any, db: None) -> None:
    settings.METRICS_TOKEN = ""
    assert bearer(TOKEN).get("/metrics").status_code == 401
    assert bearer("").get("/metrics").status_code == 401


def test_the_metrics_token_gives_access_only_to_metrics(scraper: APIClient) -> None:
    for path in ("/workspaces", "/events", "/api/schema", "/canvas/snapshot"):
        assert scraper.get(path).status_code == 403
    assert "loops" not in scraper.get("/health/ready").json()
