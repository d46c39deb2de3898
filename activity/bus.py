"""The way out to sockets: what committed is published once, encoded once.

The only module that touches the channel layer. Redis being away loses no fact: clients resume from the log.
"""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict
from uuid import UUID

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from redis.exceptions import RedisError

from activity import redis

log = logging.getLogger(__name__)

BROADCAST_CHANNEL = "events:broadcast"
CANVAS_GROUP = "canvas"
BEATS_GROUP = "beats"


class Envelope(TypedDict):
    """One message as every client sees it; `seq` is null for what is not persisted."""

    event: str
    workspace_id: str | None
    timestamp: str
    seq: int | None
    payload: dict[str, Any]


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encode(value: object) -> str:
    """Compact JSON; UUIDs and datetimes as strings."""
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
    """Call `post` once the transaction has committed. Redis being away undoes nothing and is logged:
    leases are in PostgreSQL, and streams read from the log what they missed."""

    def attempt() -> None:
        try:
            post(*arguments)
        except (RedisError, OSError) as error:
            log.warning("committed, but not posted to Redis (%s): %s", post.__name__, error)

    transaction.on_commit(attempt, robust=True)


def publish(envelopes: Sequence[Envelope], *, after: int | None = None) -> None:
    """Send envelopes to every canvas and to `events:broadcast`, as one channel-layer message.

    `after` is the position of the last persisted event before these: a stream that has not seen it knows
    that something was lost on the way and reads it from the log.
    """
    frames = [[e["seq"], encode(e)] for e in envelopes]
    with redis.client().pipeline(transaction=False) as pipe:
        for _seq, text in frames:
            pipe.publish(BROADCAST_CHANNEL, str(text))
        pipe.execute()
    _group_send(CANVAS_GROUP, {"type": "events", "after": after, "frames": frames})


def publish_beats(beats: Iterable[Envelope]) -> None:
    """Heartbeat ages, for sockets that asked for them (`/ws?beats=1`). Never on `events:broadcast`."""
    _group_send(BEATS_GROUP, {"type": "events", "after": None, "frames": [[None, encode(b)] for b in beats]})


def close_streams(credentials: Sequence[str]) -> None:
    """Close every socket that was opened with one of these credentials."""
    for credential in credentials:
        _group_send(credential_group(credential), {"type": "revoked"})


def credential_group(credential: str) -> str:
    return f"credential.{credential}"


def _group_send(group: str, message: dict[str, Any]) -> None:
    async_to_sync(get_channel_layer().group_send)(group, message)
