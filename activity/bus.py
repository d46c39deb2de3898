"""The event bus: publishes committed events to the hubs of all processes and to `events:broadcast`.

The only module that uses the channel layer. An outage of Redis loses no event: clients resume from the log.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict, TypeVar
from uuid import UUID

import orjson
from channels.layers import get_channel_layer
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, connection, transaction
from prometheus_client import Counter
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from activity import clock, redis

log = logging.getLogger(__name__)

BROADCAST_CHANNEL = "events:broadcast"
EVENTS_GROUP = "events"
BEATS_GROUP = "beats"
# The Redis channels of these groups in channels_redis. We publish there directly: its group_send() would go from the
# committing thread to the event loop and back, over a client without a timeout.
EVENTS_CHANNEL = f"asgi__group__{EVENTS_GROUP}"
BEATS_CHANNEL = f"asgi__group__{BEATS_GROUP}"
# KEYS: the channels of the broadcast and of the hubs. ARGV: the message for the hubs, then one text per event.
PUBLISH_ALL = """
for n = 2, #ARGV do redis.call('PUBLISH', KEYS[1], ARGV[n]) end
redis.call('PUBLISH', KEYS[2], ARGV[1])
"""
# Redis disconnects a subscriber whose output buffer exceeds 32 MiB (client-output-buffer-limit): stay far below.
MAX_MESSAGE_BYTES = 1024 * 1024
FLUSH_SECONDS = 2
LOST = Counter("molecule_bus_lost", "Posts to Redis that failed after the commit.", ["post"])
# Raised while Redis or PostgreSQL is unavailable.
UNAVAILABLE_ERRORS = (RedisError, OSError, DatabaseError, PoolTimeout)


Part = TypeVar("Part")
RawFrame = tuple[int | None, str, str | None, str, str | None]
"""Position, event, workspace id, the envelope as JSON, and the event's id."""


class Envelope(TypedDict):
    """One message as clients receive it; `seq` and `id` are null for transient messages, which are not in the log."""

    event: str
    workspace_id: str | None
    timestamp: str
    seq: int | None
    id: str | None
    payload: dict[str, Any] | orjson.Fragment


def rfc3339(moment: datetime) -> str:
    """UTC with microseconds, such as 2026-01-31T12:00:00.000000Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def encode(value: object) -> str:
    """Compact JSON; UUIDs and datetimes as strings."""
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
    except orjson.JSONEncodeError:
        # Integers beyond 64 bits, in agent cards.
        return json.dumps(value, cls=DjangoJSONEncoder, separators=(",", ":"), ensure_ascii=False)


def envelope(
    event: str,
    workspace_id: UUID | None,
    payload: dict[str, Any] | orjson.Fragment,
    *,
    seq: int | None = None,
    id: UUID | None = None,
    at: datetime | None = None,
) -> Envelope:
    """The message of an event; `at` defaults to now."""
    return {
        "event": event,
        "workspace_id": None if workspace_id is None else str(workspace_id),
        "timestamp": rfc3339(at or clock.now()),
        "seq": seq,
        "id": None if id is None else str(id),
        "payload": payload,
    }


def after_commit(post: Callable[..., None], *arguments: Any) -> None:
    """Call `post` once the transaction has committed. An outage of Redis is logged and counted, not raised: leases
    are in PostgreSQL, and streams read from the log what they missed."""

    def attempt() -> None:
        try:
            post(*arguments)
        except UNAVAILABLE_ERRORS as error:
            LOST.labels(post.__name__).inc()
            log.warning("committed, but not posted to Redis (%s): %s", post.__name__, error)

    transaction.on_commit(attempt, robust=True)


def latest_seq() -> int:
    """The position of the newest committed event, 0 when there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(seq), 0) FROM structure_events")
        seq: int = cursor.fetchone()[0]
    return seq


def publish(envelopes: Sequence[Envelope], *, after: int | None = None) -> None:
    """Send envelopes to the hub of every process and to `events:broadcast`. Raises RedisError or OSError.

    `after` is the position of the last persisted event before these: a hub that has not seen it reads the missing
    events from the log. It defaults to the newest committed event, for transient messages: hubs then decide who
    receives them by a hierarchy that is at least as new as the message.
    """
    frames = [(e["seq"], e["event"], e["workspace_id"], encode(e), e["id"]) for e in envelopes]
    _publish_frames(frames, latest_seq() if after is None else after)


def _publish_frames(frames: list[RawFrame], after: int) -> int:
    """Split what is too large for one message. Returns the position after these frames."""
    # The ids are a separate list: hubs of the previous release, during a rolling update, expect frames of four values.
    ids = [id for *_, id in frames]
    message = _serialize({"type": "events", "after": after, "frames": [frame[:4] for frame in frames], "ids": ids})
    if _is_too_large(message, frames):
        for half in _halves(frames):
            after = _publish_frames(half, after)
        return after
    texts = [text for _seq, _event, _workspace_id, text, _id in frames]
    redis.client().eval(PUBLISH_ALL, 2, BROADCAST_CHANNEL, EVENTS_CHANNEL, message, *texts)
    return max((seq for seq, *_ in frames if seq is not None), default=after)


def publish_beats(beats: Iterable[Envelope]) -> None:
    """Send heartbeats to sockets that asked for them (`/ws?beats=1`), never to `events:broadcast`.

    The iterable is consumed only if some process has such a socket, as thousands come each second; the hub encodes.
    """
    [(_channel, listening)] = redis.client().pubsub_numsub(BEATS_CHANNEL)
    if listening:
        _publish_beats(list(beats))


def _publish_beats(beats: list[Envelope]) -> None:
    message = _serialize({"type": "beats", "beats": beats})
    if _is_too_large(message, beats):
        for half in _halves(beats):
            _publish_beats(half)
    else:
        redis.client().publish(BEATS_CHANNEL, message)


def close_streams(credentials: Sequence[str]) -> None:
    """Close every socket that was opened with one of these credentials (token ids)."""
    if credentials:
        redis.client().publish(EVENTS_CHANNEL, _serialize({"type": "revoked", "credentials": list(credentials)}))


def announce_rebuild() -> None:
    """Make every hub check at once whether the tables were repaired. Without this they notice at the next poll."""
    redis.client().publish(EVENTS_CHANNEL, _serialize({"type": "rebuilt"}))


def _serialize(message: dict[str, Any]) -> bytes:
    """The bytes that the channel layer of a hub reads."""
    packed: bytes = get_channel_layer().serialize(message)
    return packed


def _is_too_large(message: bytes, parts: Sequence[object]) -> bool:
    return len(message) > MAX_MESSAGE_BYTES and len(parts) > 1


def _halves(parts: list[Part]) -> tuple[list[Part], list[Part]]:
    middle = len(parts) // 2
    return parts[:middle], parts[middle:]


class Subscription:
    """The subscription of an event loop to the channel layer, on a connection of its own.

    `connection` counts the connections, made by renew() or by redis-py after one broke: what was published in between
    is lost. A ping that comes back with the current number proves that this connection receives.
    """

    def __init__(self) -> None:
        self.layer = get_channel_layer()
        self.channel = ""
        self.groups: set[str] = {EVENTS_GROUP}
        self.lock = asyncio.Lock()
        self.connection = 0
        self.pinged_at = self.received_at = 0.0

    @property
    def is_alive(self) -> bool:
        """Whether a message arrived since the last ping()."""
        return bool(self.channel) and self.received_at >= self.pinged_at

    async def renew(self) -> None:
        """Close the connection, if there is one, and subscribe on a new one. Raises RedisError or OSError."""
        async with self.lock:
            await self._flush()
            channel = await self.layer.new_channel()
            self._connected()
            for shard in self.layer._shards:
                shard._pubsub.connection.register_connect_callback(self._connected)
            for group in self.groups:
                await self.layer.group_add(group, channel)
                _raise_if_cancelled()
            self.channel = channel

    async def leave(self) -> None:
        """Unsubscribe and forget what was not read. Raises RedisError or OSError."""
        async with self.lock:
            await self._flush()

    async def sync(self, wanted: set[str]) -> None:
        """Be in EVENTS_GROUP and the wanted groups only. Without a connection, the next renew() joins them."""
        async with self.lock:
            for group in wanted - self.groups:
                if self.channel:
                    await self.layer.group_add(group, self.channel)
                self.groups.add(group)
            for group in self.groups - wanted - {EVENTS_GROUP}:
                if self.channel:
                    await self.layer.group_discard(group, self.channel)
                self.groups.remove(group)

    async def receive(self) -> dict[str, Any]:
        """Wait for the next message."""
        message: dict[str, Any] = await self.layer.receive(self.channel)
        self.received_at = time.monotonic()
        return message

    async def ping(self) -> None:
        """Send an echo message to all subscriptions; this one receives it unless it is dead."""
        self.pinged_at = time.monotonic()
        echo = {"type": "echo", "channel": self.channel, "connection": self.connection}
        await self.layer.group_send(EVENTS_GROUP, echo)
        _raise_if_cancelled()

    def echoed_connection(self, message: dict[str, Any]) -> int | None:
        """The connection number in an echo of our own ping; None for echoes of others."""
        return message["connection"] if message.get("channel") == self.channel else None

    async def _flush(self) -> None:
        """A receiver that swallowed its cancellation, as may happen under load, is cancelled again by the timeout."""
        self.channel = ""
        async with asyncio.timeout(FLUSH_SECONDS):
            await self.layer.flush()
        _raise_if_cancelled()

    def _connected(self, *_: object) -> None:
        self.connection += 1


def _raise_if_cancelled() -> None:
    """channels_redis and redis-py swallow a cancellation that comes while they clean up or connect."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
