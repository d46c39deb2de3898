"""The redirect to HTTPS, and a warning when it leads nowhere else."""

import logging
import time

from django.conf import settings
from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.middleware.security import SecurityMiddleware

log = logging.getLogger(__name__)
WARN_AGAIN_SECONDS = 60.0
REDIRECTED_TO_ITSELF = (
    "a request is redirected to https although its X-Forwarded-Proto says that it was https, which repeats for ever: "
    "if a proxy sets this header, set PROXY_SCHEME=true (docs/configuration.md, Behind a proxy)"
)


class RedirectToHTTPS(SecurityMiddleware):
    """Django's SecurityMiddleware. It warns when a proxy ends TLS and PROXY_SCHEME is off, at most once a minute."""

    warned_at = float("-inf")

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        redirect = super().process_request(request)
        if redirect is not None and not settings.PROXY_SCHEME and request.headers.get("X-Forwarded-Proto") == "https":
            self._warn()
        return redirect

    def _warn(self) -> None:
        now = time.monotonic()
        if now - self.warned_at >= WARN_AGAIN_SECONDS:
            self.warned_at = now
            log.warning(REDIRECTED_TO_ITSELF)
