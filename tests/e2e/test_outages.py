"""PostgreSQL or Redis goes away and comes back."""

import os
import signal
from pathlib import Path

import psycopg
import redis

from molecule.embedded import running_postgres
from tests.e2e.stack import Platform, running_platform, stopped, until
from tests.e2e.test_drain import beat

IN_A_ROW = 30


def test_the_platform_reconnects_after_a_restart_of_postgresql() -> None:
    """All connections are broken; each is noticed once and replaced."""
    with running_platform() as platform:
        agent = platform.agent("before")
        state = stop_postgres(platform)
        until(lambda: platform.api.get("/workspaces").status_code == 503, "503 during the outage")
        assert platform.api.get("/health").status_code == 200
        with running_postgres(state):
            until(lambda: serves(platform), "requests to succeed again")
            assert agent.beat().status_code == 200
            assert platform.status(agent.id) == "online"


def test_a_hanging_redis_does_not_delay_heartbeats() -> None:
    with running_platform() as platform, redis.Redis.from_url(platform.environment["REDIS_URL"]) as server:
        agent = platform.agent("before")
        until(lambda: hears_expiries(platform), "the supervisor to hear of expiries")
        server.delete(f"ws:{agent.id}")
        with stopped(server.info("server")["process_id"]):
            answers = [beat(platform.url, agent.id, agent.token) for _ in range(5)]
            assert [answer.status_code for answer in answers] == [200] * 5
            assert platform.api.get(f"/workspaces/{agent.id}").json()["uptime_seconds"] == 77
            assert platform.api.post("/workspaces", json={"name": "meanwhile"}).status_code == 201
            checks = platform.api.get("/health/ready").json()["checks"]
            assert [name for name, check in checks.items() if not check["ok"]] == ["redis", "expiry-hints"]
        until(lambda: agent.beat().status_code == 200 and server.exists(f"ws:{agent.id}"), "the key to be set again")
        until(lambda: hears_expiries(platform), "the supervisor to hear of expiries again")


def hears_expiries(platform: Platform) -> bool:
    ready = platform.api.get("/health/ready").json()
    return ready["status"] == "ok" and any(loop["detail"].get("hints") for loop in ready["loops"])


def stop_postgres(platform: Platform) -> Path:
    """Return its state folder, to start it again."""
    with psycopg.connect(platform.environment["DATABASE_URL"]) as server:
        state = Path(server.info.host).parent
    os.kill(int((state / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGINT)
    return state


def serves(platform: Platform) -> bool:
    return all(platform.api.get("/workspaces").status_code == 200 for _ in range(IN_A_ROW))
