"""Logins with a password: limits for failures, known browsers, and a queue for the hashing of passwords.

django-axes counts the failures in PostgreSQL. They lock an account for one address, and an address for all accounts. A
browser in which the user signed in before is counted separately, so that others at its address cannot lock it out.
"""

import ipaddress
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from axes.backends import AxesStandaloneBackend
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from registry.exceptions import Busy
from registry.identity import addresses

KNOWN_BROWSER = "known_browser_"
KNOWN_BROWSER_DAYS = 365
SALT = "registry.identity.known_browser"
# Hashing a password takes half a second. A request that waits longer than a few of them gets 503.
MAX_WAIT_SECONDS = 5.0
TOO_MANY_PASSWORDS = "too many passwords at once, try again"


def address_of(request: HttpRequest) -> str | None:
    """AXES_CLIENT_IP_CALLABLE: the address that rate limits use; None when it is unknown."""
    try:
        return str(ipaddress.ip_address(addresses.of_request(request)))
    except ValueError:
        return None


def account_of(request: HttpRequest, credentials: dict[str, Any] | None) -> str | None:
    """AXES_USERNAME_CALLABLE: the name under which failures count. A known browser has a name of its own."""
    username: str | None = (credentials or request.POST).get("username")
    browser = known_browser(request, username) if username else None
    return f"{username} in browser {browser}" if browser else username


def known_browser(request: HttpRequest, username: str) -> str | None:
    """The id in the cookie that the browser got when this user signed in with it; None without one."""
    signer = signing.TimestampSigner(salt=SALT)
    for name in request.COOKIES:
        if not name.startswith(KNOWN_BROWSER):
            continue
        try:
            value = signer.unsign(request.COOKIES[name], max_age=timedelta(days=KNOWN_BROWSER_DAYS))
        except signing.BadSignature:
            continue
        user_id, _, browser = value.partition(".")
        if User.objects.filter(pk=user_id, username=username).exists():
            return browser
    return None


def remember_browser(request: HttpRequest, response: HttpResponse) -> None:
    """Set the cookie of known_browser(), as the user has just signed in."""
    user = request.user
    if not user.is_authenticated or known_browser(request, user.get_username()):
        return
    value = signing.TimestampSigner(salt=SALT).sign(f"{user.pk}.{secrets.token_hex(8)}")
    response.set_cookie(
        f"{KNOWN_BROWSER}{user.pk}",
        value,
        max_age=timedelta(days=KNOWN_BROWSER_DAYS),
        path=reverse("admin:login"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


class LoginGuard(AxesStandaloneBackend):  # type: ignore[misc]  # has no types
    """The first of AUTHENTICATION_BACKENDS: passwords for a locked account or address are not checked."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> None:
        """Raises PermissionDenied; the middleware of axes then answers with AXES_LOCKOUT_CALLABLE."""
        if request is not None and username and _is_locked_by_address(request, username):
            request.axes_locked_out = True  # type: ignore[attr-defined]
            raise PermissionDenied("too many failed logins from this address")
        super().authenticate(request, username=username, password=password, **kwargs)


def _is_locked_by_address(request: HttpRequest, username: str) -> bool:
    address = address_of(request)
    if address is None or known_browser(request, username) is not None:
        return False
    # The clock by which axes dates the attempts.
    since = timezone.now() - timedelta(minutes=settings.LOGIN_ADDRESS_MINUTES)  # noqa: TID251
    recent = AccessAttempt.objects.filter(ip_address=address, attempt_time__gte=since)
    failures = recent.aggregate(total=Sum("failures_since_start"))["total"] or 0
    return bool(failures >= settings.LOGIN_ADDRESS_FAILURES)


class HashingQueue:
    """Admits one thread at a time; LOGIN_QUEUE more may wait, each for MAX_WAIT_SECONDS."""

    def __init__(self) -> None:
        self.places = threading.Semaphore(1 + settings.LOGIN_QUEUE)
        self.turn = threading.Lock()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold the turn during the block. Raises Busy."""
        if not self.places.acquire(blocking=False):
            raise Busy(TOO_MANY_PASSWORDS)
        try:
            if not self.turn.acquire(timeout=MAX_WAIT_SECONDS):
                raise Busy(TOO_MANY_PASSWORDS)
            try:
                yield
            finally:
                self.turn.release()
        finally:
            self.places.release()


HASHING = HashingQueue()


class SerialPBKDF2PasswordHasher(PBKDF2PasswordHasher):
    """Django's hasher, but one password at a time, so that hashing uses at most one core of the machine."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Raises Busy."""
        with HASHING.take():
            return super().encode(password, salt, iterations)
