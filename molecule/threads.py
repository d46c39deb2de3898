"""Django under ASGI: each request runs in one thread of its share, which lives as long as the process."""

import asyncio
from asyncio import FIRST_COMPLETED
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from asgiref.typing import HTTPScope
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler
from django.db import close_old_connections
from django.http import HttpResponseBase
from django.urls import set_script_prefix

from activity.downloads import Download
from molecule import error_pages
from molecule.health import use_own_connection
from molecule.probes import PROBE_SECONDS, Answer, Probe
from molecule.shares import Shares, share_of
from molecule.sub_path import public_path
from registry.fast_path.application import respond

# How many requests of each share may wait for a thread: more than it answers in WEB_QUEUE_SECONDS.
MAX_WAITING = 500
TOO_BUSY = "The server had too many requests; try again."


class ThreadedDjango(ASGIHandler):
    """Django's own handler changes between thread and event loop for most middleware, in a thread made for the
    request. Here all of it runs in one thread, and the response is sent in one piece, except for a Download. See
    docs/decisions/0012.
    """

    def __init__(self, threads: Shares) -> None:
        self.load_middleware(is_async=False)
        self.shares = {name: Share(name, count) for name, count in threads._asdict().items()}
        # Each has a thread of its own, so that probes are answered while all others wait for the database.
        self.probes = {path: self._probe(path) for path in settings.PROBE_PATHS}

    def _probe(self, path: str) -> Probe:
        is_readiness = path == settings.READY_PATH
        thread = ThreadPoolExecutor(1, f"probe {path}", initializer=use_own_connection if is_readiness else None)
        return Probe(_in_thread_of(thread, self.answer), settings.READY_SECONDS if is_readiness else PROBE_SECONDS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        set_script_prefix(public_path("/"))
        with body:
            answered = await self._answered(scope, body, receive)
            if isinstance(answered, Download):
                await self._send_parts(answered, self.shares[share_of(scope)], receive, send)
            else:
                await respond(send, *answered)

    async def _answered(self, scope: Any, body: Any, receive: Any) -> Answer | Download:
        if probe := self.probes.get(scope["path"]):
            return await probe.answer(scope, body)
        share = self.shares[share_of(scope)]
        if not await share.enter(receive):
            return _content_of(error_pages.too_busy(_is_from_browser(scope)))
        try:
            return await _in_thread_of(share.threads, self.answer)(scope, body)  # type: ignore[no-any-return]
        finally:
            share.leave()

    async def _send_parts(self, download: Download, share: "Share", receive: Any, send: Any) -> None:
        """Sends each part as soon as it is there, until the client hangs up. While it reads, no thread is in use.

        What is not complete because every thread was in use has a last line that says so.
        """
        await send({"type": "http.response.start", "status": download.status_code, "headers": _headers(download)})
        hung_up, parts = asyncio.ensure_future(receive()), iter(download)
        try:
            part: bytes | None = b""
            while part is not None and not hung_up.done():
                await send({"type": "http.response.body", "body": part, "more_body": True})
                part = None if download.has_failed else await self._next_part(download, parts, share, hung_up)
            await send({"type": "http.response.body"})
        finally:
            hung_up.cancel()
            await _in_thread_of(share.threads, download.close)()

    async def _next_part(
        self, download: Download, parts: Iterator[bytes], share: "Share", hung_up: "asyncio.Future[Any]"
    ) -> bytes | None:
        """None after the last one."""
        if not await share.enter(lambda: asyncio.shield(hung_up)):
            return download.fail(TOO_BUSY)
        try:
            return await _in_thread_of(share.threads, _run_next)(parts)  # type: ignore[no-any-return]
        finally:
            share.leave()

    def answer(self, scope: HTTPScope, body: Any) -> Answer | Download:
        """Runs one request. Closing the response returns the database connection to the pool."""
        scope = {**scope, "path": public_path(scope["path"])}
        signals.request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = type(self)
        if isinstance(response, Download):
            close_old_connections()
            return response
        try:
            return _content_of(response)
        finally:
            response.close()


class Share:
    """Threads for one kind of request, and the requests that wait for one of them, first come, first served."""

    def __init__(self, name: str, threads: int) -> None:
        self.threads = ThreadPoolExecutor(threads, f"django {name}")
        self.free = threads
        self.waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, receive: Any) -> bool:
        """Wait for a thread. Returns True once the caller has one; it must then call leave().

        Returns False if MAX_WAITING requests wait, after WEB_QUEUE_SECONDS, or if the client hangs up meanwhile
        (`receive` then returns).
        """
        if self.free:
            self.free -= 1
            return True
        if len(self.waiting) >= MAX_WAITING:
            return False
        place = asyncio.get_running_loop().create_future()
        self.waiting.append(place)
        hung_up, has_entered = asyncio.ensure_future(receive()), False
        try:
            await asyncio.wait({place, hung_up}, timeout=settings.WEB_QUEUE_SECONDS, return_when=FIRST_COMPLETED)
            has_entered = place.done() and not hung_up.done()
        finally:
            hung_up.cancel()
            if not has_entered:
                self._give_up(place)
        return has_entered

    def leave(self) -> None:
        """Pass the thread on to the request that has waited longest."""
        if self.waiting:
            self.waiting.popleft().set_result(None)
        else:
            self.free += 1

    def _give_up(self, place: "asyncio.Future[None]") -> None:
        if place.done():
            self.leave()
        else:
            self.waiting.remove(place)


def _in_thread_of(pool: ThreadPoolExecutor, call: Any) -> Any:
    """Unlike run_in_executor, this carries Django's context variables into the thread."""
    return sync_to_async(call, thread_sensitive=False, executor=pool)


def _run_next(parts: Iterator[bytes]) -> bytes | None:
    """The next part, None after the last one. The connection returns to the pool."""
    try:
        return next(parts, None)
    finally:
        close_old_connections()


def _is_from_browser(scope: HTTPScope) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in scope["headers"])


def _content_of(response: Any) -> Answer:
    return response.status_code, _headers(response), b"".join(response)


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    cookies = [cookie.output(header="").strip().encode("ascii") for cookie in response.cookies.values()]
    return headers + [(b"Set-Cookie", cookie) for cookie in cookies]
