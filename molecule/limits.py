"""Limits for request bodies, applied before anything is parsed: how large, and from whom.

A large body is read only from a known caller: one whose token is somebody's. An address that has shown too many
credentials that are not valid is refused unless the caller is known, so that good agents behind it do not suffer.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from django.conf import settings

from activity.group_commit import Overloaded, Unknown
from registry.api.serializers import MAX_BEATS
from registry.exceptions import DATABASE_UNAVAILABLE, RETRY_AFTER_SECONDS, TOO_MANY_REQUESTS, UNAVAILABLE_ERRORS
from registry.fast_path.application import replayed, respond
from registry.fast_path.callers import Callers
from registry.identity import authentication, rate_limits, tokens

REGISTRATIONS = ("/registry/register", "/registry/update-card")
BEAT = "/registry/heartbeat"
BATCH_OF_BEATS = "/registry/heartbeats"
AGENTS_ROUTES = (*REGISTRATIONS, BEAT, BATCH_OF_BEATS)
OF_WORKSPACES = re.compile(r"/workspaces/[^/]+/(activity|notify)")
TOKEN = re.compile(rb"mol_ws_[0-9a-f]{12}_[A-Za-z0-9-]{43}")


class Refused(Exception):
    """The response to a request that is not passed on. `wait`: seconds after which it may be sent again."""

    def __init__(self, status: int, error: str, *, wait: int | None = None, challenge: bool = False) -> None:
        super().__init__(error)
        self.status = status
        self.content = orjson.dumps({"error": error} | ({"retry_after": wait} if status == 429 else {}))
        self.headers = {"retry-after": str(wait)} if wait else {}
        if challenge:
            self.headers["www-authenticate"] = "Bearer"

    async def send(self, send: ASGISendCallable) -> None:
        """Send the response. The connection is closed: what is left of the body is not read."""
        given = {
            "content-type": "application/json",
            "content-length": str(len(self.content)),
            "connection": "close",
            "x-content-type-options": "nosniff",
        }
        headers = [(name.encode(), value.encode()) for name, value in (given | self.headers).items()]
        await respond(send, self.status, headers, self.content)


@dataclass(slots=True)
class Arrival:
    """What a request shows before its body. `path` is empty unless it is a POST; `length` is what it declares."""

    path: str
    address: str
    authorization: bytes | None
    cookie: bytes
    length: int

    @classmethod
    def of(cls, scope: Any) -> "Arrival":
        headers = dict(reversed(scope["headers"]))
        return cls(
            path=scope["path"] if scope["method"] == "POST" else "",
            address=authentication.client_address(scope, headers),
            authorization=headers.get(b"authorization"),
            cookie=headers.get(b"cookie", b""),
            length=int(headers.get(b"content-length", 0)),
        )

    @property
    def has_session(self) -> bool:
        """Does it look as if it came from a browser that has logged in?"""
        return settings.SESSION_COOKIE_NAME.encode() in self.cookie

    @property
    def has_own_tokens(self) -> bool:
        """Are the tokens in the body?"""
        return self.path == BATCH_OF_BEATS

    @property
    def is_of_page(self) -> bool:
        """Is it from a page, or for one, or an enrolment that is open? Django finds out who asks."""
        if self.authorization is not None or self.has_own_tokens:
            return False
        if self.path == REGISTRATIONS[0] and settings.MOLECULE_ENROLMENT == "open":
            return True
        return self.has_session or not (self.path in AGENTS_ROUTES or OF_WORKSPACES.fullmatch(self.path))

    @property
    def may_be_large(self) -> bool:
        """May its body be large, whoever sends it?"""
        return self.is_of_page and (self.has_session or self.path == REGISTRATIONS[0])

    @property
    def most(self) -> int:
        """The largest body that the route takes, in bytes."""
        most: int = settings.MAX_BODY_BYTES
        if self.path == BEAT:
            most = min(most, settings.MAX_HEARTBEAT_BYTES)
        if self.path in REGISTRATIONS:
            most = min(most, settings.MAX_REGISTRATION_BYTES)
        return most


@dataclass(slots=True)
class Body:
    """A request's body while it is read. `more`: there is more to read; `is_aborted`: the client has hung up."""

    receive: ASGIReceiveCallable
    content: bytes = b""
    more: bool = True
    is_aborted: bool = False

    async def read_on(self) -> None:
        """Read the next part."""
        message: Any = await self.receive()
        self.is_aborted = message["type"] == "http.disconnect"
        self.more = message.get("more_body", False)
        self.content += message.get("body", b"")

    async def discard(self) -> None:
        """Read on and keep nothing, so that a client that is still sending gets the response and not a reset."""
        left = settings.MAX_BODY_BYTES
        while self.more and left > 0:
            self.content = b""
            await self.read_on()
            left -= len(self.content)


class BoundedBody:
    """ASGI middleware: the application gets a complete body and its Content-Length, also when it was sent in chunks."""

    def __init__(self, application: Any, callers: Callers) -> None:
        self.application = application
        self.callers = callers

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        arrival, body = Arrival.of(scope), Body(receive)
        try:
            await self._read(arrival, body)
        except Refused as refused:
            await body.discard()
            await refused.send(send)
            return
        if not body.is_aborted:
            if body.content and not arrival.length:
                scope = _with_length(scope, len(body.content))
            await self.application(scope, replayed(body.content, receive), send)

    async def _read(self, arrival: Arrival, body: Body) -> None:
        """Read the body to its end, or until the client hangs up. Raises Refused."""
        most, most_of_stranger = arrival.most, settings.MAX_STRANGER_BODY_BYTES
        is_over = rate_limits.STRANGERS.is_over(arrival.address) and not arrival.is_of_page
        expected = 0 if arrival.has_own_tokens else arrival.length
        is_known = False
        while True:
            if arrival.length > most or len(body.content) > most:
                raise Refused(413, "body too large")
            is_large = expected > most_of_stranger or len(body.content) > most_of_stranger
            is_due = is_over and not (arrival.has_own_tokens and body.more)
            if not is_known and (is_due or (is_large and not arrival.may_be_large)):
                await self._require_known(arrival, body.content, is_over=is_over)
                is_known = True
            if not body.more:
                return
            await body.read_on()

    async def _require_known(self, arrival: Arrival, body: bytes, *, is_over: bool) -> None:
        """Raises Refused unless the caller is known, as everybody is in open mode. `body` is what was read of it."""
        try:
            if settings.MOLECULE_OPEN or await self._is_known(arrival, body):
                return
        except Overloaded:
            raise Refused(503, TOO_MANY_REQUESTS, wait=RETRY_AFTER_SECONDS) from None
        except (Unknown, *UNAVAILABLE_ERRORS):
            raise Refused(503, DATABASE_UNAVAILABLE, wait=RETRY_AFTER_SECONDS) from None
        if is_over:
            raise Refused(429, "too many requests without a valid credential", wait=rate_limits.retry_after())
        await sync_to_async(rate_limits.STRANGERS.add, thread_sensitive=False)(arrival.address)
        if arrival.has_own_tokens:
            most = settings.MAX_STRANGER_BODY_BYTES
            raise Refused(413, f"body too large: over {most} bytes one of the first tokens must be valid")
        words = "authentication required" if arrival.authorization is None else "invalid token"
        raise Refused(401, words, challenge=True)

    async def _is_known(self, arrival: Arrival, body: bytes) -> bool:
        if arrival.has_own_tokens:
            texts = [found.decode() for found in TOKEN.findall(body)[:MAX_BEATS]]
        else:
            scheme, _, text = (arrival.authorization or b"").decode("latin-1").split(",")[0].strip().partition(" ")
            texts = [text.strip()] if scheme.lower() == "bearer" else []
        if any(map(tokens.is_metrics_token, texts)):
            return True
        presented = {shown for text in texts if (shown := tokens.presented_token(text, tokens.TYPES))}
        return bool(presented) and await self.callers.knows_any(presented)


def _with_length(scope: Any, length: int) -> Any:
    """Adds Content-Length, which the client did not send."""
    others = [header for header in scope["headers"] if header[0] not in (b"transfer-encoding", b"content-length")]
    return {**scope, "headers": [*others, (b"content-length", str(length).encode())]}
