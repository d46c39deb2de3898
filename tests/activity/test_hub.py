"""The hub: one position, in the order of the log, whatever the bus brings, loses or swaps."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, connections, transaction
from django.db.models import QuerySet

from activity import bus, hub, redis
from activity.events import NewEvent, record
from activity.hub import Hub
from activity.listeners import BEATS, CANVASES, Listener
from activity.models import EventType, StructureEvent
from activity.outbox import NOT_ALLOWED, TRY_AGAIN, Frame
from activity.principals import Kind, Principal
from tests.activity.sockets import Client, listening
from tests.e2e.stack import stopped

PATIENCE_SECONDS = 10
OWN = str(uuid4())


class Nobody:
    """An audience of canvases alone, at the end of the log."""

    def __init__(self) -> None:
        self.breaks = False

    def load(self) -> int:
        return bus.latest_seq()

    def fold(self, frame: Frame) -> bool:
        if self.breaks:
            raise ValueError("cannot follow")
        return False

    def groups_for(self, frame: Frame) -> tuple[str, ...]:
        return ()

    def groups_of(self, member: str) -> tuple[str, ...] | None:
        return ()

    def backlog(self, events: QuerySet[StructureEvent], member: str) -> QuerySet[StructureEvent]:
        return events

    def unauthorized(self, listeners: Sequence[Listener]) -> list[Listener]:
        return []


@pytest.fixture
async def at_five() -> Hub:
    return Hub(Nobody(), position=5)


@pytest.fixture
def client() -> Client:
    return Client()


def subscribed(made: Hub, client: Client, *groups: str, **given: Any) -> Listener:
    listener = listening(client, *(groups or (CANVASES,)), **given)
    made.add(listener)
    assert made.subscribe(listener)
    return listener


def batch(after: int, *seqs: int | None) -> dict[str, Any]:
    frames = [[seq, "EVENT", OWN, bus.encode({"event": "EVENT", "seq": seq, "payload": {}})] for seq in seqs]
    return {"type": "events", "after": after, "frames": frames}


async def test_what_was_given_is_not_given_again(at_five: Hub, client: Client) -> None:
    subscribed(at_five, client)
    for message in (batch(4, 5, 6), batch(5, 6), batch(6, None), batch(6, 7)):
        at_five.dispatch(message)
    at_five.flush()
    assert (client.seqs, at_five.position) == ([6, None, 7], 7)


async def test_batches_that_come_in_another_order_wait_for_each_other(at_five: Hub, client: Client) -> None:
    """Two commits, two processes: the later one may be published first. No look at the log for that."""
    subscribed(at_five, client)
    for message in (batch(8, 9), batch(6, 7, 8), batch(8, None), batch(5, 6)):
        at_five.dispatch(message)
    at_five.flush()
    assert client.seqs == [6, 7, 8, 9, None]
    assert at_five.buffered == []


async def test_what_is_not_persisted_waits_for_what_came_before_it(at_five: Hub, client: Client) -> None:
    subscribed(at_five, client)
    at_five.dispatch(batch(6, None))
    at_five.flush()
    assert client.seqs == []
    at_five.dispatch(batch(5, 6))
    at_five.flush()
    assert client.seqs == [6, None]


async def test_who_attaches_hears_nothing_from_before(at_five: Hub, client: Client) -> None:
    at_five.dispatch(batch(5, 6))
    subscribed(at_five, client)
    at_five.dispatch(batch(6, 7))
    at_five.flush()
    assert client.seqs == [7]


async def test_in_two_groups_and_heard_once(at_five: Hub, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_five.audience, "groups_of", lambda member: ("parent", "own"))
    monkeypatch.setattr(at_five.audience, "groups_for", lambda frame: ("own", "parent"))
    subscribed(at_five, client, member=OWN)
    at_five.dispatch(batch(5, 6, None))
    at_five.flush()
    assert client.seqs == [6, None]


async def test_who_has_left_is_forgotten(at_five: Hub, client: Client) -> None:
    at_five.remove(subscribed(at_five, client, member=OWN))
    assert (at_five.listeners, at_five.groups, at_five.members) == (set(), {}, {})


async def test_beats_are_encoded_only_where_somebody_listens(
    at_five: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[object] = []
    encode = bus.encode
    monkeypatch.setattr(bus, "encode", lambda value: encoded.append(value) or encode(value))  # type: ignore[func-returns-value]
    beat = bus.envelope("HEARTBEAT", uuid4(), {"active_tasks": 1})
    others = Client()
    subscribed(at_five, others)
    at_five.dispatch({"type": "beats", "beats": [beat]})
    assert (encoded, others.texts) == ([], [])
    for one in (client, Client()):
        subscribed(at_five, one, CANVASES, BEATS)
    at_five.dispatch({"type": "beats", "beats": [beat]})
    assert (client.heard, len(encoded), others.texts) == ([beat], 1, [])


async def test_a_hub_that_breaks_leaves_nobody_with_a_gap(
    at_five: Hub, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    subscribed(at_five, client)
    assert isinstance(at_five.audience, Nobody)
    at_five.audience.breaks = True
    at_five.dispatch(batch(5, 6))
    at_five.flush()
    assert client.code == TRY_AGAIN
    assert "hub restarts" in caplog.text


# --- With the engines ------------------------------------------------------------------------------------


@pytest.fixture
async def opened(transactional_db: None) -> AsyncIterator[Hub]:
    made = Hub(Nobody())
    await made.start()
    yield made
    await closed(made)


async def closed(made: Hub) -> None:
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    await made.subscription.layer.flush()
    await sync_to_async(connections.close_all)()


async def until_heard(client: Client, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(client.texts) < count:
            await asyncio.sleep(0.01)


async def happens(count: int = 1) -> list[int]:
    """Events on the bus and in the log; their positions."""

    def write() -> list[int]:
        new = [NewEvent(event_type=EventType.WORKSPACE_OFFLINE, workspace_id=uuid4()) for _ in range(count)]
        with transaction.atomic():
            return [row.seq for row in record(new, actor="test")]

    return await sync_to_async(write)()


async def happens_unheard(monkeypatch: pytest.MonkeyPatch, count: int = 1) -> list[int]:
    """As after a crash between commit and publish."""
    with monkeypatch.context() as lost:
        lost.setattr(bus, "publish", lambda *_, **__: None)
        return await happens(count)


async def test_beats_that_are_published_reach_whoever_asked(opened: Hub, client: Client) -> None:
    """Nobody asked: they are not even made."""
    beats = [
        bus.envelope("HEARTBEAT", uuid4(), {"sample_error": "x" * size}) for size in (10, bus.MAX_MESSAGE_BYTES, 20)
    ]
    made: list[bus.Envelope] = []
    publish = sync_to_async(bus.publish_beats)
    await publish(made.append(beat) or beat for beat in beats)  # type: ignore[func-returns-value]
    assert made == []
    subscribed(opened, client, CANVASES, BEATS)
    await opened.subscription.sync({bus.BEATS_GROUP})
    await publish(beats)
    await until_heard(client, 3)
    assert client.heard == beats


async def test_more_than_redis_holds_for_a_subscriber_comes_whole_and_in_order(opened: Hub, client: Client) -> None:
    """In one message it would end the hub's subscription; what is not persisted would be lost."""
    subscribed(opened, client)
    text = "x" * bus.MAX_MESSAGE_BYTES
    await sync_to_async(bus.publish)([bus.envelope("PASSING", None, {"n": n, "text": text}) for n in range(40)])
    await until_heard(client, 40)
    assert [message["payload"]["n"] for message in client.heard] == list(range(40))


async def test_a_lost_batch_is_read_from_the_log_in_its_place(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed(opened, client)
    lost = await happens_unheard(monkeypatch, 3)
    after = await happens(2)
    await until_heard(client, 5)
    assert client.seqs == lost + after


async def test_a_lost_batch_comes_without_another_one(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed(opened, client)
    lost = await happens_unheard(monkeypatch)
    await until_heard(client, 1)
    assert client.seqs == lost


async def test_more_than_a_page_is_caught_up(opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PAGE", 3)
    subscribed(opened, client)
    lost = await happens_unheard(monkeypatch, 7)
    await opened.poll_log()
    opened.flush()
    assert client.seqs == lost


async def test_those_who_ask_at_once_share_a_look(opened: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    read_page = hub.read_page
    monkeypatch.setattr(hub, "read_page", lambda events: reads.append(events) or read_page(events))  # type: ignore[func-returns-value]
    await asyncio.gather(*(opened.poll_log() for _ in range(20)))
    assert 1 <= len(reads) <= 2


async def test_a_look_that_failed_has_failed_for_all_who_asked(opened: Hub) -> None:
    """Or a socket would be told that its position lies ahead of the log."""
    rename = "ALTER TABLE %s RENAME TO %s"
    await sync_to_async(execute)(rename % ("structure_events", "away"))
    try:
        came = await asyncio.gather(*(opened.poll_log() for _ in range(3)), return_exceptions=True)
    finally:
        await sync_to_async(execute)(rename % ("away", "structure_events"))
    assert [isinstance(one, DatabaseError) for one in came] == [True] * 3
    await opened.poll_log()


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


async def until_live(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "STREAM_LIVE" not in [message["event"] for message in client.heard]:
            await asyncio.sleep(0.01)


async def test_after_a_broken_connection_everybody_is_told_to_read_once_more(opened: Hub, client: Client) -> None:
    """redis-py makes it anew and says nothing: what was published meanwhile has gone."""
    member, opening = Client(), Client()
    subscribed(opened, client)
    subscribed(opened, member, member=OWN)
    opened.add(listening(opening, CANVASES))
    [position] = await happens()
    await until_heard(client, 1)
    await sync_to_async(redis.client().execute_command)("CLIENT", "KILL", "TYPE", "pubsub")
    for one in (client, member):
        await until_live(one)
        assert one.heard[-1] == {"event": "STREAM_LIVE", "seq": position}
    assert opening.texts == []
    await sync_to_async(bus.publish)([bus.envelope("PASSING", None, {})])
    await until_heard(client, 3)
    assert client.heard[-1]["event"] == "PASSING"


async def test_after_a_new_subscription_everybody_is_told_to_read_once_more(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.3)
    subscribed(opened, client)
    await opened.subscription.layer.flush()
    await until_live(client)


async def test_who_is_held_too_long_is_dropped_and_everybody_told(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MAX_BUFFERED", 0)
    subscribed(opened, client)
    opened.dispatch(batch(opened.position + 1, None))
    await until_live(client)


async def test_the_log_is_looked_at_while_redis_hangs(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.3)
    monkeypatch.setattr(hub, "SUBSCRIBE_SECONDS", 0.3)
    subscribed(opened, client)
    pid = (await sync_to_async(redis.client().info)("server"))["process_id"]
    with stopped(pid):
        await asyncio.sleep(1)  # into whatever waits for Redis
        lost = await happens_unheard(monkeypatch)
        await until_heard(client, 1)
    redis.client.cache_clear()  # and with it what it remembers of a Redis that hung
    assert client.seqs == lost


async def beats_come_to(client: Client) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "HEARTBEAT" not in [message["event"] for message in client.heard]:
            await sync_to_async(bus.publish_beats)([bus.envelope("HEARTBEAT", uuid4(), {})])
            await asyncio.sleep(0.05)


async def test_a_socket_that_is_still_opening_keeps_its_wish_for_beats(opened: Hub, client: Client) -> None:
    listener = listening(client, CANVASES, BEATS)
    opened.add(listener)
    await opened.sync_subscription()
    await opened.sync_subscription()
    opened.subscribe(listener)
    assert opened.subscription.groups == {bus.EVENTS_GROUP, bus.BEATS_GROUP}
    await beats_come_to(client)
    opened.remove(listener)
    await opened.sync_subscription()
    assert opened.subscription.groups == {bus.EVENTS_GROUP}


async def test_a_wish_for_beats_while_the_subscription_is_made_anew(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the very middle of it."""
    subscription = opened.subscription
    tuning: list[asyncio.Task[None]] = []
    group_add = subscription.layer.group_add

    async def add(*arguments: str) -> None:
        if not tuning:
            subscribed(opened, client, CANVASES, BEATS)
            tuning.append(asyncio.create_task(opened.sync_subscription()))
            await asyncio.sleep(0.1)
        await group_add(*arguments)

    monkeypatch.setattr(subscription.layer, "group_add", add)
    opened.tasks[0].cancel()
    await subscription.renew()
    await asyncio.gather(*tuning)
    opened.tasks[0] = opened._task(opened._listen)
    await beats_come_to(client)


async def test_a_dropped_channel_layer_is_joined_again(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for what no log has: without a new subscription it would never come."""
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.5)
    subscribed(opened, client)
    await opened.subscription.layer.flush()
    lost = await happens()
    await until_heard(client, 1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while None not in client.seqs:
            await sync_to_async(bus.publish)([bus.envelope("PASSING", None, {})])
    assert client.seqs[0] == lost[0]


async def test_a_revoked_credential_hears_what_came_before_and_then_goes(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    principal = Principal(kind=Kind.OPERATOR, token_id=uuid4())
    subscribed(opened, client, principal=principal)
    stays = Client()
    subscribed(opened, stays, principal=Principal(kind=Kind.OPERATOR, token_id=uuid4()))
    lost = await happens_unheard(monkeypatch)
    await sync_to_async(bus.close_streams)([str(principal.token_id)])
    async with asyncio.timeout(PATIENCE_SECONDS):
        while client.code is None:
            await asyncio.sleep(0.01)
    assert (client.seqs, client.code, stays.code) == (lost, NOT_ALLOWED, None)


async def test_a_hub_that_broke_begins_anew(opened: Hub, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    broken = Client()
    subscribed(opened, broken)
    assert isinstance(opened.audience, Nobody)
    opened.audience.breaks = True
    await happens()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while broken.code is None:
            await asyncio.sleep(0.01)
    opened.audience.breaks = False
    await opened.start()
    subscribed(opened, client)
    seqs = await happens()
    await until_heard(client, 1)
    assert (client.seqs, broken.code) == (seqs, TRY_AGAIN)
