"""Errors outside the REST views: an HTML page for browsers, `{"error": …}` for every other client.

The page needs no database, no static files and no signed-in user, as any of these may be what failed.
"""

import base64
import hashlib
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.template import loader
from django.urls import resolve, reverse
from django.utils.cache import patch_vary_headers
from django.utils.safestring import mark_safe

from molecule import health
from molecule.headers import CONTENT_SECURITY_POLICY
from molecule.policy import POLICY as ROUTES
from registry.exceptions import RETRY_AFTER_SECONDS, TOO_MANY_REQUESTS, Busy, why_unavailable

log = logging.getLogger(__name__)

STYLE = (
    ":root{color-scheme:light dark}"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.5 system-ui,sans-serif;"
    "background:light-dark(#f3f4f8,#0e1117);color:light-dark(#1a1f2b,#e7eaf1)}"
    "main{max-width:34rem;padding:2rem}h1{margin:0;font-size:1.5rem}p{margin:.5rem 0}"
    "main>p:first-child{color:light-dark(#4d5667,#b1b9c8)}"
    "nav{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;margin-top:1.5rem}a,button{color:light-dark(#3a4ec2,#a3b2ff)}"
    "form{margin:0}button{padding:0;border:0;background:none;font:inherit;text-decoration:underline;cursor:pointer}"
)
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = CONTENT_SECURITY_POLICY.replace("style-src 'self'", f"style-src 'sha256-{_DIGEST}'")

TITLES = {
    400: "Bad request",
    403: "Not allowed",
    404: "Page not found",
    429: "Too many attempts",
    500: "Internal error",
    503: "Try again",
}
TEXTS = {
    400: "The server cannot answer this request. Check the address, its host name included.",
    403: "Your account may not open this page.",
    404: "There is nothing at this address.",
    429: "Wait a moment, then try again.",
    500: "Something went wrong on the server, and it is in the server's log. Try again.",
}
ERRORS = {
    400: "bad request",
    403: "not allowed",
    404: "not found",
    429: "too many attempts",
    500: "internal error",
}
UNKNOWN_HOST = "the Host header names none of ALLOWED_HOSTS"
LOCKED_OUT = (
    "Too many logins with a wrong password. Wait {minutes} minutes, then try again. "
    "Browsers in which you signed in before are not affected by what others try."
)
EXPIRED_FORM = "The form has expired or was sent from another site. Go back, reload the page and send it again."


def wants_html(request: HttpRequest) -> bool:
    """True for a browser that opens a page; scripts accept JSON or anything."""
    return "text/html" in request.headers.get("Accept", "")


def _wants_page(request: HttpRequest) -> bool:
    """Should an error be a page? Those of the API's routes are JSON for browsers too."""
    return wants_html(request) and not _is_api(request.path_info)


def _is_api(path: str) -> bool:
    try:
        return resolve(path).url_name in ROUTES
    except Http404:
        return False


@dataclass(frozen=True)
class Link:
    """A way on from an error: the route `name`, which leads to the route `then`, if there is one."""

    label: str
    name: str
    then: str = ""

    @property
    def url(self) -> str:
        return reverse(self.name) + (f"?next={reverse(self.then)}" if self.then else "")


CANVAS, ADMIN = Link("Canvas", "canvas"), Link("Admin", "admin:index")
OTHER_ACCOUNT = Link("Sign in with another account", "admin:login", then="canvas")
LINKS = {
    403: (CANVAS, OTHER_ACCOUNT),
    503: (CANVAS, Link("Health checks", "health-ready"), ADMIN, Link("API docs", "docs")),
}
WAY_BACK = (CANVAS, ADMIN, Link("API docs", "docs"))


def page(status: int, text: str = "", csrf_token: str = "", links: Sequence[Link] | None = None) -> HttpResponse:
    """The HTML page for an error; `text` and `links` replace those that it has by default. With a CSRF token, users can
    log out."""
    chosen = LINKS.get(status, WAY_BACK) if links is None else links
    context = {
        "links": chosen,
        "status": status,
        "title": TITLES[status],
        "text": text or TEXTS[status],
        "style": mark_safe(STYLE),  # noqa: S308
        "csrf_token": csrf_token,
    }
    content = loader.get_template("error.html").render(context)
    return HttpResponse(content, status=status, headers={"Content-Security-Policy": POLICY})


def answer(request: HttpRequest, status: int, text: str = "", error: str = "") -> HttpResponse:
    """The page or the JSON, as the client accepts; `text` and `error` replace what they say by default."""
    body = {"error": error or ERRORS[status]}
    response = page(status, text) if _wants_page(request) else JsonResponse(body, status=status)
    patch_vary_headers(response, ["Accept"])
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400."""
    return answer(request, 400, error=UNKNOWN_HOST if isinstance(exception, DisallowedHost) else "")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403: says why, where the view did, and lets users log out."""
    if not (_wants_page(request) and request.user.is_authenticated):
        return answer(request, 403)
    response = page(403, str(exception), get_token(request), _allowed_links(request))
    patch_vary_headers(response, ["Accept"])
    return response


def _allowed_links(request: HttpRequest) -> list[Link]:
    """Where the user may go: neither to the page that was refused nor to one that would be, too."""
    user: Any = request.user
    may_see = {CANVAS: user.has_perm("registry.view_workspace"), ADMIN: user.is_staff, OTHER_ACCOUNT: True}
    return [link for link, may in may_see.items() if may and request.path != reverse(link.name)]


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    return answer(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500, which it calls while it handles the error."""
    return unavailable(request, sys.exc_info()[1]) or answer(request, 500)


def unavailable(request: HttpRequest, error: BaseException | None) -> HttpResponse | None:
    """A 503 if the database was away or too busy; None for any other error."""
    if (reason := why_unavailable(error)) is None:
        return None
    log.warning("%s: %s", reason, str(error).partition("\n")[0])
    if request.path == reverse("admin:system"):
        redis = "answers" if health.result("redis")["ok"] else "does not answer either"
        reason = f"{reason}, so nobody can be signed in. Redis {redis}"
    return _try_again(_wants_page(request), reason)


@cache
def too_busy(is_for_browser: bool) -> HttpResponse:
    """A 503 for a request that got no thread."""
    return _try_again(is_for_browser, TOO_MANY_REQUESTS)


def _try_again(is_for_browser: bool, reason: str) -> HttpResponse:
    sentence = f"{reason[0].upper()}{reason[1:]}."
    response = page(503, sentence) if is_for_browser else JsonResponse({"error": reason}, status=503)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    # A response that no middleware has seen would be sent in chunks, which simple clients cannot read.
    response.headers["Content-Length"] = str(len(response.content))
    patch_vary_headers(response, ["Accept"])
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """settings.CSRF_FAILURE_VIEW."""
    return answer(request, 403, EXPIRED_FORM)


def locked_out(request: HttpRequest, original: HttpResponse | None, credentials: Any) -> HttpResponse:
    """AXES_LOCKOUT_CALLABLE: after too many failed logins for an account or from an address."""
    minutes = max(settings.LOGIN_LOCK_MINUTES, settings.LOGIN_ADDRESS_MINUTES)
    response = answer(request, 429, LOCKED_OUT.format(minutes=minutes))
    response.headers["Retry-After"] = str(minutes * 60)
    return response


class ErrorPages:
    """Middleware for errors of views, also with DEBUG: Django would answer an Http404 with its list of all routes, and
    a busy database with a 500 that shows what the request contained."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Any) -> HttpResponse | None:
        if isinstance(exception, Busy):
            return _try_again(_wants_page(request), exception.message)
        return answer(request, 404) if isinstance(exception, Http404) else unavailable(request, exception)
