"""The fast path: heartbeats, activity and discovery as plain ASGI in front of Django, in group commits.

It answers only requests that succeed. Everything else goes to the Django views, which implement the same operations and
answer every error: an invalid token, a body that needs conversion, an exceeded rate limit. So no rule about permissions
is repeated here. The exception are batches of heartbeats, where each heartbeat has its own result: both paths take it
from registry/liveness/batches.py.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import orjson
from channels.db import database_sync_to_async
from django.conf import settings

from activity import strict_json
from activity.group_commit import BUSY, GroupCommit, Overloaded, Unknown, Unwritten
from activity.serializers import MAX_ENTRIES
from registry.api.serializers import MAX_BEATS
from registry.exceptions import (
    DATABASE_UNAVAILABLE,
    RETRY_AFTER_SECONDS,
    TOO_MANY_REQUESTS,
    UNAVAILABLE_ERRORS,
    Busy,
)
from registry.fast_path import bodies
from registry.fast_path.callers import Callers
from registry.identity import addresses, authentication, rate_limits, tokens
from registry.identity.authentication import LONGEST_TOKEN
from registry.identity.tokens import PresentedToken
from registry.liveness import batches
from registry.liveness.batches import Result
from registry.liveness.heartbeats import Beat
from registry.messaging import reports
from registry.messaging.reports import Report
from registry.organisation.directory import Directory, Lookup, Match

log = logging.getLogger(__name__)

BATCH = 2048
CAPACITY = 8192
# Bodies with more values go to the views, which check the credential before they parse. A heartbeat has six fields.
MAX_BEAT_VALUES = 100
MAX_VALUES = 10_000
# Larger bodies are parsed in a thread. This takes less than a millisecond.
PARSED_HERE_BYTES = 8 * 1024
RETRY_AFTER = b"%d" % RETRY_AFTER_SECONDS
OK = b'{"status":"ok"}'
LOGGED = b'{"status":"logged"}'
LOGGED_MANY = b'{"status":"logged","count":%d}'
# How long a request with several heartbeats waits for those whose workspace another transaction holds: the others are
# committed meanwhile, and their agents' host waits for the answer.
BUSY_SECONDS = 2.0
OVERLOADED = {"error": TOO_MANY_REQUESTS}
UNAVAILABLE = {"error": DATABASE_UNAVAILABLE}
UNKNOWN = {"error": "the database does not answer: this may be committed or not", "code": "unknown"}

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Reply = tuple[int, bytes]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Request:
    """`token` is from the Authorization header, `claimed` from X-Workspace-ID, `rest` the variable part of the path."""

    address: str
    token: PresentedToken | None
    claimed: UUID | None
    rest: str
    body: bytes


class FastPath:
    """ASGI middleware for HTTP. Each of its three queues has its own thread."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.directory = Directory()
        self.beats = GroupCommit("heartbeats", batches.commit, batch=BATCH, capacity=CAPACITY, size_of=_size)
        self.reports = GroupCommit("activity", self._commit_reports, batch=BATCH, capacity=CAPACITY, size_of=_size)
        self.lookups = GroupCommit("discovery", self._resolve, batch=BATCH, capacity=CAPACITY)
        self.callers = Callers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler, rest = self._route(scope["method"], scope["path"])
        # Of several headers with the same name the first counts.
        headers = {} if handler is None else dict(reversed(scope["headers"]))
        if handler is None or not _is_plain(scope, headers):
            await self.application(scope, receive, send)
            return
        # BoundedBody, which wraps this, passes the whole body in one message.
        body = (await receive())["body"]
        request = _request(scope, headers, rest, body)
        reply = None if request is None else await self._reply(handler, request)
        if reply is None:
            await self.application(scope, replayed(body, receive), send)
        else:
            status, content = reply
            retry = [(b"retry-after", RETRY_AFTER)] if status == 503 else []
            await respond_json(send, status, content, *retry)

    async def accept_beat(self, beat: Beat, address: str) -> dict[str, str] | None:
        """For `/ws`: None once the heartbeat is committed, else its error as the API says it."""
        if rate_limits.BEATS.is_over(beat.token):
            return batches.TOO_MANY
        try:
            return (await self._errors([beat], address))[0]
        except Overloaded:
            return {**OVERLOADED, "code": "overloaded"}
        except Unknown:
            return UNKNOWN
        except UNAVAILABLE_ERRORS:
            return {**UNAVAILABLE, "code": "unavailable"}
        except Exception:
            log.exception("a batch of heartbeats failed")
            return {"error": "internal error", "code": "internal"}

    async def _errors(self, beats: Sequence[Beat], address: str) -> list[dict[str, str] | None]:
        results = await self.beats.submit(beats, busy_seconds=BUSY_SECONDS)
        if all(result is Result.ACCEPTED for result in results):
            return [None] * len(beats)
        errors: list[dict[str, str] | None] = await database_sync_to_async(batches.errors)(beats, results, address)
        return errors

    def _route(self, method: str, path: str) -> tuple[Callable[[Request], Awaitable[Reply | None]] | None, str]:
        if method == "POST":
            if path == "/registry/heartbeat":
                return self._heartbeat, ""
            if path == "/registry/heartbeats":
                return self._heartbeats, ""
            if path.startswith("/workspaces/") and path.endswith("/activity"):
                return self._activity, path.removeprefix("/workspaces/").removesuffix("/activity")
        elif method == "GET" and path.startswith("/registry/discover/"):
            return self._discover, path.removeprefix("/registry/discover/")
        return None, ""

    async def _reply(self, handler: Callable[[Request], Awaitable[Reply | None]], request: Request) -> Reply | None:
        try:
            return await handler(request)
        except strict_json.Malformed:
            return None
        except Overloaded:
            return 503, orjson.dumps(OVERLOADED)
        except Busy as busy:
            return 503, orjson.dumps(busy.as_body)
        except Unknown:
            return 503, orjson.dumps(UNKNOWN)
        except UNAVAILABLE_ERRORS as error:
            log.warning("database unavailable: %s", type(error).__name__)
            return 503, orjson.dumps(UNAVAILABLE)
        except Exception:
            log.exception("a batch failed; its requests are passed to Django one by one")
            return None

    async def _heartbeat(self, request: Request) -> Reply | None:
        if request.token is None or rate_limits.BEATS.is_over(request.token):
            return None
        beat = bodies.beat(await _parsed(request.body, MAX_BEAT_VALUES), request.token)
        if beat is None or request.claimed not in (None, beat.workspace_id):
            return None
        return (200, OK) if await _only(self.beats, beat) is Result.ACCEPTED else None

    async def _heartbeats(self, request: Request) -> Reply | None:
        """If every item is readable, all results are given here, so that no heartbeat is committed twice."""
        body = await _parsed(request.body, MAX_VALUES)
        items = body.get("beats") if type(body) is dict else None
        if type(items) is not list or not 0 < len(items) <= MAX_BEATS:
            return None
        beats = [beat for item in items if (beat := bodies.signed_beat(item)) is not None]
        if len(beats) < len(items) or batches.is_over_limit(beats):
            return None
        errors = await self._errors(beats, request.address)
        if batches.has_refused(errors):
            await database_sync_to_async(batches.count_refused)(beats, request.address)
        return 200, orjson.dumps(batches.response_body(items, errors))

    async def _activity(self, request: Request) -> Reply | None:
        own = bodies.uuid(request.rest)
        if request.token is None or own is None or request.claimed not in (None, own):
            return None
        body = await _parsed(request.body, MAX_VALUES)
        entries = bodies.entries(body, own, most=MAX_ENTRIES)
        if entries is None or rate_limits.REQUESTS.is_over(request.token):
            return None
        if not await _only(self.reports, Report(own, request.token, entries, len(request.body))):
            return None
        return 200, LOGGED_MANY % len(entries) if type(body) is list else LOGGED

    async def _discover(self, request: Request) -> Reply | None:
        target = bodies.uuid(request.rest)
        if request.token is None or target is None or rate_limits.REQUESTS.is_over(request.token):
            return None
        match = await _only(self.lookups, Lookup(target, request.token, request.claimed))
        if match is None:
            return None
        return 200, orjson.dumps({"id": match.id, "url": match.url, "name": match.name, "status": match.status})

    async def commit_empty_batch(self) -> None:
        """Return once a batch of heartbeats, which may be empty, was committed. Raises what `submit` raises."""
        await self.beats.submit([])

    def _commit_reports(self, batch: list[Report]) -> list[bool | Unwritten]:
        accepted, busy = reports.commit(batch)
        rate_limits.REQUESTS.charge([(batch[n].token, token_id) for n, token_id in accepted.items()])
        return [BUSY if n in busy else n in accepted for n in range(len(batch))]

    def _resolve(self, lookups: list[Lookup]) -> list[Match | None]:
        matches = self.directory.resolve(lookups)
        used = [(lookup.token, match.token_id) for lookup, match in zip(lookups, matches, strict=True) if match]
        rate_limits.REQUESTS.charge(used)
        return matches


def _request(scope: Scope, headers: dict[bytes, bytes], rest: str, body: bytes) -> Request | None:
    """The request; None if its X-Workspace-ID is not a UUID."""
    header = headers.get(b"x-workspace-id")
    claimed = None if header is None else bodies.uuid(header.decode("latin-1"))
    if header is not None and claimed is None:
        return None
    return Request(
        address=addresses.of_scope(scope),
        token=_presented_token(headers.get(b"authorization")),
        claimed=claimed,
        rest=rest,
        body=body,
    )


async def _parsed(body: bytes, max_values: int) -> Any:
    if len(body) <= PARSED_HERE_BYTES:
        return strict_json.parse(body, max_values=max_values)
    return await asyncio.to_thread(strict_json.parse, body, max_values=max_values)


async def _only(queue: GroupCommit[Item, Answer], item: Item) -> Answer:
    """The answer to one item. Raises Busy, Overloaded, Unknown, and what the batch raises."""
    [answer] = await queue.submit([item])
    if isinstance(answer, Unwritten):
        raise Busy
    return answer


def _size(item: Beat | Report) -> int:
    """A body may weigh more than a batch (MAX_BODY_BYTES): then it is a batch of its own."""
    return min(item.weight, BATCH)


def _is_plain(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Not from a browser, one of our hosts, over HTTPS where that is required, and JSON."""
    content_type = headers.get(b"content-type", b"")
    is_json = content_type == b"application/json" or content_type.startswith(b"application/json;")
    return (
        b"origin" not in headers
        and authentication.is_our_host(headers.get(b"host", b"").decode("latin-1"))
        and (not settings.SECURE_SSL_REDIRECT or _is_encrypted(scope, headers))
        and (is_json or scope["method"] == "GET")
    )


def _is_encrypted(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    if settings.PROXY_SCHEME:
        return headers.get(b"x-forwarded-proto") == b"https"
    return bool(scope["scheme"] == "https")


def _presented_token(authorization: bytes | None) -> PresentedToken | None:
    if authorization is None or len(authorization) > LONGEST_TOKEN or not authorization.startswith(b"Bearer mol_"):
        return None
    return tokens.presented_token(authorization[len(b"Bearer ") :].decode("latin-1"))


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns a body which has been read already."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:
        return pending.pop() if pending else await receive()

    return receive_again


async def respond_json(send: Send, status: int, content: bytes, *more_headers: tuple[bytes, bytes]) -> None:
    """Send a whole response of JSON."""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(content)),
        (b"x-content-type-options", b"nosniff"),
        *more_headers,
    ]
    await respond(send, status, headers, content)


async def respond(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    """Send a whole response."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
