"""Health says what is wrong, to operators in detail, to strangers only that something is."""

from datetime import timedelta

import pytest
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from rest_framework.test import APIClient

from activity import redis
from registry import loops, presence
from registry.models import LoopTick


@pytest.fixture
def all_well(db: None) -> None:
    loops.tick(loops.SUPERVISOR)
    presence.announce_expiries()


def failing(client: APIClient) -> list[str]:
    answer = client.get("/health/ready")
    wrong = [name for name, check in answer.json()["checks"].items() if not check["ok"]]
    assert answer.status_code == (503 if wrong else 200)
    assert answer.json()["status"] == ("unavailable" if wrong else "ok")
    return wrong


def test_alive_asks_nobody(anonymous: APIClient, unreachable_redis: None) -> None:
    assert anonymous.get("/health").content == b'{"status":"ok"}'


def test_all_well(all_well: None, anonymous: APIClient, as_viewer: APIClient) -> None:
    assert failing(as_viewer) == []
    assert failing(anonymous) == []


def test_strangers_get_no_internals(all_well: None, anonymous: APIClient, as_viewer: APIClient) -> None:
    assert all(set(check) == {"ok"} for check in anonymous.get("/health/ready").json()["checks"].values())
    assert as_viewer.get("/health/ready").json()["checks"]["postgres"]["detail"].startswith("PostgreSQL")


def test_redis_is_away(all_well: None, as_viewer: APIClient, unreachable_redis: None) -> None:
    assert failing(as_viewer) == ["redis", "expiry-hints"]


def test_expiries_are_not_announced(all_well: None, as_viewer: APIClient) -> None:
    redis.client().config_set("notify-keyspace-events", "")
    assert failing(as_viewer) == ["expiry-hints"]


def test_the_supervisor_is_silent(all_well: None, as_viewer: APIClient) -> None:
    LoopTick.objects.update(ticked_at=timezone.now() - timedelta(minutes=5))
    assert failing(as_viewer) == ["supervisor"]
    LoopTick.objects.all().delete()
    assert failing(as_viewer) == ["supervisor"]


def test_a_migration_is_missing(all_well: None, as_viewer: APIClient) -> None:
    MigrationRecorder.Migration.objects.filter(app="canvas").delete()
    assert failing(as_viewer) == ["migrations"]
    assert "canvas.0001_initial" in as_viewer.get("/health/ready").json()["checks"]["migrations"]["detail"]
