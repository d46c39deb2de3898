"""The web process writes its heartbeat whatever else it waits for."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.db import connection

from registry.models import LoopTick
from registry.supervision import jobs
from registry.supervision.web_liveness import WebLiveness

PATIENCE_SECONDS = 20
pytestmark = pytest.mark.django_db(transaction=True)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The application behind it."""


@asynccontextmanager
async def beating() -> AsyncIterator[None]:
    liveness: Any = WebLiveness(nothing)
    server = ApplicationCommunicator(liveness, {"type": "lifespan"})
    await server.send_input({"type": "lifespan.startup"})
    await server.receive_output(PATIENCE_SECONDS)
    yield
    await server.send_input({"type": "lifespan.shutdown"})
    await server.receive_output(PATIENCE_SECONDS)
    await server.wait()
    await asyncio.to_thread(liveness.thread.shutdown)


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Checks in another thread than the one that sockets share."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if found := await database_sync_to_async(condition, thread_sensitive=False)():
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited {PATIENCE_SECONDS} s for {what}")


def beat() -> LoopTick | None:
    return jobs.last(jobs.WEB)


async def test_it_beats_while_the_thread_that_sockets_share_is_busy() -> None:
    free = threading.Event()
    waiting = asyncio.ensure_future(database_sync_to_async(free.wait)(2 * PATIENCE_SECONDS))
    try:
        async with beating():
            await until(beat, "the first beat")
    finally:
        free.set()
        await waiting


async def test_it_continues_after_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "TICK_SECONDS", 0.01)
    async with beating():
        first = await until(beat, "the first beat")
        await until(end_all_sessions, "all sessions to end")
        now = await until(beat, "the database to answer again")
        later = await until(lambda: (found := beat()) and found.ticked_at > now.now and found, "the next beat")
    assert later.since == first.since


def end_all_sessions() -> bool:
    """As a restart of PostgreSQL does."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    return True
