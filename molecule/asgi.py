"""Assembly of the ASGI application: HTTP with bounded bodies to the fast path and then to Django, /ws to the stream,
and the web process's own heartbeat."""

import gc
import os
from typing import Any

from channels.routing import ProtocolTypeRouter
from channels.sessions import CookieMiddleware
from django import setup
from django.apps import apps

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
# False in a test, which sets Django up before it imports this module.
is_web_process = not apps.ready
setup(set_prefix=False)

from django.conf import settings  # noqa: E402  # these need the apps loaded

from activity import hub, sessions  # noqa: E402
from activity.outbox import NO_SUCH_PATH  # noqa: E402
from molecule.checks import refuse_unsafe_configuration  # noqa: E402
from molecule.limits import BoundedBody  # noqa: E402
from molecule.policy import may_listen  # noqa: E402
from molecule.shares import shares  # noqa: E402
from molecule.stopping import AnswerOnShutdown  # noqa: E402
from molecule.sub_path import SubPath  # noqa: E402
from molecule.threads import ThreadedDjango  # noqa: E402
from registry.consumers import OrganisationStream  # noqa: E402
from registry.fast_path.application import FastPath  # noqa: E402
from registry.identity import refusals  # noqa: E402
from registry.supervision.web_liveness import WebLiveness  # noqa: E402

refuse_unsafe_configuration()
if is_web_process:
    sessions.limit_process(
        connect_seconds=settings.WEB_CONNECT_SECONDS,
        lock_seconds=settings.WEB_LOCK_SECONDS,
        statement_seconds=settings.WEB_STATEMENT_SECONDS,
    )

fast_path = FastPath(ThreadedDjango(shares(settings.DATABASE_POOL_SIZE)))


class Stream(OrganisationStream):
    may_listen = staticmethod(may_listen)
    accept_beat = staticmethod(fast_path.accept_beat)


stream = CookieMiddleware(Stream.as_asgi())


async def websockets(scope: Any, receive: Any, send: Any) -> None:
    """The event stream at /ws. On other paths a socket is accepted first: only then can it be closed with a reason."""
    if scope["path"] == "/ws":
        await stream(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": NO_SUCH_PATH, "reason": "the event stream is at /ws"})


http = AnswerOnShutdown(BoundedBody(fast_path, fast_path.callers))
application = WebLiveness(
    SubPath(ProtocolTypeRouter({"http": http, "websocket": websockets})),
    check_heartbeats=fast_path.commit_empty_batch,
    after_each=refusals.flush,
    describe=hub.backlog,
    on_shutdown=http.wait_for_open,
)

if is_web_process:
    # What is loaded by now stays as long as the process. Without this each full collection of garbage goes through all
    # of it, which takes a fifth of the time under load.
    gc.collect()
    gc.freeze()
