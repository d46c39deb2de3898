"""Assembly of the ASGI application: HTTP with bounded bodies to the fast path and then to Django, /ws to the stream,
and the web process's own heartbeat."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import CookieMiddleware
from django import setup
from django.apps import apps
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
# Not where another process, a test, imports this module.
is_web_process = not apps.ready
setup(set_prefix=False)

from django.conf import settings  # noqa: E402  # these need the apps loaded

from activity import sessions  # noqa: E402
from molecule.checks import refuse_unsafe_configuration  # noqa: E402
from molecule.limits import BoundedBody  # noqa: E402
from molecule.policy import may_listen  # noqa: E402
from molecule.shares import shares  # noqa: E402
from molecule.threads import ThreadedDjango  # noqa: E402
from registry.consumers import OrganisationStream  # noqa: E402
from registry.fast_path.application import FastPath  # noqa: E402
from registry.identity import refusals  # noqa: E402
from registry.supervision.web_liveness import WebLiveness  # noqa: E402

refuse_unsafe_configuration()
if is_web_process:
    sessions.bound_process(
        connect_seconds=settings.WEB_CONNECT_SECONDS,
        lock_seconds=settings.WEB_LOCK_SECONDS,
        statement_seconds=settings.WEB_STATEMENT_SECONDS,
    )

fast_path = FastPath(ThreadedDjango(shares(settings.DATABASE_POOL_SIZE)))


class Stream(OrganisationStream):
    may_listen = staticmethod(may_listen)
    accept_beat = staticmethod(fast_path.accept_beat)


application = WebLiveness(
    ProtocolTypeRouter(
        {
            "http": BoundedBody(fast_path),
            "websocket": CookieMiddleware(URLRouter([path("ws", Stream.as_asgi())])),
        }
    ),
    also=refusals.flush,
)
