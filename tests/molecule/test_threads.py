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
gate = threading.Event()
entered = threading.Semaphore(0)


def told(request: HttpRequest) -> HttpResponse:
    return JsonResponse({name: value for name, value in request.META.items() if isinstance(value, str)})


def asks_the_database(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(User.objects.exists()))


def cookies(request: HttpRequest) -> StreamingHttpResponse:
    answer = StreamingHttpResponse(iter([b"in ", b"parts"]), status=202, headers={"X-More": "1"})
    answer.set_cookie("one", "1")
    answer.set_cookie("two", "2")
    return answer


def stuck(request: HttpRequest) -> HttpResponse:
    entered.release()
    gate.wait(MAX_WAIT_SECONDS)
    return HttpResponse("at last")


urlpatterns = [
    path("told", told),
    path("asks", asks_the_database),
    path("cookies", cookies),
    path("stuck", stuck),
    path("health", told),
    path("health/ready", stuck),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _open_in_the_end() -> Iterator[None]:
    gate.clear()
    while entered.acquire(blocking=False):
        pass
    yield
    gate.set()


def asked(django: ThreadedDjango, where: str, **scope: Any) -> ApplicationCommunicator:
    defaults = {"type": "http", "method": "GET", "path": where, "query_string": b"", "http_version": "1.1"}
    given = {"headers": [(b"host", b"testserver"), *scope.pop("headers", [])]}
    return ApplicationCommunicator(django, defaults | scope | given)


async def answer(one: ApplicationCommunicator) -> Answer:
    await one.send_input({"type": "http.request", "body": b"", "more_body": False})
    start = await one.receive_output(MAX_WAIT_SECONDS)
    body = await one.receive_output(MAX_WAIT_SECONDS)
    await one.wait(MAX_WAIT_SECONDS)
    return start["status"], start["headers"], body["body"]


async def test_status_headers_cookies_and_streams_are_complete() -> None:
    status, headers, body = await answer(asked(ThreadedDjango(1), "/cookies"))
    assert (status, body) == (202, b"in parts")
    assert (b"X-More", b"1") in headers
    assert [value.split(b";")[0] for name, value in headers if name == b"Set-Cookie"] == [b"one=1", b"two=2"]


async def test_a_header_with_an_underscore_is_ignored() -> None:
    """WSGI would take it for the one with a hyphen, which a proxy in front has set."""
    sent = [(b"x_forwarded_proto", b"https"), (b"authorization", b"one"), (b"authorization", b"two")]
    _, _, body = await answer(asked(ThreadedDjango(1), "/told", headers=sent, client=("192.0.2.1", 5)))
    assert b"FORWARDED" not in body
    assert b'"HTTP_AUTHORIZATION": "one,two"' in body
    assert b'"REMOTE_ADDR": "192.0.2.1"' in body


async def test_a_query_that_is_not_utf8_is_refused() -> None:
    status, _, _ = await answer(asked(ThreadedDjango(1), "/told", query_string=b"\xff"))
    assert status == 400


async def test_a_thread_returns_its_connection_after_the_response() -> None:
    """Streams and background jobs share the pool and would wait for an idle thread's connection."""
    django = ThreadedDjango(1)
    assert (await answer(asked(django, "/asks")))[2] == b"False"
    assert django.pool.submit(lambda: connection.connection).result(MAX_WAIT_SECONDS) is None


async def test_a_client_that_disconnects_before_its_request_takes_no_thread() -> None:
    django = ThreadedDjango(1)
    one = asked(django, "/told")
    await one.send_input({"type": "http.disconnect"})
    await one.wait(MAX_WAIT_SECONDS)
    assert (one.output_queue.empty(), django.inside) == (True, 0)


async def test_a_full_queue_answers_503_and_liveness_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_WAITING", 1)
    django = ThreadedDjango(1)
    patient = [asyncio.create_task(answer(asked(django, "/stuck"))) for _ in range(2)]
    await asyncio.to_thread(entered.acquire, timeout=MAX_WAIT_SECONDS)
    while django.inside < 2:
        await asyncio.sleep(0)
    assert await answer(asked(django, "/told")) == threads.BUSY
    assert (await answer(asked(django, "/health")))[0] == 200
    gate.set()
    assert [status for status, _, _ in await asyncio.gather(*patient)] == [200, 200]
    assert django.inside == 0


@pytest.mark.urls("molecule.urls")
async def test_a_response_is_freed_once_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses may have megabytes, and the garbage collector may run late."""
    made: list[weakref.ref[Response]] = []
    init = Response.__init__

    def remembered(self: Response, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        made.append(weakref.ref(self))

    monkeypatch.setattr(Response, "__init__", remembered)
    gc.disable()
    try:
        assert (await answer(asked(ThreadedDjango(1), "/templates")))[0] == 401
        assert [one() for one in made] == [None]
    finally:
        gc.enable()


async def test_a_probe_that_takes_too_long_is_answered_and_the_next_does_not_wait_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probes, "PROBE_SECONDS", 0.05)
    django = ThreadedDjango(1)
    for _ in range(3):
        assert (await answer(asked(django, "/health/ready")))[0] == 503
    assert entered.acquire(timeout=MAX_WAIT_SECONDS)
    assert not entered.acquire(blocking=False), "one request alone has reached the view"
    monkeypatch.undo()
    gate.set()
    while (await answer(asked(django, "/health/ready")))[0] == 503:
        await asyncio.sleep(0.05)
