"""The hub delivers in the order of the log, whatever the bus loses, repeats or reorders."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Sequence
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
from activity.outbox import NOT_ALLOWED, START_OVER, TRY_AGAIN, Frame
from activity.principals import Kind, Principal
from tests.activity.sockets import Client, listening
from tests.e2e.stack import stopped

TIMEOUT_SECONDS = 10
OWN = str(uuid4())


class NoAgents:
    """An audience without agents, which starts at the end of the log."""

    def __init__(self) -> None:
        self.breaks = False

    def load(self) -> tuple[int, str | None]:
        newest = StructureEvent.objects.order_by("-seq").first()
        return (newest.seq, str(newest.id)) if newest else (0, None)

    def fold(self, frame: Frame) -> bool:
        if self.breaks:
            raise ValueError("cannot follow")
        return False

    def groups_for(self, frame: Frame) -> tuple[str, ...]:
        return ()

    def load_removed(self, workspace_ids: Iterable[str]) -> None:
        pass

    def groups_of(self, member: str) -> tuple[str, ...] | None:
        return ()

    def backlog(self, events: QuerySet[StructureEvent], member: str) -> QuerySet[StructureEvent]:
        return events

    def unauthorized(self, listeners: Sequence[Listener]) -> list[Listener]:
        return []


@pytest.fixture
async def at_five() -> Hub:
    return Hub(NoAgents(), position=5)


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


async def test_nothing_is_delivered_twice(at_five: Hub, client: Client) -> None:
    subscribed(at_five, client)
    for message in (batch(4, 5, 6), batch(5, 6), batch(6, None), batch(6, 7)):
        at_five.dispatch(message)
    at_five.flush()
    assert (client.seqs, at_five.position) == ([6, None, 7], 7)


async def test_batches_are_put_in_order(at_five: Hub, client: Client) -> None:
    """Of two processes that commit, the later may publish first; that needs no poll of the log."""
    subscribed(at_five, client)
    for message in (batch(8, 9), batch(6, 7, 8), batch(8, None), batch(5, 6)):
        at_five.dispatch(message)
    at_five.flush()
    assert client.seqs == [6, 7, 8, 9, None]
    assert at_five.buffered == []


async def test_transient_messages_wait_for_the_events_before_them(at_five: Hub, client: Client) -> None:
    subscribed(at_five, client)
    at_five.dispatch(batch(6, None))
    at_five.flush()
    assert client.seqs == []
    at_five.dispatch(batch(5, 6))
    at_five.flush()
    assert client.seqs == [6, None]


async def test_a_subscriber_receives_nothing_from_before(at_five: Hub, client: Client) -> None:
    at_five.dispatch(batch(5, 6))
    subscribed(at_five, client)
    at_five.dispatch(batch(6, 7))
    at_five.flush()
    assert client.seqs == [7]


async def test_a_listener_in_two_groups_receives_a_message_once(
    at_five: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_five.audience, "groups_of", lambda member: ("parent", "own"))
    monkeypatch.setattr(at_five.audience, "groups_for", lambda frame: ("own", "parent"))
    subscribed(at_five, client, member=OWN)
    at_five.dispatch(batch(5, 6, None))
    at_five.flush()
    assert client.seqs == [6, None]


async def test_removed_listeners_leave_nothing_behind(at_five: Hub, client: Client) -> None:
    at_five.remove(subscribed(at_five, client, member=OWN))
    assert (at_five.listeners, at_five.groups, at_five.members) == (set(), {}, {})


async def test_heartbeats_are_encoded_only_if_a_socket_wants_them(
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


async def test_after_an_internal_error_all_sockets_are_closed(
    at_five: Hub, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    subscribed(at_five, client)
    assert isinstance(at_five.audience, NoAgents)
    at_five.audience.breaks = True
    at_five.dispatch(batch(5, 6))
    at_five.flush()
    assert client.code == TRY_AGAIN
    assert "hub restarts" in caplog.text


# --- With PostgreSQL and Redis ------------------------------------------------------------------------------------


@pytest.fixture
async def opened(transactional_db: None) -> AsyncIterator[Hub]:
    made = Hub(NoAgents())
    await made.start()
    yield made
    await close(made)


async def close(made: Hub) -> None:
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    await made.subscription.leave()
    await sync_to_async(connections.close_all)()


async def drop_subscription(made: Hub) -> None:
    """As Redis does; the hub is not told."""
    async with asyncio.timeout(bus.FLUSH_SECONDS):
        await made.subscription.layer.flush()


async def until_heard(client: Client, count: int) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(client.texts) < count:
            await asyncio.sleep(0.01)


async def until_redis_knows_of_it() -> None:
    """Of the subscription to heartbeats: Redis answers on another connection when it likes."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not (await sync_to_async(redis.client().pubsub_numsub)(bus.BEATS_CHANNEL))[0][1]:
            await asyncio.sleep(0.01)


async def record_events(count: int = 1) -> list[int]:
    """Record and publish events. Returns their positions."""

    def write() -> list[int]:
        new = [NewEvent(event_type=EventType.WORKSPACE_OFFLINE, workspace_id=uuid4()) for _ in range(count)]
        with transaction.atomic():
            return [row.seq for row in record(new, actor="test")]

    return await sync_to_async(write)()


async def record_unpublished(monkeypatch: pytest.MonkeyPatch, count: int = 1) -> list[int]:
    """Record events without publishing them, as after a crash between the two."""
    with monkeypatch.context() as lost:
        lost.setattr(bus, "publish", lambda *_, **__: None)
        return await record_events(count)


async def test_heartbeats_reach_sockets_that_asked_for_them(opened: Hub, client: Client) -> None:
    """Without such a socket they are not even built."""
    beats = [
        bus.envelope("HEARTBEAT", uuid4(), {"sample_error": "x" * size}) for size in (10, bus.MAX_MESSAGE_BYTES, 20)
    ]
    made: list[bus.Envelope] = []
    publish = sync_to_async(bus.publish_beats)
    await publish(made.append(beat) or beat for beat in beats)  # type: ignore[func-returns-value]
    assert made == []
    subscribed(opened, client, CANVASES, BEATS)
    await opened.subscription.sync({bus.BEATS_GROUP})
    await until_redis_knows_of_it()
    await publish(beats)
    await until_heard(client, 3)
    assert client.heard == beats


async def test_more_than_redis_buffers_for_a_subscriber_arrives_in_order(opened: Hub, client: Client) -> None:
    """As one message Redis would drop the subscription, and transient messages would be lost."""
    subscribed(opened, client)
    text = "x" * bus.MAX_MESSAGE_BYTES
    await sync_to_async(bus.publish)([bus.envelope("PASSING", None, {"n": n, "text": text}) for n in range(40)])
    await until_heard(client, 40)
    assert [message["payload"]["n"] for message in client.heard] == list(range(40))


@pytest.fixture
def no_regular_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is read only when something makes the hub read it."""
    monkeypatch.setattr(hub, "POLL_SECONDS", 10 * TIMEOUT_SECONDS)


@pytest.mark.usefixtures("no_regular_polls")
async def test_a_lost_batch_is_read_from_the_log_in_order(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed(opened, client)
    lost = await record_unpublished(monkeypatch, 3)
    after = await record_events(2)
    await until_heard(client, 5)
    assert client.seqs == lost + after


async def test_a_lost_batch_is_found_even_if_nothing_follows(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed(opened, client)
    lost = await record_unpublished(monkeypatch)
    await until_heard(client, 1)
    assert client.seqs == lost


async def test_the_log_is_read_page_by_page(opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PAGE", 3)
    subscribed(opened, client)
    lost = await record_unpublished(monkeypatch, 7)
    await opened.poll_log()
    opened.flush()
    assert client.seqs == lost


async def test_concurrent_polls_share_one_read(opened: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[object] = []
    read_page = hub.read_page
    monkeypatch.setattr(hub, "read_page", lambda events: reads.append(events) or read_page(events))  # type: ignore[func-returns-value]
    await asyncio.gather(*(opened.poll_log() for _ in range(20)))
    assert 1 <= len(reads) <= 2


async def test_a_failed_poll_fails_for_all_its_callers(opened: Hub) -> None:
    """Otherwise a socket would be refused because its position is ahead of the log."""
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
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while "STREAM_LIVE" not in [message["event"] for message in client.heard]:
            await asyncio.sleep(0.01)


async def test_after_a_broken_connection_all_clients_reload(opened: Hub, client: Client) -> None:
    """redis-py reconnects silently: what was published in between is lost."""
    member, opening = Client(), Client()
    subscribed(opened, client)
    subscribed(opened, member, member=OWN)
    opened.add(listening(opening, CANVASES))
    [position] = await record_events()
    await until_heard(client, 1)
    await sync_to_async(redis.client().execute_command)("CLIENT", "KILL", "TYPE", "pubsub")
    for one in (client, member):
        await until_live(one)
        assert one.heard[-1] == {"event": "STREAM_LIVE", "seq": position, "id": client.heard[0]["id"]}
    assert opening.texts == []
    await sync_to_async(bus.publish)([bus.envelope("PASSING", None, {})])
    await until_heard(client, 3)
    assert client.heard[-1]["event"] == "PASSING"


async def test_after_a_renewed_subscription_all_clients_reload(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.3)
    subscribed(opened, client)
    await drop_subscription(opened)
    await until_live(client)


async def test_when_the_reorder_buffer_is_full_all_clients_reload(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MAX_BUFFERED", 0)
    subscribed(opened, client)
    opened.dispatch(batch(opened.position + 1, None))
    await until_live(client)


async def test_the_log_is_polled_while_redis_hangs(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.3)
    monkeypatch.setattr(hub, "SUBSCRIBE_SECONDS", 0.3)
    subscribed(opened, client)
    pid = (await sync_to_async(redis.client().info)("server"))["process_id"]
    with stopped(pid):
        await asyncio.sleep(1)  # so that tasks are waiting for Redis
        lost = await record_unpublished(monkeypatch)
        await until_heard(client, 1)
    redis.client.cache_clear()  # and with it the open circuit breaker
    assert client.seqs == lost


async def receives_heartbeats(client: Client) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while "HEARTBEAT" not in [message["event"] for message in client.heard]:
            await sync_to_async(bus.publish_beats)([bus.envelope("HEARTBEAT", uuid4(), {})])
            await asyncio.sleep(0.05)


async def test_a_socket_that_is_still_opening_keeps_its_group_of_heartbeats(opened: Hub, client: Client) -> None:
    listener = listening(client, CANVASES, BEATS)
    opened.add(listener)
    await opened.sync_subscription()
    await opened.sync_subscription()
    opened.subscribe(listener)
    assert opened.subscription.groups == {bus.EVENTS_GROUP, bus.BEATS_GROUP}
    await receives_heartbeats(client)
    opened.remove(listener)
    await opened.sync_subscription()
    assert opened.subscription.groups == {bus.EVENTS_GROUP}


async def test_heartbeats_can_be_requested_during_a_renewal(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two of its steps."""
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
    await receives_heartbeats(client)


async def test_a_dropped_subscription_is_renewed(opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transient messages arrive again, which are not in the log."""
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.5)
    subscribed(opened, client)
    await drop_subscription(opened)
    lost = await record_events()
    await until_heard(client, 1)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while None not in client.seqs:
            await sync_to_async(bus.publish)([bus.envelope("PASSING", None, {})])
    assert client.seqs[0] == lost[0]


async def test_a_revoked_socket_gets_earlier_events_and_is_closed(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    principal = Principal(kind=Kind.OPERATOR, token_id=uuid4())
    subscribed(opened, client, principal=principal)
    stays = Client()
    subscribed(opened, stays, principal=Principal(kind=Kind.OPERATOR, token_id=uuid4()))
    lost = await record_unpublished(monkeypatch)
    await sync_to_async(bus.close_streams)([str(principal.token_id)])
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while client.code is None:
            await asyncio.sleep(0.01)
    assert (client.seqs, client.code, stays.code) == (lost, NOT_ALLOWED, None)


async def test_a_hub_restarts_after_an_internal_error(
    opened: Hub, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Client()
    subscribed(opened, broken)
    assert isinstance(opened.audience, NoAgents)
    opened.audience.breaks = True
    await record_events()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while broken.code is None:
            await asyncio.sleep(0.01)
    opened.audience.breaks = False
    await opened.start()
    subscribed(opened, client)
    seqs = await record_events()
    await until_heard(client, 1)
    assert (client.seqs, broken.code) == (seqs, TRY_AGAIN)


# --- Another log --------------------------------------------------------------------------------------------------


def cut(count: int) -> None:
    """Take the newest events away, as a failover does that lost them, or a restored backup."""
    execute("ALTER TABLE structure_events DISABLE TRIGGER USER")
    newest = StructureEvent.objects.order_by("-seq").values("seq")[:count]
    StructureEvent.objects.filter(seq__in=list(newest.values_list("seq", flat=True))).delete()
    execute("ALTER TABLE structure_events ENABLE TRIGGER USER")


def restored(count: int) -> None:
    """Other events are where the newest `count` were."""
    cut(count)
    execute("SELECT setval('structure_events_seq_seq', (SELECT max(seq) FROM structure_events))")


async def until_closed(client: Client) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while client.code is None:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("written_since", [0, 1, 3, 8], ids="{} since".format)
async def test_when_the_log_lost_events_all_sockets_start_over(
    opened: Hub, client: Client, monkeypatch: pytest.MonkeyPatch, written_since: int
) -> None:
    """Whether the new log is shorter, as long as the old one, or longer."""
    subscribed(opened, client)
    await record_events(5)
    await until_heard(client, 5)
    await sync_to_async(restored)(3)
    if written_since:
        await record_unpublished(monkeypatch, written_since)
    await until_closed(client)
    assert (client.code, len(client.seqs)) == (START_OVER, 5)
    await opened.start()
    again = Client()
    subscribed(opened, again)
    seqs = await record_events(2)
    await until_heard(again, 2)
    assert (again.seqs, again.code) == (seqs, None)


async def test_an_empty_log_and_events_without_an_id_are_no_other_log(opened: Hub, client: Client) -> None:
    """Processes of the previous release send none."""
    subscribed(opened, client)
    await opened.poll_log()
    opened.event_id = None
    [seq] = await record_events()
    opened.dispatch({"type": "events", "after": opened.position, "frames": [[seq, "EVENT", OWN, "{}"]]})
    await opened.poll_log()
    assert client.code is None


# --- Starting over ------------------------------------------------------------------------------------------------


def record_elsewhere() -> None:
    """Another process commits, which publishes nothing that this hub reads."""
    new = [NewEvent(event_type=EventType.WORKSPACE_OFFLINE, workspace_id=uuid4()) for _ in range(3)]
    with transaction.atomic():
        record(new, actor="test")
    connections.close_all()


class Moving(NoAgents):
    """An audience that knows the newest event that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = 0

    def load(self) -> tuple[int, str | None]:
        position, event_id = super().load()
        self.newest = position
        return position, event_id

    def fold(self, frame: Frame) -> bool:
        self.newest = frame.seq or self.newest
        return super().fold(frame)


async def test_a_read_that_was_in_flight_changes_nothing_after_starting_over(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Hub(Moving())
    await made.start()
    has_read, may_go_on = threading.Event(), threading.Event()
    read_page = hub.read_page

    def slowly(events: QuerySet[StructureEvent]) -> tuple[list[Frame], bool]:
        page = read_page(events)
        has_read.set()
        may_go_on.wait(TIMEOUT_SECONDS)
        return page

    try:
        await record_unpublished(monkeypatch, 2)
        monkeypatch.setattr(hub, "read_page", slowly)
        looking = asyncio.create_task(made.poll_log())
        await asyncio.to_thread(has_read.wait, TIMEOUT_SECONDS)
        monkeypatch.setattr(hub, "read_page", read_page)
        await asyncio.to_thread(record_elsewhere)
        made._restart(TRY_AGAIN)
        loading = asyncio.create_task(made.start())
        await asyncio.sleep(0.1)
        # What is read now waits to be written together with more, until after the load.
        monkeypatch.setattr(hub, "COALESCE_SECONDS", 10 * TIMEOUT_SECONDS)
        made.flushed_at = time.monotonic()
        may_go_on.set()
        with pytest.raises(hub.Restarted):
            await looking
        await loading
        made.flush()
        newest = await sync_to_async(bus.latest_seq)()
        assert isinstance(made.audience, Moving)
        assert (made.audience.newest, made.position) == (newest, newest)
    finally:
        may_go_on.set()
        await close(made)


async def queued(made: Hub) -> int:
    return sum(queue.qsize() for queue in made.subscription.layer.channels.values())


class Unloadable(NoAgents):
    def load(self) -> tuple[int, str | None]:
        raise DatabaseError("cannot load")


async def test_when_loading_fails_the_subscription_is_left(transactional_db: None) -> None:
    made = Hub(Unloadable())
    with pytest.raises(DatabaseError):
        await made.start()
    await record_events(20)
    await asyncio.sleep(0.2)
    assert (await queued(made), made.subscription.channel) == (0, "")
    await close(made)


async def test_after_an_internal_error_the_subscription_is_left(opened: Hub) -> None:
    opened._restart(TRY_AGAIN)
    assert opened.unsubscribing is not None
    await opened.unsubscribing
    await record_events(20)
    await asyncio.sleep(0.2)
    assert (await queued(opened), opened.subscription.channel) == (0, "")
