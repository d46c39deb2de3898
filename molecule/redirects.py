"""A warning when the redirect to HTTPS leads back to itself."""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

log = logging.getLogger(__name__)
WARN_AGAIN_SECONDS = 60.0
WITHOUT_SCHEME = (
    "PROXY_SCHEME is on, but a request without X-Forwarded-Proto is redirected to https: through a proxy that does not "
    "set this header that repeats for ever (docs/configuration.md, Behind a proxy)"
)
REDIRECTED_TO_ITSELF = (
    "a request is redirected to https although its X-Forwarded-Proto says that it was https, which repeats for ever: "
    "if a proxy sets this header, set PROXY_SCHEME=true (docs/configuration.md, Behind a proxy)"
)


class WarnOfEndlessRedirect:
    """Middleware around Django's SecurityMiddleware: warns, at most once a minute, when a proxy ends TLS but
    PROXY_SCHEME is off, or is on and the proxy does not set X-Forwarded-Proto."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.warned_at = float("-inf")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code == 301 and _leads_back(request, response.headers.get("Location")):
            self._warn(WITHOUT_SCHEME if settings.PROXY_SCHEME else REDIRECTED_TO_ITSELF)
        return response

    def _warn(self, text: str) -> None:
        now = time.monotonic()
        if now - self.warned_at >= WARN_AGAIN_SECONDS:
            self.warned_at = now
            log.warning(text)


def _leads_back(request: HttpRequest, location: str | None) -> bool:
    scheme = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower()
    if scheme != ("" if settings.PROXY_SCHEME else "https"):
        return False
    return location == f"https://{request.get_host()}{request.get_full_path()}"
