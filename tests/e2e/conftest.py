"""Real processes, real sockets, a real browser."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.e2e.stack import Platform, manage, running_platform

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# The tests share two cores with others: what a browser shows in half a second may take ten.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One platform for all tests that can share it, with the default lease."""
    with running_platform() as running:
        yield running


# Not for the session: while it runs, Playwright's own event loop keeps asyncio tests from theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(platform: Platform, browser: Browser) -> Iterator[Page]:
    """Signed in. An error in the browser's console fails the test."""
    yield from signed_in(platform, browser)


@pytest.fixture(scope="module")
def alone() -> Iterator[Platform]:
    """A platform of the module's own: nobody else changes its counts or misses its processes."""
    with running_platform() as running:
        yield running


@pytest.fixture
def viewer(platform: Platform) -> Platform:
    """The platform with the name and password of a user with read-only access."""
    return with_user(platform, "view_workspace")


def with_user(platform: Platform, *permissions: str) -> Platform:
    """The platform with the name and password of a new user with staff status and these permissions."""
    name, password = f"user-{uuid4().hex[:8]}", uuid4().hex
    script = (
        "from django.contrib.auth.models import Permission, User\n"
        f"user = User.objects.create_user('{name}', '', '{password}', is_staff=True)\n"
        f"user.user_permissions.set(Permission.objects.filter(codename__in={permissions!r}))"
    )
    manage(platform.environment, "shell", "-v0", "-c", script)
    return replace(platform, username=name, password=password)


@pytest.fixture
def viewer_page(viewer: Platform, browser: Browser) -> Iterator[Page]:
    """Signed in as a user with read-only access."""
    yield from signed_in(viewer, browser)


def signed_in(platform: Platform, browser: Browser, **options: Any) -> Iterator[Page]:
    """`options` are those of the browser's context."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, **options)
    sign_in(platform, context)
    page = context.new_page()
    errors: list[str] = []
    page.goto(f"{platform.url}/health")
    page.on("console", lambda message: _keep(errors, message))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors, errors


def sign_in(platform: Platform, context: BrowserContext) -> None:
    """Gives the browser a session of its own. The first of a user is a login; its copies need no hash of a password."""
    user = (str(platform.state), platform.username, platform.password)
    with psycopg.connect(platform.environment["DATABASE_URL"], autocommit=True) as database:
        if user in _logins:
            cookies, row = _logins[user]
            key = secrets.token_hex(16)
            database.execute("INSERT INTO django_session VALUES (%s, %s, %s)", [key, *row])
            context.add_cookies([one | ({"value": key} if one["name"] == "sessionid" else {}) for one in cookies])
            return
        log_in(platform, context.new_page())
        cookies = [dict(one) for one in context.cookies()]
        [key] = [one["value"] for one in cookies if one["name"] == "sessionid"]
        query = "SELECT session_data, expire_date FROM django_session WHERE session_key = %s"
        _logins[user] = cookies, database.execute(query, [key]).fetchone()


_logins: dict[tuple[str, str, str], tuple[list[Any], Any]] = {}


def log_in(platform: Platform, page: Page) -> None:
    """With the form, in a page that is closed then."""
    page.goto(f"{platform.url}/admin/login/?next=/health")
    page.fill("[name=username]", platform.username)
    page.fill("[name=password]", platform.password)
    page.click("[type=submit]")
    page.wait_for_url(f"{platform.url}/health")
    page.close()


def _keep(errors: list[str], message: ConsoleMessage) -> None:
    """Failed requests and sockets are left out: tests cause them on purpose."""
    if message.type == "error" and not message.text.startswith(("Failed to load resource", "WebSocket connection to")):
        where = urlsplit(message.location.get("url", "")).path
        errors.append(f"{message.text} ({where})")
