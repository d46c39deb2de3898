"""Django in a pool of threads: responses are complete, and probes never wait for stuck requests."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.response import Response

import molecule.urls
from activity import downloads, hub
from activity.downloads import Download
from activity.group_commit import GroupCommit
from molecule import error_pages, threads
from molecule.asgi import fast_path
from molecule.probes import Answer
from molecule.shares import MINIMUM_POOL_SIZE, OTHER_THREADS, Shares, share_of, shares
from molecule.threads import ThreadedDjango

MAX_WAIT_SECONDS = 20
ONE_EACH = Shares(1, 1, 1)
BROWSER = (b"accept", b"text/html,*/*")
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


def download(request: HttpRequest) -> Download:
    """Each batch is read when the one before has been sent, on whichever thread is free."""
    noted.clear()
    return downloads.download(downloads.NDJSON, ["n", "users"], batches_noted(), name="file")


def batches_noted() -> Generator[list[tuple[int, int]], None, None]:
    try:
        for number in range(1000):
            noted.append(number)
            yield [(number, User.objects.count())]
    finally:
        noted.append("closed")


noted: list[int | str] = []


@csrf_exempt
def stuck(request: HttpRequest) -> HttpResponse:
    entered.release()
    release.wait(MAX_WAIT_SECONDS)
    return HttpResponse("at last")


urlpatterns = [
    path("headers", echo_headers),
    path("query", query_database),
    path("cookies", stream_with_cookies),
    path("download", download),
    path("stuck", stuck),
    path("admin/login/", stuck),
    path("health", echo_headers),
    path("health/ready", stuck),
    *molecule.urls.urlpatterns,  # pages link to some
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
    status, headers, body = await response_of(request_to(ThreadedDjango(ONE_EACH), "/cookies"))
    assert (status, body) == (202, b"in parts")
    assert (b"X-More", b"1") in headers
    assert [value.split(b";")[0] for name, value in headers if name == b"Set-Cookie"] == [b"one=1", b"two=2"]


async def begin_download(django: ThreadedDjango) -> ApplicationCommunicator:
    """The first row was received."""
    request = request_to(django, "/download")
    await request.send_input({"type": "http.request", "body": b"", "more_body": False})
    assert (await request.receive_output(MAX_WAIT_SECONDS))["status"] == 200
    while not (await request.receive_output(MAX_WAIT_SECONDS))["body"]:
        pass
    return request


async def test_a_download_is_sent_part_by_part_and_keeps_neither_thread_nor_connection() -> None:
    django = ThreadedDjango(ONE_EACH)
    request = request_to(django, "/download")
    await request.send_input({"type": "http.request", "body": b"", "more_body": False})
    parts = [await request.receive_output(MAX_WAIT_SECONDS)]
    while parts[-1]["type"] == "http.response.start" or parts[-1].get("more_body"):
        parts.append(await request.receive_output(MAX_WAIT_SECONDS))
    await request.wait(MAX_WAIT_SECONDS)
    assert len(parts) > 1000
    assert sum(part.get("body", b"").count(b"\n") for part in parts) == 1000
    share = django.shares["reads"]
    assert share.free == 1
    assert share.threads.submit(lambda: connection.connection).result(MAX_WAIT_SECONDS) is None


async def test_a_client_that_hangs_up_ends_its_download() -> None:
    request = await begin_download(ThreadedDjango(ONE_EACH))
    await request.send_input({"type": "http.disconnect"})
    await request.wait(MAX_WAIT_SECONDS)
    assert noted[-1] == "closed"
    assert len(noted) < 1000


async def test_a_download_that_gets_no_thread_says_that_it_is_not_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    django, last = ThreadedDjango(ONE_EACH), b""
    request = await begin_download(django)

    async def full(receive: object) -> bool:
        return False

    monkeypatch.setattr(django.shares["reads"], "enter", full)
    while (part := await request.receive_output(MAX_WAIT_SECONDS)).get("more_body"):
        last = part["body"] or last
    await request.wait(MAX_WAIT_SECONDS)
    assert b"This file is not complete" in last
    assert b"too many requests" in last
    assert noted[-1] == "closed"


async def test_a_header_with_an_underscore_is_ignored() -> None:
    """WSGI maps it to the same name as the header with a hyphen, which a proxy may have set."""
    sent = [(b"x_forwarded_proto", b"https"), (b"authorization", b"one"), (b"authorization", b"two")]
    _, _, body = await response_of(
        request_to(ThreadedDjango(ONE_EACH), "/headers", headers=sent, client=("192.0.2.1", 5))
    )
    assert b"FORWARDED" not in body
    assert b'"HTTP_AUTHORIZATION": "one,two"' in body
    assert b'"REMOTE_ADDR": "192.0.2.1"' in body


async def test_a_query_that_is_not_utf8_is_refused() -> None:
    status, _, _ = await response_of(request_to(ThreadedDjango(ONE_EACH), "/headers", query_string=b"\xff"))
    assert status == 400


async def test_a_thread_returns_its_connection_after_the_response() -> None:
    """Streams and background jobs share the pool and would wait for an idle thread's connection."""
    django = ThreadedDjango(ONE_EACH)
    assert (await response_of(request_to(django, "/query")))[2] == b"False"
    threads = django.shares["reads"].threads
    assert threads.submit(lambda: connection.connection).result(MAX_WAIT_SECONDS) is None


async def test_a_client_that_disconnects_before_its_request_takes_no_thread() -> None:
    django = ThreadedDjango(ONE_EACH)
    communicator = request_to(django, "/headers")
    await communicator.send_input({"type": "http.disconnect"})
    await communicator.wait(MAX_WAIT_SECONDS)
    assert (communicator.output_queue.empty(), django.shares["reads"].free) == (True, 1)


async def stuck_in(django: ThreadedDjango, count: int, **scope: Any) -> list[ApplicationCommunicator]:
    """So many requests of one share: the first occupies its thread, the others wait."""
    share = django.shares[share_of({"method": "GET", "query_string": b"", "path": "/stuck", **scope})]  # type: ignore[typeddict-item]
    requests = [request_to(django, "/stuck", **scope) for _ in range(count)]
    for request in requests:
        await request.send_input({"type": "http.request", "body": b"", "more_body": False})
    await asyncio.to_thread(entered.acquire, timeout=MAX_WAIT_SECONDS)
    while len(share.waiting) < count - 1:
        await asyncio.sleep(0)
    return requests


async def status_of(request: ApplicationCommunicator) -> int:
    start = await request.receive_output(MAX_WAIT_SECONDS)
    await request.receive_output(MAX_WAIT_SECONDS)
    await request.wait(MAX_WAIT_SECONDS)
    return int(start["status"])


async def test_a_full_queue_returns_503_and_the_liveness_probe_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(threads, "MAX_WAITING", 1)
    settings.WEB_QUEUE_SECONDS = MAX_WAIT_SECONDS
    django = ThreadedDjango(ONE_EACH)
    waiting = await stuck_in(django, 2)
    status, headers, body = await response_of(request_to(django, "/headers"))
    assert (status, body) == (503, b'{"error": "too many requests at once, try again"}')
    assert (b"Retry-After", b"2") in headers
    assert (b"Content-Length", str(len(body)).encode()) in headers
    status, headers, body = await response_of(request_to(django, "/headers", headers=[BROWSER]))
    assert (status, b"Too many requests at once, try again." in body) == (503, True)
    assert (b"Content-Type", b"text/html; charset=utf-8") in headers
    assert (await response_of(request_to(django, "/health")))[0] == 200
    release.set()
    assert [await status_of(request) for request in waiting] == [200, 200]
    assert django.shares["reads"].free == 1


async def test_links_of_a_page_that_got_no_thread_are_below_the_sub_path(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(threads, "MAX_WAITING", 0)
    settings.FORCE_SCRIPT_NAME = "/molecule"
    error_pages.too_busy.cache_clear()
    django = ThreadedDjango(ONE_EACH)
    [stuck] = await stuck_in(django, 1)
    status, _, body = await response_of(request_to(django, "/headers", headers=[BROWSER]))
    error_pages.too_busy.cache_clear()
    assert (status, b'href="/molecule/admin/"' in body) == (503, True)
    release.set()
    assert await status_of(stuck) == 200


async def test_a_request_waits_for_a_thread_for_a_bounded_time(settings: Any) -> None:
    settings.WEB_QUEUE_SECONDS = 0.05
    django = ThreadedDjango(ONE_EACH)
    [first, second] = await stuck_in(django, 2)
    assert await status_of(second) == 503
    release.set()
    assert await status_of(first) == 200
    assert not entered.acquire(blocking=False), "the second never reached the view"
    assert (len(django.shares["reads"].waiting), django.shares["reads"].free) == (0, 1)


async def test_a_client_that_hangs_up_while_it_waits_frees_its_place(settings: Any) -> None:
    settings.WEB_QUEUE_SECONDS = MAX_WAIT_SECONDS
    django = ThreadedDjango(ONE_EACH)
    [first, gone, third] = await stuck_in(django, 3)
    await gone.send_input({"type": "http.disconnect"})
    while len(django.shares["reads"].waiting) > 1:
        await asyncio.sleep(0)
    release.set()
    assert [await status_of(first), await status_of(third)] == [200, 200]
    assert entered.acquire(timeout=MAX_WAIT_SECONDS)
    assert not entered.acquire(blocking=False), "its work was not begun"
    assert django.shares["reads"].free == 1


async def test_a_waiting_request_that_is_cancelled_takes_no_thread_with_it(settings: Any) -> None:
    settings.WEB_QUEUE_SECONDS = MAX_WAIT_SECONDS
    share = threads.Share("reads", 1)
    assert await share.enter(asyncio.Event().wait)
    waiting = asyncio.create_task(share.enter(asyncio.Event().wait))
    while not share.waiting:
        await asyncio.sleep(0)
    share.leave()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert share.free == 1


@pytest.mark.parametrize(
    ("method", "path", "query", "share"),
    [
        ("GET", "/workspaces", b"", "reads"),
        ("HEAD", "/workspaces", b"", "reads"),
        ("GET", "/canvas/snapshot", b"", "reads"),
        ("GET", "/admin/login/", b"next=/", "reads"),
        ("GET", "/admin/registry/workspace/", b"", "reads"),
        ("POST", "/workspaces", b"at=1", "writes"),
        ("DELETE", "/workspaces/1", b"", "writes"),
        ("POST", "/admin/registry/workspace/add/", b"", "writes"),
        ("POST", "/admin/login/", b"", "logins"),
        ("POST", "/admin/login/", b"next=/", "logins"),
        ("GET", "/canvas/snapshot", b"at=1", "slow_reads"),
        ("GET", "/registry/explain", b"caller=1&at=", "slow_reads"),
        ("GET", "/canvas/snapshot", b"x=%ff&%61t=1", "slow_reads"),
        ("GET", "/events", b"", "slow_reads"),
        ("GET", "/events/diff", b"from=1", "slow_reads"),
        ("GET", "/activity", b"", "slow_reads"),
        ("GET", "/workspaces/1/activity", b"", "slow_reads"),
        ("GET", "/admin/registry/workspace/", b"q=a", "slow_reads"),
    ],
)
def test_the_share_of_a_request(method: str, path: str, query: bytes, share: str) -> None:
    assert share_of({"method": method, "path": path, "query_string": query}) == share  # type: ignore[typeddict-item]


async def test_no_share_waits_for_another() -> None:
    django = ThreadedDjango(ONE_EACH)
    stuck = [
        *await stuck_in(django, 1),
        *await stuck_in(django, 1, method="POST"),
        *await stuck_in(django, 1, query_string=b"at=1"),
        *await stuck_in(django, 1, method="POST", path="/admin/login/"),
    ]
    release.set()
    assert [await status_of(request) for request in stuck] == [200, 200, 200, 200]


@pytest.mark.parametrize("size", [MINIMUM_POOL_SIZE, 20, 57])
def test_every_connection_of_the_pool_has_its_thread(size: int) -> None:
    assert min(shares(size)) >= 1
    assert sum(shares(size)) + sum(OTHER_THREADS.values()) == size


def test_the_threads_that_are_counted_are_the_ones_that_there_are() -> None:
    assert OTHER_THREADS["streams"] == hub.THREADS._max_workers
    gates = [value for value in vars(fast_path).values() if isinstance(value, GroupCommit)]
    assert {gate.name for gate in gates} <= set(OTHER_THREADS)
    assert sum(OTHER_THREADS[gate.name] for gate in gates) == sum(gate.thread._max_workers for gate in gates)


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
        assert (await response_of(request_to(ThreadedDjango(ONE_EACH), "/templates")))[0] == 401
        assert [reference() for reference in created] == [None]
    finally:
        gc.enable()


async def test_a_slow_probe_returns_503_and_does_not_delay_the_next_probe(settings: Any) -> None:
    settings.READY_SECONDS = 0.05
    django = ThreadedDjango(ONE_EACH)
    for _ in range(3):
        assert (await response_of(request_to(django, "/health/ready")))[0] == 503
    assert entered.acquire(timeout=MAX_WAIT_SECONDS)
    assert not entered.acquire(blocking=False), "only one request reaches the view"
    release.set()
    while (await response_of(request_to(django, "/health/ready")))[0] == 503:
        await asyncio.sleep(0.05)
