"""Many leases end within one second while something breaks: each silent workspace goes offline exactly once.

Half of the agents send a heartbeat at that moment. MOLECULE_STRESS=1: 2,000 agents instead of 300.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
from psycopg.rows import namedtuple_row
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from molecule.embedded import running_redis
from tests.e2e.stack import SUPERVISE, Platform, manage, process, running_platform, until
from tests.registry.racing import STRESS

MANY = 2000 if STRESS else 300
PATIENCE_SECONDS = 120.0
AHEAD_SECONDS = 2.0
BEATERS = 4
BEATS = httpx.Client(timeout=PATIENCE_SECONDS)
CREATE = """
from registry.organisation.workspaces import NewWorkspace, create
for number in range({many}):
    print(create(NewWorkspace(name=f"Agent {{number}}", external=True, url="http://agent:1"), actor="test").id)
"""
# Each lease ends at its own time within a second.
END_LEASES = """
UPDATE workspaces SET lease_expires_at = now() + make_interval(secs => %s + random()) WHERE id = ANY(%s)
RETURNING id::text, lease_expires_at
"""
EVENTS = "SELECT seq, event_type, workspace_id::text, created_at FROM structure_events WHERE seq > %s ORDER BY seq"


@dataclass
class World:
    """A platform with supervisors of the test's own, stopped with `stack`; `engines` are kept for the module."""

    platform: Platform
    database: "psycopg.Connection[Any]"
    engines: ExitStack
    stack: ExitStack
    supervisors: list[Any] = field(default_factory=list)

    @property
    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.platform.environment["REDIS_URL"], decode_responses=True)

    def supervise(self) -> None:
        self.supervisors.append(self.stack.enter_context(process(SUPERVISE, self.platform.environment)))

    def status(self, ids: list[str]) -> dict[str, str]:
        return dict(
            self.database.execute("SELECT id::text, status FROM workspaces WHERE id = ANY(%s)", [ids]).fetchall()
        )

    def latest_seq(self) -> int:
        return int(self.database.execute("SELECT coalesce(max(seq), 0) FROM structure_events").fetchone()[0])  # type: ignore[index]


def kill_the_subscription(world: World) -> None:
    with closing(world.redis) as client:
        client.client_kill_filter(_type="pubsub")


def flush_redis(world: World) -> None:
    with closing(world.redis) as client:
        client.flushall()


def restart_redis(world: World) -> None:
    with closing(world.redis) as client:
        client.shutdown(nosave=True)
    sockets = Path(world.platform.environment["REDIS_URL"].removeprefix("unix://")).parent
    world.engines.enter_context(running_redis(sockets.parent))


def kill_the_supervisor(world: World) -> None:
    """With SIGKILL; another takes over."""
    killed = world.supervisors.pop()
    killed.kill()
    killed.wait()
    world.supervise()


def kill_one_of_two(world: World) -> None:
    killed = world.supervisors.pop(0)
    killed.kill()
    killed.wait()


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Leases are long, so that a heartbeat keeps an agent online; open mode, so that heartbeats need no tokens."""
    with running_platform(LEASE_SECONDS="600", MOLECULE_OPEN="true") as running:
        running.supervisor.terminate()
        running.supervisor.wait()
        yield running


@pytest.fixture(scope="module")
def engines(platform: Platform) -> Iterator[ExitStack]:
    """Engines started again in place of the platform's own."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(platform: Platform, engines: ExitStack) -> Iterator[World]:
    url = platform.environment["DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as database, ExitStack() as stack:
        # The web process has served for a whole lease, so leases can end.
        database.execute("UPDATE loop_ticks SET since = '2000-01-01' WHERE name = 'web'")
        yield World(platform, database, engines, stack)


@pytest.mark.parametrize(
    ("supervisors", "disturb"),
    [
        (1, kill_the_subscription),
        (1, flush_redis),
        (1, restart_redis),
        (1, kill_the_supervisor),
        (2, kill_one_of_two),
    ],
)
def test_each_silent_workspace_goes_offline_once_and_listeners_hear_it_once(
    world: World, supervisors: int, disturb: Callable[[World], None]
) -> None:
    ids = manage(world.platform.environment, "shell", "-v0", "-c", CREATE.format(many=MANY)).split()
    silent, beating = ids[::2], ids[1::2]
    before = world.latest_seq()
    for _ in range(supervisors):
        world.supervise()
    with listening(world.platform, before) as heard:
        ends = end_the_leases(world, ids)
        with ThreadPoolExecutor(BEATERS) as beaters:
            soonest = sorted(beating, key=lambda who: ends[who])
            beats = [beaters.submit(beat_at, world.platform, who, ends[who].timestamp()) for who in soonest]
            until(
                lambda: "offline" in world.status(silent).values(), "the first to go offline", seconds=PATIENCE_SECONDS
            )
            disturb(world)
            until(
                lambda: set(world.status(silent).values()) == {"offline"},
                "all silent ones to be offline",
                seconds=PATIENCE_SECONDS,
            )
            for one in beats:
                one.result()
        until(lambda: set(world.status(beating).values()) == {"online"}, "agents with heartbeats to be online")
        # A lost message is noticed when the next one arrives.
        world.platform.create("The last event")
        until(lambda: heard and heard[-1][0] >= world.latest_seq(), "the listener to have heard all")
    with world.database.cursor(row_factory=namedtuple_row) as cursor:
        events: list[Any] = cursor.execute(EVENTS, [before]).fetchall()
    assert heard == [(event.seq, event.event_type, event.workspace_id) for event in events]
    offline = [event for event in events if event.event_type == "WORKSPACE_OFFLINE"]
    times = Counter(event.workspace_id for event in offline)
    assert {who: times.pop(who) for who in silent} == dict.fromkeys(silent, 1)
    # A late heartbeat finds the workspace offline and sets it online again.
    assert times == Counter(event.workspace_id for event in events if event.event_type == "WORKSPACE_ONLINE")
    assert all(count == 1 for count in times.values())
    assert all(event.created_at >= ends[event.workspace_id] for event in offline), "before its lease ended"
    manage(world.platform.environment, "rebuild", "--check")


def end_the_leases(world: World, ids: list[str]) -> dict[str, Any]:
    """In PostgreSQL, and in Redis for the notifications."""
    ends = dict(world.database.execute(END_LEASES, [AHEAD_SECONDS, ids]).fetchall())
    with closing(world.redis) as client, client.pipeline(transaction=False) as pipe:
        for who, end in ends.items():
            pipe.set(f"ws:{who}", "online", pxat=int(end.timestamp() * 1000))
        pipe.execute()
    return ends


def beat_at(platform: Platform, workspace_id: str, moment: float) -> None:
    """At that moment, and again until it is accepted, as agents do."""
    time.sleep(max(0.0, moment - time.time() - 0.05))

    def is_accepted() -> bool:
        # Not with `api`, which sends an operator's token.
        return BEATS.post(f"{platform.url}/registry/heartbeat", json={"workspace_id": workspace_id}).status_code == 200

    until(is_accepted, "a heartbeat to be accepted", seconds=PATIENCE_SECONDS)


@contextmanager
def listening(platform: Platform, since: int) -> Iterator[list[tuple[int, str, str]]]:
    """What a /ws client hears after a position; it reconnects with its last position when it is cut off."""
    heard: list[tuple[int, str, str]] = []
    stopping = threading.Event()
    bearer = {"Authorization": f"Bearer {platform.operator_token}"}

    def listen() -> None:
        position = since
        while not stopping.is_set():
            try:
                url = f"ws://127.0.0.1:{platform.port}/ws?since={position}"
                with connect(url, additional_headers=bearer) as socket:
                    while not stopping.is_set():
                        position = hear(socket, position)
            except (ConnectionClosed, InvalidHandshake, OSError):
                stopping.wait(0.1)

    def hear(socket: Any, position: int) -> int:
        try:
            message = json.loads(socket.recv(timeout=0.5))
        except TimeoutError:
            return position
        if message["seq"] is None or message["event"] == "STREAM_LIVE":
            return position
        heard.append((message["seq"], message["event"], message["workspace_id"]))
        return int(message["seq"])

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield heard
    finally:
        stopping.set()
        listener.join()
