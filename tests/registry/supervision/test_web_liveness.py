"""The web process writes its heartbeat whatever else it waits for."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.db import connection, connections
from django.utils import timezone

from registry.fast_path.application import FastPath
from registry.liveness import expiry
from registry.models import LoopTick, Workspace
from registry.supervision import jobs
from registry.supervision.web_liveness import WebLiveness

PATIENCE_SECONDS = 20
pytestmark = pytest.mark.django_db(transaction=True)


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The application behind it."""


@asynccontextmanager
async def beating(**options: Any) -> AsyncIterator[None]:
    liveness: Any = WebLiveness(nothing, **options)
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


async def test_it_does_not_beat_while_no_heartbeat_of_an_agent_is_committed(
    monkeypatch: pytest.MonkeyPatch, make_workspace: Callable[..., Workspace]
) -> None:
    """The thread that writes them hangs. An agent whose lease ends meanwhile stays online."""
    monkeypatch.setattr(jobs, "TICK_SECONDS", 0.01)
    gate = FastPath(nothing)
    free = threading.Event()
    async with beating(check_heartbeats=gate.commit_empty_batch):
        await until(beat, "the first beat")
        hanging = gate.beats.thread.submit(free.wait, 2 * PATIENCE_SECONDS)
        asking = await until(lambda: gate.beats.writing and beat(), "a batch to wait for the thread")
        try:
            workspace = await database_sync_to_async(make_workspace)(status="online")
            await database_sync_to_async(_let_time_pass)(jobs.STALE_SECONDS, workspace)
            assert await database_sync_to_async(expiry.reconcile)() == 0
            assert await database_sync_to_async(expiry.seconds_to_deadline)() is None
        finally:
            free.set()
            hanging.result()
        await until(lambda: (found := beat()) and found.since > asking.since, "the next beat")
        assert await database_sync_to_async(expiry.reconcile)() == 0, "agents get a whole lease first"
    gate.beats.thread.submit(connections.close_all).result()


def _let_time_pass(seconds: float, workspace: Workspace) -> None:
    long_ago = timezone.now() - timedelta(seconds=seconds)
    LoopTick.objects.update(ticked_at=long_ago)
    Workspace.objects.filter(id=workspace.id).update(lease_expires_at=long_ago)


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
