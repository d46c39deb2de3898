"""EventStream: subscribe, replay since a position, go live. No gap, no repeat."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError
from redis.exceptions import RedisError

from activity import bus
from activity.events import envelope_of, latest_seq
from activity.models import StructureEvent
from activity.principals import Principal

MALFORMED = 4400
NO_CREDENTIAL = 4401
NOT_ALLOWED = 4403
TOO_LARGE = 4413
TOO_MANY = 4429
TRY_AGAIN = 1013

MAX_MESSAGE_BYTES = 64 * 1024
MAX_MESSAGES = 100
WINDOW_SECONDS = 10.0
RECHECK_SECONDS = 5.0
BACKLOG_PAGE = 500
MAX_SEQ = 2**63 - 1


class Refused(Exception):
    """The socket is not served; `code` is the close code that says why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class EventStream(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Sends every envelope of the groups that `admit()` names.

    `position` is the last `seq` sent. A batch that starts after a later position than ours tells us that
    something was lost between Redis and here, and the log fills the gap.
    """

    position = 0
    joined: Sequence[str] = ()
    watch: asyncio.Task[None] | None = None
    window = 0.0
    received = 0

    async def identify(self) -> Principal:
        """Who is asking; asked again every RECHECK_SECONDS. Raises Refused."""
        raise NotImplementedError

    def audience(self, principal: Principal) -> list[str]:
        """What they hear."""
        raise NotImplementedError

    async def connect(self) -> None:
        await self.accept()
        try:
            principal = await self.identify()
            self.joined = self.audience(principal)
            if principal.token_id is not None:
                self.joined.append(bus.credential_group(str(principal.token_id)))
            since = self._since()
            self.position = await database_sync_to_async(latest_seq)() if since is None else since
            for group in self.joined:
                await self.channel_layer.group_add(group, self.channel_name)
        except Refused as refusal:
            await self.close(refusal.code)
            return
        except RedisError:
            await self.close(TRY_AGAIN)
            return
        await self._catch_up()
        if since is not None:
            await self.send(bus.encode({"event": "STREAM_LIVE", "seq": self.position}))
        self.watch = asyncio.create_task(self._recheck(), name="recheck of a stream's credential")

    async def disconnect(self, code: int) -> None:
        if self.watch is not None:
            self.watch.cancel()
        for group in self.joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if len(text_data or bytes_data or "") > MAX_MESSAGE_BYTES:
            await self.close(TOO_LARGE)
            return
        if self._talks_too_much():
            await self.close(TOO_MANY)
            return
        try:
            message = json.loads(text_data or "")
        except ValueError:
            message = None
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "ping":
            await self.send('{"type":"pong"}')
        else:
            await self._complain('unknown message: send {"type":"ping"}')

    async def revoked(self, message: dict[str, Any]) -> None:
        """The credential that opened this socket is good no more."""
        await self.close(NOT_ALLOWED)

    async def events(self, message: dict[str, Any]) -> None:
        """A batch from the bus."""
        if message["after"] is not None and message["after"] > self.position:
            await self._catch_up()
        for seq, frame in message["frames"]:
            if seq is None or seq > self.position:
                await self.send(frame)
                self.position = seq or self.position

    async def _catch_up(self) -> None:
        while page := await database_sync_to_async(_backlog)(self.position):
            for seq, frame in page:
                await self.send(frame)
                self.position = seq

    async def _recheck(self) -> None:
        """Revocations close sockets at once; this sees what nobody announces: a logout, an account switched off."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            try:
                await self.identify()
            except Refused:
                await self.close(NOT_ALLOWED)
            except DatabaseError:
                continue

    def _talks_too_much(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self.window > WINDOW_SECONDS:
            self.window, self.received = now, 0
        self.received += 1
        return self.received > MAX_MESSAGES

    async def _complain(self, error: str) -> None:
        await self.send(bus.encode({"type": "error", "error": error, "code": "invalid"}))

    def _since(self) -> int | None:
        value = self.query("since")
        if value is None:
            return None
        if not value.isascii() or not value.isdigit() or int(value) > MAX_SEQ:
            raise Refused(MALFORMED)
        return int(value)

    def query(self, name: str) -> str | None:
        """One query parameter of the socket's URL."""
        values = parse_qs(self.scope["query_string"].decode("latin-1")).get(name)
        return values[0] if values else None


def _backlog(position: int) -> list[tuple[int, str]]:
    events = StructureEvent.objects.filter(seq__gt=position).order_by("seq")[:BACKLOG_PAGE]
    return [(event.seq, bus.encode(envelope_of(event))) for event in events]
