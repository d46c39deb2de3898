"""Assembly of the ASGI application: HTTP with bounded bodies to the fast path and then to Django, /ws to the stream,
and the web process's own heartbeat."""

import os
from typing import Any

from channels.routing import ProtocolTypeRouter
from channels.sessions import CookieMiddleware
from django import setup

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
setup(set_prefix=False)

from django.conf import settings  # noqa: E402  # these need the apps loaded

from activity.outbox import NO_SUCH_PATH  # noqa: E402
from molecule.checks import refuse_unsafe_configuration  # noqa: E402
from molecule.limits import BoundedBody  # noqa: E402
from molecule.policy import may_listen  # noqa: E402
from molecule.threads import ThreadedDjango  # noqa: E402
from registry.consumers import OrganisationStream  # noqa: E402
from registry.fast_path.application import FastPath  # noqa: E402
from registry.identity import refusals  # noqa: E402
from registry.supervision.web_liveness import WebLiveness  # noqa: E402

refuse_unsafe_configuration()

fast_path = FastPath(ThreadedDjango(settings.HTTP_THREADS))


class Stream(OrganisationStream):
    may_listen = staticmethod(may_listen)
    accept_beat = staticmethod(fast_path.accept_beat)


stream = CookieMiddleware(Stream.as_asgi())


async def websockets(scope: Any, receive: Any, send: Any) -> None:
    """The event stream at /ws. On any other path a socket is accepted too: only then it can be closed with a word."""
    if scope["path"] == f"{scope.get('root_path', '')}/ws":
        await stream(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": NO_SUCH_PATH, "reason": "the event stream is at /ws"})


application = WebLiveness(
    ProtocolTypeRouter({"http": BoundedBody(fast_path), "websocket": websockets}),
    also=refusals.flush,
)
