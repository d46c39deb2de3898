"""A backup is restored under a running platform: positions that do not exist there start over."""

import asyncio
from typing import Any

import psycopg
from websockets.asyncio.client import ClientConnection

from tests.e2e.stack import Platform, running_platform
from tests.e2e.test_sockets import closed_with, receive, stream


def cut(platform: Platform, upto: int) -> None:
    """Take away what happened after this position, as a restore does; the sequence goes on from there."""
    with psycopg.connect(platform.environment["DATABASE_OWNER_URL"]) as owner:
        owner.execute("ALTER TABLE structure_events DISABLE TRIGGER USER")
        owner.execute("DELETE FROM structure_events WHERE seq > %s", [upto])
        owner.execute("SELECT setval('structure_events_seq_seq', %s)", [upto])
        owner.execute("ALTER TABLE structure_events ENABLE TRIGGER USER")


def newest(platform: Platform) -> dict[str, Any]:
    event: dict[str, Any] = platform.api.get("/events?limit=1").json()[0]
    return event


async def events_until_live(opened: ClientConnection) -> list[dict[str, Any]]:
    came = []
    while (message := await receive(opened))["event"] != "STREAM_LIVE":
        came.append(message)
    return [*came, message]


async def test_sockets_and_positions_from_before_start_over() -> None:
    with running_platform() as platform:
        platform.create("kept")
        kept = newest(platform)
        async with stream(platform.url, platform.operator_token, f"?since={kept['seq']}") as opened:
            await events_until_live(opened)
            for number in range(5):
                await asyncio.to_thread(platform.create, f"lost {number}")
            lost = await asyncio.to_thread(newest, platform)
            await asyncio.to_thread(cut, platform, kept["seq"])
            came, code = await closed_with(opened)
            persisted = [message["id"] for message in came if message["seq"] is not None]
            assert (code, persisted[-1]) == (4409, lost["id"])
        at_lost = f"?since={lost['seq']}&after_id={lost['id']}"
        async with stream(platform.url, platform.operator_token, at_lost) as beyond:
            assert await closed_with(beyond) == ([], 4409)
        for number in range(7):
            await asyncio.to_thread(platform.create, f"new {number}")
        async with stream(platform.url, platform.operator_token, at_lost) as passed:
            assert await closed_with(passed) == ([], 4409)
        at_kept = f"?since={kept['seq']}&after_id={kept['id']}"
        async with stream(platform.url, platform.operator_token, at_kept) as good:
            came = await events_until_live(good)
            assert [message["seq"] for message in came[:-1]] == list(range(kept["seq"] + 1, kept["seq"] + 8))
            assert came[-1]["id"] == (await asyncio.to_thread(newest, platform))["id"]
