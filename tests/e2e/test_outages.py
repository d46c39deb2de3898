"""What the platform stands on goes away, and comes back."""

import os
import signal
from pathlib import Path

import psycopg

from molecule.embedded import running_postgres
from tests.e2e.stack import Platform, running_platform, until

IN_A_ROW = 30


def test_a_database_that_was_restarted_is_found_again() -> None:
    """Every connection there was is broken; each is noticed once, and replaced."""
    with running_platform() as platform:
        agent = platform.agent("before")
        state = stop_postgres(platform)
        until(lambda: platform.api.get("/workspaces").status_code == 503, "the outage to be said")
        assert platform.api.get("/health").status_code == 200
        with running_postgres(state):
            until(lambda: serves(platform), "the database to be found again")
            assert agent.beat().status_code == 200
            assert platform.status(agent.id) == "online"


def stop_postgres(platform: Platform) -> Path:
    """Returns the folder of its state, to start it from again."""
    with psycopg.connect(platform.environment["DATABASE_URL"]) as server:
        state = Path(server.info.host).parent
    os.kill(int((state / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGINT)
    return state


def serves(platform: Platform) -> bool:
    return all(platform.api.get("/workspaces").status_code == 200 for _ in range(IN_A_ROW))
