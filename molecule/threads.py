"""Django under ASGI: each request runs in one thread of a pool that lives as long as the process."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from asgiref.typing import HTTPScope
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpResponseBase
from django.urls import set_script_prefix

from molecule.probes import Answer, Probe
from registry.fast_path.application import respond

# How many requests may wait for a thread: a few seconds of work.
MAX_WAITING = 500
BUSY: Answer = (
    503,
    [(b"content-type", b"application/json"), (b"retry-after", b"2")],
    b'{"error":"too many requests at once, try again"}',
)


class ThreadedDjango(ASGIHandler):
    """Django's own handler changes between thread and event loop for most middleware, in a thread made for the
    request. Here all of it runs in one thread, and the response is sent in one piece. See docs/decisions/0012.
    """

    def __init__(self, threads: int) -> None:
        self.load_middleware(is_async=False)
        self.places = threads + MAX_WAITING
        self.inside = 0
        self.pool = ThreadPoolExecutor(threads, "django")
        self.in_thread = _in_thread_of(self.pool, self.answer)
        # A thread each: probes are answered also while all others wait for the database.
        self.probes = {path: Probe(_in_thread_of(_one_thread(path), self.answer)) for path in settings.PROBE_PATHS}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            await respond(send, *await self._answered(scope, body))

    async def _answered(self, scope: Any, body: Any) -> Answer:
        if probe := self.probes.get(scope["path"]):
            return await probe.answer(scope, body)
        if self.inside >= self.places:
            return BUSY
        self.inside += 1
        try:
            return await self.in_thread(scope, body)  # type: ignore[no-any-return]
        finally:
            self.inside -= 1

    def answer(self, scope: HTTPScope, body: Any) -> Answer:
        """Runs one request. Closing the response returns the database connection to the pool."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = type(self)
        try:
            return response.status_code, _headers(response), b"".join(response)
        finally:
            response.close()


def _one_thread(path: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, f"probe {path}")


def _in_thread_of(pool: ThreadPoolExecutor, call: Any) -> Any:
    """Unlike run_in_executor, this carries Django's context variables into the thread."""
    return sync_to_async(call, thread_sensitive=False, executor=pool)


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    cookies = [cookie.output(header="").strip().encode("ascii") for cookie in response.cookies.values()]
    return headers + [(b"Set-Cookie", cookie) for cookie in cookies]
