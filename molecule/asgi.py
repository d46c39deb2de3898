"""Assembly of the ASGI application: HTTP with bounded bodies to the fast path and then to Django, /ws to the stream,
and the web process's own heartbeat."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import CookieMiddleware
from django import setup
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
setup(set_prefix=False)

from django.conf import settings  # noqa: E402  # these need the apps loaded

from molecule.checks import refuse_unsafe_configuration  # noqa: E402
from molecule.limits import BoundedBody  # noqa: E402
from molecule.policy import may_listen  # noqa: E402
from molecule.stopping import AnsweredWhenStopped  # noqa: E402
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


http = AnsweredWhenStopped(BoundedBody(fast_path))
application = WebLiveness(
    ProtocolTypeRouter(
        {
            "http": http,
            "websocket": CookieMiddleware(URLRouter([path("ws", Stream.as_asgi())])),
        }
    ),
    agents_get_in=fast_path.commit_nothing,
    also=refusals.flush,
    stopped=http.finished,
)
