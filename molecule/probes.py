"""What orchestrators and Prometheus request from a web process directly: by its address and over plain HTTP.

settings.PROBE_PATHS names the paths. They are exempt from the redirect to HTTPS and from the host check, and are
answered in bounded time whatever PostgreSQL does.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.middleware.common import CommonMiddleware

from molecule import error_pages

# A query to a server that hangs may never end. This is longer than any other limit on the way, so that an answer with
# details comes first where it can, and shorter than Prometheus waits (10 s).
PROBE_SECONDS = 8.0
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers, content."""
TIMED_OUT: Answer = (503, [(b"content-type", b"application/json")], b'{"status":"unavailable"}')


log = logging.getLogger("django.security.DisallowedHost")


class HostCheck(CommonMiddleware):
    """Django's CommonMiddleware; its host check does not apply to probes.

    In open mode it does: there a page of another site whose name points at this server (DNS rebinding) could read them.
    """

    def process_request(self, request: HttpRequest) -> Any:
        """Answers a request for an unknown host itself: with DEBUG Django would show a traceback."""
        is_probe = request.path_info in settings.PROBE_PATHS and request.method in ("GET", "HEAD")
        if is_probe and not settings.MOLECULE_OPEN:
            return None
        try:
            return super().process_request(request)
        except DisallowedHost as error:
            log.error("%s", error)
            return error_pages.bad_request(request, error)


class Probe:
    """Answers one path by `call`, which has a thread of its own, within so many seconds."""

    def __init__(self, call: Callable[[Any, Any], Awaitable[Answer]], seconds: float) -> None:
        self.call = call
        self.seconds = seconds
        self.overdue: asyncio.Future[Answer] | None = None

    async def answer(self, scope: Any, body: Any) -> Answer:
        """TIMED_OUT when it takes too long, and at once while an earlier request still occupies the thread."""
        if self.overdue is not None and not self.overdue.done():
            return TIMED_OUT
        running = asyncio.ensure_future(self.call(scope, body))
        await asyncio.wait([running], timeout=self.seconds)
        if running.done():
            return running.result()
        self.overdue = running
        return TIMED_OUT
