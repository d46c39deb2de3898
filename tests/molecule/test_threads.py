"""Django in a pool of threads: responses are complete, and probes never wait for stuck requests."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from rest_framework.response import Response

from molecule import probes, threads
from molecule.probes import Answer
from molecule.threads import ThreadedDjango

MAX_WAIT_SECONDS = 20
release = threading.Event()
entered = threading.Semaphore(0)


def echo_headers(request: HttpRequest) -> HttpResponse:
    return JsonResponse({name: value for name, value in request.META.items() if isinstance(value, str)})


def query_database(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(User.objects.exists()))


def stream_with_cookies(request: HttpRequest) -> StreamingHttpResponse:
    response = StreamingHttpResponse(iter([b"in ", b"parts"]), status=202, headers={"X-More": "1"})
    response.set_cookie("one", "1")
    response.set_cookie("two", "2")
    return response


def stuck(request: HttpRequest) -> HttpResponse:
    entered.release()
    release.wait(MAX_WAIT_SECONDS)
    return HttpResponse("at last")


urlpatterns = [
    path("headers", echo_headers),
    path("query", query_database),
    path("cookies", stream_with_cookies),
    path("stuck", stuck),
    path("health", echo_headers),
    path("health/ready", stuck),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _release_stuck_views() -> Iterator[None]:
    release.clear()
    while entered.acquire(blocking=False):
        pass
    yield
    release.set()


def request_to(django: ThreadedDjango, url_path: str, **scope: Any) -> ApplicationCommunicator:
    defaults = {"type": "http", "method": "GET", "path": url_path, "query_string": b"", "http_version": "1.1"}
    headers = {"headers": [(b"host", b"testserver"), *scope.pop("headers", [])]}
    return ApplicationCommunicator(django, defaults | scope | headers)


async def response_of(communicator: ApplicationCommunicator) -> Answer:
    await communicator.send_input({"type": "http.request", "body": b"", "more_body": False})
    start = await communicator.receive_output(MAX_WAIT_SECONDS)
    body = await communicator.receive_output(MAX_WAIT_SECONDS)
    await communicator.wait(MAX_WAIT_SECONDS)
    return start["status"], start["headers"], body["body"]


async def test_status_headers_cookies_and_streams_are_complete() -> None:
    status, headers, body = await response_of(request_to(ThreadedDjango(1), "/cookies"))
    assert (status, body) == (202, b"in parts")
    assert (b"X-More", b"1") in headers
    assert [value.split(b";")[0] for name, value in headers if name == b"Set-Cookie"] == [b"one=1", b"two=2"]


async def test_a_header_with_an_underscore_is_ignored() -> None:
    """WSGI maps it to the same name as the header with a hyphen, which a proxy may have set."""
    sent = [(b"x_forwarded_proto", b"https"), (b"authorization", b"one"), (b"authorization", b"two")]
    _, _, body = await response_of(request_to(ThreadedDjango(1), "/headers", headers=sent, client=("192.0.2.1", 5)))
    assert b"FORWARDED" not in body
    assert b'"HTTP_AUTHORIZATION": "one,two"' in body
    assert b'"REMOTE_ADDR": "192.0.2.1"' in body


async def test_a_query_that_is_not_utf8_is_refused() -> None:
    status, _, _ = await response_of(request_to(ThreadedDjango(1), "/headers", query_string=b"\xff"))
    assert status == 400


async def test_a_thread_returns_its_connection_after_the_response() -> None:
    """Streams and background jobs share the pool and would wait for an idle thread's connection."""
    django = ThreadedDjango(1)
    assert (await response_of(request_to(django, "/query")))[2] == b"False"
    assert django.pool.submit(lambda: connection.connection).result(MAX_WAIT_SECONDS) is None


async def test_a_client_that_disconnects_before_its_request_takes_no_thread() -> None:
    django = ThreadedDjango(1)
    communicator = request_to(django, "/headers")
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(MAX_WAIT_SECONDS)
    assert (communicator.output_queue.empty(), django.inside) == (True, 0)


async def test_a_full_queue_returns_503_and_the_liveness_probe_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_WAITING", 1)
    django = ThreadedDjango(1)
    waiting = [asyncio.create_task(response_of(request_to(django, "/stuck"))) for _ in range(2)]
    await asyncio.to_thread(entered.acquire, timeout=MAX_WAIT_SECONDS)
    while django.inside < 2:
        await asyncio.sleep(0)
    assert await response_of(request_to(django, "/headers")) == threads.BUSY
    assert (await response_of(request_to(django, "/health")))[0] == 200
    release.set()
    assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200, 200]
    assert django.inside == 0


@pytest.mark.urls("molecule.urls")
async def test_a_response_is_freed_once_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses may be megabytes large, and the garbage collector may run late."""
    created: list[weakref.ref[Response]] = []
    init = Response.__init__

    def recording_init(self: Response, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        created.append(weakref.ref(self))

    monkeypatch.setattr(Response, "__init__", recording_init)
    gc.disable()
    try:
        assert (await response_of(request_to(ThreadedDjango(1), "/templates")))[0] == 401
        assert [reference() for reference in created] == [None]
    finally:
        gc.enable()


async def test_a_slow_probe_returns_503_and_does_not_delay_the_next_probe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probes, "PROBE_SECONDS", 0.05)
    django = ThreadedDjango(1)
    for _ in range(3):
        assert (await response_of(request_to(django, "/health/ready")))[0] == 503
    assert entered.acquire(timeout=MAX_WAIT_SECONDS)
    assert not entered.acquire(blocking=False), "only one request reaches the view"
    monkeypatch.undo()
    release.set()
    while (await response_of(request_to(django, "/health/ready")))[0] == 503:
        await asyncio.sleep(0.05)
