"""Errors outside the REST views: an HTML page for browsers, `{"error": …}` for every other client.

The page needs no database, no static files and no signed-in user, as any of these may be what failed.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.template import loader
from django.utils.cache import patch_vary_headers
from django.utils.safestring import mark_safe

from molecule.headers import CONTENT_SECURITY_POLICY
from registry.exceptions import Busy

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
    503: "The server is busy. Try again in a moment.",
}
ERRORS = {
    400: "bad request",
    403: "not allowed",
    404: "not found",
    429: "too many attempts",
    500: "internal error",
    503: "too busy, try again",
}
LOCKED_OUT = (
    "Too many logins with a wrong password. Wait {minutes} minutes, then try again. "
    "Browsers in which you signed in before are not affected by what others try."
)
EXPIRED_FORM = "The form has expired or was sent from another site. Go back, reload the page and send it again."


def wants_html(request: HttpRequest) -> bool:
    """True for a browser that opens a page; scripts accept JSON or anything."""
    return "text/html" in request.headers.get("Accept", "")


def page(status: int, text: str = "", csrf_token: str = "") -> HttpResponse:
    """The HTML page for an error; `text` replaces what it says by default. With a CSRF token, users can log out."""
    context = {
        "status": status,
        "title": TITLES[status],
        "text": text or TEXTS[status],
        "style": mark_safe(STYLE),  # noqa: S308
        "csrf_token": csrf_token,
    }
    content = loader.get_template("error.html").render(context)
    return HttpResponse(content, status=status, headers={"Content-Security-Policy": POLICY})


def answer(request: HttpRequest, status: int, text: str = "") -> HttpResponse:
    """The page or the JSON, as the client accepts."""
    response = page(status, text) if wants_html(request) else JsonResponse({"error": ERRORS[status]}, status=status)
    patch_vary_headers(response, ["Accept"])
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400, for an unknown Host header among others."""
    return answer(request, 400)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler403: says why, where the view did, and lets users log out."""
    if not (wants_html(request) and request.user.is_authenticated):
        return answer(request, 403)
    response = page(403, str(exception), get_token(request))
    patch_vary_headers(response, ["Accept"])
    return response


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    return answer(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500."""
    return answer(request, 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """settings.CSRF_FAILURE_VIEW."""
    return answer(request, 403, EXPIRED_FORM)


def locked_out(request: HttpRequest, original: HttpResponse | None, credentials: Any) -> HttpResponse:
    """AXES_LOCKOUT_CALLABLE: after too many failed logins for an account or from an address."""
    minutes = max(settings.LOGIN_LOCK_MINUTES, settings.LOGIN_ADDRESS_MINUTES)
    response = answer(request, 429, LOCKED_OUT.format(minutes=minutes))
    response.headers["Retry-After"] = str(minutes * 60)
    return response


def busy(request: HttpRequest) -> HttpResponse:
    """For a request that would have cost too much at this moment; nothing was done."""
    response = answer(request, 503)
    response.headers["Retry-After"] = "1"
    return response


class NotFoundPages:
    """Middleware for what views raise: 404 with DEBUG too, where Django would list all routes, and 503."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Any) -> HttpResponse | None:
        if isinstance(exception, Busy):
            return busy(request)
        return answer(request, 404) if isinstance(exception, Http404) else None
