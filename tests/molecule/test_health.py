"""Readiness: which checks fail in which state, and who sees the details."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from rest_framework.test import APIClient

from activity import redis
from molecule import health
from registry.liveness import presence
from registry.models import LoopTick
from registry.supervision import jobs


@pytest.fixture
def everything_ready(db: None) -> None:
    jobs.tick(jobs.SUPERVISOR)
    presence.announce_expiries()


@pytest.fixture
def slot(db: None) -> Iterator[str]:
    """A replication slot without a consumer."""
    execute("SELECT pg_create_physical_replication_slot('unused', immediately_reserve => true)")
    yield "unused"
    execute("SELECT pg_drop_replication_slot('unused')")


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def failing_checks(client: APIClient) -> list[str]:
    response = client.get("/health/ready")
    failed = [name for name, check in response.json()["checks"].items() if not check["ok"]]
    assert response.json().get("reason") == (f"failing: {', '.join(failed)}" if failed else None)
    return failed


def status(client: APIClient) -> tuple[int, str]:
    response = client.get("/health/ready")
    return response.status_code, response.json()["status"]


def warnings(client: APIClient) -> dict[str, str]:
    """Without the one that the tests' database always has: one role does all."""
    checks = client.get("/health/ready").json()["checks"]
    assert checks.pop("database-role")["detail"].startswith("molecule owns structure_events, so may drop its triggers")
    return {name: check["detail"] for name, check in checks.items() if check.get("warning")}


def test_liveness_needs_neither_redis_nor_a_credential(anonymous: APIClient, unreachable_redis: None) -> None:
    assert anonymous.get("/health").content == b'{"status":"ok"}'


def test_all_checks_pass(everything_ready: None, anonymous: APIClient, as_viewer: APIClient) -> None:
    assert failing_checks(as_viewer) == []
    assert failing_checks(anonymous) == []
    assert status(anonymous) == (200, "ok")
    assert warnings(as_viewer) == {}


def test_only_operators_see_details(everything_ready: None, anonymous: APIClient, as_viewer: APIClient) -> None:
    assert all(set(check) == {"ok"} for check in anonymous.get("/health/ready").json()["checks"].values())
    assert as_viewer.get("/health/ready").json()["checks"]["postgres"]["detail"].startswith("PostgreSQL")


def test_without_redis_it_serves_degraded(
    everything_ready: None, as_viewer: APIClient, anonymous: APIClient, unreachable_redis: None
) -> None:
    assert failing_checks(as_viewer) == failing_checks(anonymous) == ["redis", "expiry-hints"]
    assert status(as_viewer) == status(anonymous) == (200, "degraded")


def test_without_keyspace_notifications_it_serves_degraded(everything_ready: None, as_viewer: APIClient) -> None:
    redis.client().config_set("notify-keyspace-events", "")
    assert failing_checks(as_viewer) == ["expiry-hints"]
    assert status(as_viewer) == (200, "degraded")


def test_without_a_supervisor_it_serves_degraded(everything_ready: None, as_viewer: APIClient) -> None:
    LoopTick.objects.update(ticked_at=timezone.now() - timedelta(minutes=5))
    assert failing_checks(as_viewer) == ["supervisor"]
    LoopTick.objects.all().delete()
    assert failing_checks(as_viewer) == ["supervisor"]
    assert status(as_viewer) == (200, "degraded")


def test_an_unapplied_migration_is_not_ready(everything_ready: None, as_viewer: APIClient) -> None:
    MigrationRecorder.Migration.objects.filter(app="canvas").delete()
    assert failing_checks(as_viewer) == ["migrations"]
    assert status(as_viewer) == (503, "unavailable")
    assert "canvas.0001_initial" in as_viewer.get("/health/ready").json()["checks"]["migrations"]["detail"]


def test_a_missing_publication_is_a_warning_and_the_service_stays_ready(
    everything_ready: None, anonymous: APIClient, as_viewer: APIClient
) -> None:
    execute("DROP PUBLICATION molecule_changes")
    assert failing_checks(as_viewer) == []
    assert warnings(as_viewer) == {
        "change-stream": "molecule_changes publishes nothing: make it FOR TABLE structure_events, workspaces"
    }
    assert anonymous.get("/health/ready").json()["checks"]["change-stream"] == {"ok": True}


def test_a_publication_with_other_tables_is_a_warning(everything_ready: None, as_viewer: APIClient) -> None:
    execute("ALTER PUBLICATION molecule_changes ADD TABLE workspace_tokens")
    assert "publishes structure_events, workspace_tokens, workspaces" in warnings(as_viewer)["change-stream"]


def test_a_replication_slot_that_retains_wal_is_a_warning(
    slot: str, everything_ready: None, as_viewer: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert warnings(as_viewer) == {}
    monkeypatch.setattr(health, "RETAINED_WAL_BYTES", 1 << 20)
    execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 2 << 20), true)")
    assert failing_checks(as_viewer) == []
    (warning,) = warnings(as_viewer).values()
    assert warning.startswith(f"{slot}: inactive, holds back ")
    assert warning.endswith(f" MiB of WAL: let its consumer catch up, or SELECT pg_drop_replication_slot('{slot}')")


def test_operators_see_each_job_with_its_last_run_and_errors(
    everything_ready: None, as_viewer: APIClient, anonymous: APIClient
) -> None:
    jobs.tick(jobs.RETENTION, removed=3)
    jobs.Failures(jobs.RETENTION).add(ValueError("of a kind"))
    supervisor, retention = sorted(as_viewer.get("/health/ready").json()["loops"], key=lambda loop: -len(loop["name"]))
    assert (supervisor["fresh"], supervisor["errors"], supervisor["last_error"]) == (True, 0, None)
    assert (retention["errors"], retention["last_error"]) == (1, "ValueError: of a kind")
    assert retention["detail"] == {"removed": 3}
    assert {"since", "ticked_at", "failed_at"} <= set(retention)
    assert "loops" not in anonymous.get("/health/ready").json()


def test_a_job_that_fails_or_hangs_is_a_warning(everything_ready: None, as_viewer: APIClient) -> None:
    jobs.tick(jobs.RETENTION)
    jobs.Failures(jobs.RETENTION).add(ValueError("of a kind"))
    assert failing_checks(as_viewer) == []
    assert warnings(as_viewer) == {"loops": "retention: errors: 1, the last: ValueError: of a kind"}
    old = timezone.now() - timedelta(minutes=5)
    LoopTick.objects.filter(name=jobs.RETENTION).update(ticked_at=old, failed_at=old)
    assert warnings(as_viewer) == {"loops": "retention: last run 300 s ago"}
    LoopTick.objects.filter(name=jobs.RETENTION).update(ticked_at=None)
    assert warnings(as_viewer) == {"loops": "retention: never ran"}


def test_a_postgresql_that_is_too_old_is_not_ready(
    everything_ready: None, as_viewer: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "POSTGRESQL_MINIMUM", 99)
    checks = as_viewer.get("/health/ready").json()["checks"]
    assert checks["postgres"]["ok"] is False
    assert checks["postgres"]["detail"].endswith(": Molecule needs 99 or newer")
