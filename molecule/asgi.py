"""Assembly of the ASGI application: bounded bodies to the fast lane and then to Django, /ws to the stream, and the
web's own pulse."""

import os
import warnings

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import CookieMiddleware
from django.core.asgi import get_asgi_application
from django.urls import path

# WhiteNoise gives files as plain iterators, and Django says so for each; they are small and from disk.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "molecule.settings")
http = get_asgi_application()

from molecule.checks import refuse_unsafe_configuration  # noqa: E402  # these need the apps that it loads
from molecule.limits import BoundedBody  # noqa: E402
from molecule.policy import may_listen  # noqa: E402
from molecule.pulse import Pulse  # noqa: E402
from molecule.throttling import BEATS, REQUESTS, Meter  # noqa: E402
from registry.asgi import FastLane  # noqa: E402
from registry.consumers import OrganisationStream  # noqa: E402

refuse_unsafe_configuration()


fast_lane = FastLane(http, beats=Meter(BEATS, "RATE_LIMIT_HEARTBEATS"), requests=Meter(REQUESTS, "RATE_LIMIT"))


class Stream(OrganisationStream):
    may_listen = staticmethod(may_listen)
    take = staticmethod(fast_lane.take)


application = Pulse(
    ProtocolTypeRouter(
        {
            "http": BoundedBody(fast_lane),
            "websocket": CookieMiddleware(URLRouter([path("ws", Stream.as_asgi())])),
        }
    )
)
