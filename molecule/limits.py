"""Limits for request bodies, applied before anything is parsed: how large, and from whom.

A large body is read only from a known caller (registry.identity.tokens.known), and few of the largest at a time. An
address that has sent too many invalid credentials is refused, except for known callers: good agents behind the same
address are still served.
"""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from django.conf import settings
from django.http import parse_cookie

from activity.group_commit import Overloaded, Unknown
from activity.hub import run_in_thread
from registry.api.serializers import MAX_BEATS
from registry.exceptions import DATABASE_UNAVAILABLE, RETRY_AFTER_SECONDS, TOO_MANY_REQUESTS, UNAVAILABLE_ERRORS
from registry.fast_path.application import replayed, respond_json
from registry.fast_path.callers import Callers
from registry.identity import addresses, rate_limits, sessions, tokens

REGISTRATIONS = ("/registry/register", "/registry/update-card")
BEAT = "/registry/heartbeat"
BEATS = "/registry/heartbeats"
AGENT_ROUTES = (*REGISTRATIONS, BEAT, BEATS)
WORKSPACE_REPORTS = re.compile(r"/workspaces/[^/]+/(activity|notify)")
# With the files of a workspace, a template or a bundle; those of the admin are forms with uploads.
FILE_ROUTES = {
    "PUT": re.compile(r"/workspaces/[^/]+/files(/.*)?", re.DOTALL),
    "POST": re.compile(r"/templates/import|/bundles/import|/admin/registry/workspace/(import|[^/]+/files)/"),
}
LARGEST_AT_A_TIME = 4
"""Bodies of these routes that are over MAX_BODY_BYTES, in one process: a body and what is made of it take memory."""
LARGEST_SECONDS = 60.0
"""Until such a body is read to its end."""
TOKEN = re.compile(rb"mol_ws_[0-9a-f]{12}_[A-Za-z0-9-]{43}")


class Refused(Exception):
    """The response to a request that is not passed on. `wait`: seconds after which it may be sent again."""

    def __init__(self, status: int, error: str, *, wait: int | None = None, challenge: bool = False) -> None:
        super().__init__(error)
        self.status = status
        self.content = orjson.dumps({"error": error} | ({"retry_after": wait} if status == 429 else {}))
        self.headers = [(b"connection", b"close")]
        if wait:
            self.headers.append((b"retry-after", b"%d" % wait))
        if challenge:
            self.headers.append((b"www-authenticate", b"Bearer"))

    async def send(self, send: Any) -> None:
        """Send the response and close the connection, so that the rest of the body is not read."""
        await respond_json(send, self.status, self.content, *self.headers)


@dataclass(slots=True)
class RequestHead:
    """What a request says before its body. `path` is empty unless it is a POST, `length` is its Content-Length or 0.

    `has_files`: it is for one of the FILE_ROUTES.
    """

    path: str
    has_files: bool
    address: str
    authorization: bytes | None
    cookie: bytes
    length: int

    @classmethod
    def of(cls, scope: Any) -> "RequestHead":
        headers = dict(reversed(scope["headers"]))
        return cls(
            path=scope["path"] if scope["method"] == "POST" else "",
            has_files=_has_files(scope["method"], scope["path"]),
            address=addresses.of_scope(scope),
            authorization=headers.get(b"authorization"),
            cookie=headers.get(b"cookie", b""),
            length=int(headers.get(b"content-length", 0)),
        )

    @property
    def session(self) -> str | None:
        """The key of a browser's session, from its cookie, valid or not."""
        return parse_cookie(self.cookie.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)

    @property
    def has_tokens_in_body(self) -> bool:
        """Whether its tokens are in the body: a batch of heartbeats has one for each."""
        return self.path == BEATS

    @property
    def is_for_django(self) -> bool:
        """Whether only Django can authenticate it: a page, a request with a session cookie, or an open enrolment."""
        if self.authorization is not None or self.has_tokens_in_body:
            return False
        return (
            self.may_be_large
            or self.session is not None
            or not (self.path in AGENT_ROUTES or WORKSPACE_REPORTS.fullmatch(self.path))
        )

    @property
    def may_be_large(self) -> bool:
        """Whether its body may be large although the caller is unknown: a registration while enrolment is open."""
        is_open = settings.MOLECULE_ENROLMENT == "open" and self.authorization is None
        return is_open and self.path == REGISTRATIONS[0]

    @property
    def max_bytes(self) -> int:
        """The largest body that the route accepts."""
        limit: int = settings.MAX_FILES_BODY_BYTES if self.has_files else settings.MAX_BODY_BYTES
        if self.path == BEAT:
            limit = min(limit, settings.MAX_HEARTBEAT_BYTES)
        if self.path in REGISTRATIONS:
            limit = min(limit, settings.MAX_REGISTRATION_BYTES)
        return limit


@dataclass(slots=True)
class Body:
    """A request's body while it is read. `more`: there is more to read; `is_aborted`: the client has hung up;
    `is_largest`: it counts among BoundedBody.largest."""

    receive: ASGIReceiveCallable
    content: bytearray = field(default_factory=bytearray)
    more: bool = True
    is_aborted: bool = False
    is_largest: bool = False

    async def read_on(self) -> None:
        """Read the next part."""
        message: Any = await self.receive()
        self.is_aborted = message["type"] == "http.disconnect"
        self.more = message.get("more_body", False)
        self.content += message.get("body", b"")

    async def discard(self) -> None:
        """Read the rest and drop it: a client that is still sending then gets the response instead of a reset."""
        left = settings.MAX_BODY_BYTES
        while self.more and left > 0:
            self.content = bytearray()
            await self.read_on()
            left -= len(self.content)


class BoundedBody:
    """ASGI middleware: the application gets a complete body and its Content-Length, also when it was sent in chunks."""

    def __init__(self, application: Any, callers: Callers) -> None:
        self.application = application
        self.callers = callers
        self.largest = 0

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        head, body = RequestHead.of(scope), Body(receive)
        try:
            await self._answer(scope, head, body, send)
        finally:
            self.largest -= body.is_largest

    async def _answer(self, scope: Any, head: RequestHead, body: Body, send: ASGISendCallable) -> None:
        try:
            async with asyncio.timeout(LARGEST_SECONDS if head.has_files else None):
                await self._read(head, body)
        except TimeoutError:
            await Refused(408, f"the body was not complete after {LARGEST_SECONDS:g} seconds").send(send)
            return
        except Refused as refused:
            await body.discard()
            await refused.send(send)
            return
        if not body.is_aborted:
            if body.content and not head.length:
                scope = _with_length(scope, len(body.content))
            await self.application(scope, replayed(bytes(body.content), body.receive), send)

    async def _read(self, head: RequestHead, body: Body) -> None:
        """Read the body to its end, or until the client hangs up. Raises Refused."""
        is_over_limit = rate_limits.STRANGERS.is_over(head.address) and not head.is_for_django
        is_known, max_bytes, stranger_bytes = False, head.max_bytes, settings.MAX_STRANGER_BODY_BYTES
        # The tokens of a batch are in its body. So that is read first: up to MAX_STRANGER_BODY_BYTES, or to its end.
        declared = 0 if head.has_tokens_in_body else head.length
        while True:
            size = len(body.content)
            if max(head.length, size) > max_bytes:
                raise Refused(413, "body too large")
            is_large = max(declared, size) > stranger_bytes and not head.may_be_large
            is_due = is_over_limit and not (head.has_tokens_in_body and body.more)
            if (is_large or is_due) and not is_known:
                await self._require_known(head, body.content, is_over_limit=is_over_limit)
                is_known = True
            if max(head.length, size) > settings.MAX_BODY_BYTES:
                self._count_largest(body)
            if not body.more:
                return
            await body.read_on()

    def _count_largest(self, body: Body) -> None:
        """Raises Refused if there are LARGEST_AT_A_TIME others."""
        if not body.is_largest and self.largest >= LARGEST_AT_A_TIME:
            raise Refused(503, TOO_MANY_REQUESTS, wait=RETRY_AFTER_SECONDS)
        self.largest += not body.is_largest
        body.is_largest = True

    async def _require_known(self, head: RequestHead, body: bytearray, *, is_over_limit: bool) -> None:
        """Raises Refused unless the caller is known or in open mode. `body` is the part of it that was read."""
        try:
            if settings.MOLECULE_OPEN or await self._is_known(head, body):
                return
        except Overloaded:
            raise Refused(503, TOO_MANY_REQUESTS, wait=RETRY_AFTER_SECONDS) from None
        except (Unknown, *UNAVAILABLE_ERRORS):
            raise Refused(503, DATABASE_UNAVAILABLE, wait=RETRY_AFTER_SECONDS) from None
        if is_over_limit:
            raise Refused(429, "too many requests without a valid credential", wait=rate_limits.retry_after())
        await sync_to_async(rate_limits.STRANGERS.add, thread_sensitive=False)(head.address)
        if head.has_tokens_in_body:
            limit = settings.MAX_STRANGER_BODY_BYTES
            raise Refused(413, f"body too large: over {limit} bytes one of the first tokens must be valid")
        error = "authentication required" if head.authorization is None else "invalid token"
        raise Refused(401, error, challenge=True)

    async def _is_known(self, head: RequestHead, body: bytearray) -> bool:
        if head.is_for_django and head.session:
            return bool(await run_in_thread(sessions.principals, [head.session]))
        if head.has_tokens_in_body:
            texts = [found.decode() for found in TOKEN.findall(body)[:MAX_BEATS]]
        else:
            scheme, _, text = (head.authorization or b"").decode("latin-1").split(",")[0].strip().partition(" ")
            texts = [text.strip()] if scheme.lower() == "bearer" else []
        if any(map(tokens.is_metrics_token, texts)):
            return True
        presented = {shown for text in texts if (shown := tokens.presented_token(text, tokens.TYPES))}
        return bool(presented) and await self.callers.knows_any(presented)


def _has_files(method: str, path: str) -> bool:
    route = FILE_ROUTES.get(method)
    return route is not None and route.fullmatch(path) is not None


def _with_length(scope: Any, length: int) -> Any:
    """The scope with a Content-Length, which the client did not send."""
    others = [header for header in scope["headers"] if header[0] not in (b"transfer-encoding", b"content-length")]
    return {**scope, "headers": [*others, (b"content-length", str(length).encode())]}
