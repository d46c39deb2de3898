"""The way out to sockets: what committed is published once, encoded once.

The only module that touches the channel layer. Redis being away loses no fact: clients resume from the log.
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

from activity import redis

log = logging.getLogger(__name__)

BROADCAST_CHANNEL = "events:broadcast"
EVENTS_GROUP = "events"
BEATS_GROUP = "beats"
# Where the channel layer of channels_redis publishes for those groups. Its own group_send() would go from the thread
# that has committed to the event loop and back, over a client without a timeout.
EVENTS_CHANNEL = f"asgi__group__{EVENTS_GROUP}"
BEATS_CHANNEL = f"asgi__group__{BEATS_GROUP}"
# KEYS: the channels of texts and of hubs. ARGV: the hubs' message, then one text each.
PUBLISH_ALL = """
for n = 2, #ARGV do redis.call('PUBLISH', KEYS[1], ARGV[n]) end
redis.call('PUBLISH', KEYS[2], ARGV[1])
"""
# Redis drops a subscriber for whom more than 32 MiB wait (client-output-buffer-limit): no message comes near that.
MAX_MESSAGE_BYTES = 1024 * 1024
LOST = Counter("molecule_bus_lost", "Posts to Redis that failed after their commit.", ["post"])
# What Redis or PostgreSQL being away looks like.
UNAVAILABLE_ERRORS = (RedisError, OSError, DatabaseError, PoolTimeout)


Part = TypeVar("Part")
RawFrame = tuple[int | None, str, str | None, str]
"""Position, event, workspace, and the whole envelope as text."""


class Envelope(TypedDict):
    """One message as every client sees it; `seq` is null for what is not persisted."""

    event: str
    workspace_id: str | None
    timestamp: str
    seq: int | None
    payload: dict[str, Any]


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def encode(value: object) -> str:
    """Compact JSON; UUIDs and datetimes as strings."""
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
    except orjson.JSONEncodeError:
        # Integers beyond 64 bits, of what agents say of themselves.
        return json.dumps(value, cls=DjangoJSONEncoder, separators=(",", ":"), ensure_ascii=False)


def envelope(
    event: str,
    workspace_id: UUID | None,
    payload: dict[str, Any],
    *,
    seq: int | None = None,
    at: datetime | None = None,
) -> Envelope:
    return {
        "event": event,
        "workspace_id": None if workspace_id is None else str(workspace_id),
        "timestamp": rfc3339(at or datetime.now(UTC)),
        "seq": seq,
        "payload": payload,
    }


def after_commit(post: Callable[..., None], *arguments: Any) -> None:
    """Call `post` once the transaction has committed. Redis being away undoes nothing; it is logged and counted:
    leases are in PostgreSQL, and streams read from the log what they missed."""

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
    """Send envelopes to the hub of every process and to `events:broadcast`, as one message to the hubs if it is small.

    `after` is the position of the last persisted event before these: a hub that has not seen it knows that
    something was lost on the way and reads it from the log. What is not persisted comes after all that has
    committed by now, so that nobody hears it by a hierarchy that is no more.
    """
    frames = [(e["seq"], e["event"], e["workspace_id"], encode(e)) for e in envelopes]
    _publish_frames(frames, latest_seq() if after is None else after)


def _publish_frames(frames: list[RawFrame], after: int) -> int:
    """In portions, each after the one before. Returns the position that they lead to."""
    message = _serialize({"type": "events", "after": after, "frames": frames})
    if _is_too_large(message, frames):
        for half in _halves(frames):
            after = _publish_frames(half, after)
        return after
    texts = [text for _seq, _event, _workspace_id, text in frames]
    redis.client().eval(PUBLISH_ALL, 2, BROADCAST_CHANNEL, EVENTS_CHANNEL, message, *texts)
    return max((seq for seq, *_ in frames if seq is not None), default=after)


def publish_beats(beats: Iterable[Envelope]) -> None:
    """Heartbeats, for sockets that asked for them (`/ws?beats=1`): plain values, which a hub encodes. Made only if
    some process has such a socket: thousands come each second. Never on `events:broadcast`."""
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
    """Close every socket that was opened with one of these credentials."""
    if credentials:
        redis.client().publish(EVENTS_CHANNEL, _serialize({"type": "revoked", "credentials": list(credentials)}))


def _serialize(message: dict[str, Any]) -> bytes:
    """As the channel layer of a hub reads it."""
    packed: bytes = get_channel_layer().serialize(message)
    return packed


def _is_too_large(message: bytes, parts: Sequence[object]) -> bool:
    return len(message) > MAX_MESSAGE_BYTES and len(parts) > 1


def _halves(parts: list[Part]) -> tuple[list[Part], list[Part]]:
    middle = len(parts) // 2
    return parts[:middle], parts[middle:]


class Subscription:
    """The one place of an event loop on the channel layer, whose connection it has for itself.

    `connection` grows each time that connection is made anew, by us or by redis-py when it broke: what was published
    meanwhile is lost. It hears again when call() of the same number comes back.
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
        """Something came since the last call()."""
        return bool(self.channel) and self.received_at >= self.pinged_at

    async def renew(self) -> None:
        """Subscribe on a new connection, whatever became of the old one."""
        async with self.lock:
            self.channel = ""
            await self.layer.flush()
            channel = await self.layer.new_channel()
            self._connected()
            for shard in self.layer._shards:
                shard._pubsub.connection.register_connect_callback(self._connected)
            for group in self.groups:
                await self.layer.group_add(group, channel)
            self.channel = channel

    async def sync(self, wanted: set[str]) -> None:
        """Hear these groups besides EVENTS_GROUP, and no others; without a subscription the next one will."""
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
        message: dict[str, Any] = await self.layer.receive(self.channel)
        self.received_at = time.monotonic()
        return message

    async def ping(self) -> None:
        """Say something that every subscription hears, this one as well unless it is dead."""
        self.pinged_at = time.monotonic()
        echo = {"type": "echo", "channel": self.channel, "connection": self.connection}
        await self.layer.group_send(EVENTS_GROUP, echo)

    def echoed_connection(self, message: dict[str, Any]) -> int | None:
        """The connection that an echo of ours came over; None for those of others."""
        return message["connection"] if message.get("channel") == self.channel else None

    def _connected(self, *_: object) -> None:
        self.connection += 1
