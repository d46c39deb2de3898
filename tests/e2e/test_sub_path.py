"""Production settings below https://…/molecule/, behind proxies that keep the prefix and that remove it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Response, expect

from tests.e2e.proxies import CADDY_SUB_PATH, Proxy, below_sub_path, caddy, nginx
from tests.e2e.stack import Platform, manage, running_platform

PREFIX = "/molecule"
# Cookies of another Django application at the root of the site: name and path.
OTHERS = [("csrftoken", "/"), ("sessionid", "/")]
PRODUCTION = {
    "DEBUG": "false",
    "ALLOWED_HOSTS": "127.0.0.1",
    "FORCE_SCRIPT_NAME": "/molecule/",
    "PROXY_SCHEME": "true",
    "PROXY_ADDRESSES": "1",
}


@pytest.fixture(scope="module")
def production() -> Iterator[Platform]:
    manage({**os.environ, **PRODUCTION}, "collectstatic", "--no-input")
    with running_platform(**PRODUCTION) as platform:
        yield platform


PROXIES = {
    "nginx keeps the prefix": (nginx, below_sub_path(is_removed=False)),
    "nginx removes the prefix": (nginx, below_sub_path(is_removed=True)),
    "caddy keeps the prefix": (caddy, CADDY_SUB_PATH),
    "caddy removes the prefix": (caddy, CADDY_SUB_PATH.replace("handle ", "handle_path ")),
}


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, production: Platform, tmp_path: Path) -> Iterator[Proxy]:
    run, site = PROXIES[request.param]
    with run(tmp_path, production.url, site) as running:
        yield running


@pytest.fixture
def api(production: Platform, proxy: Proxy) -> Iterator[httpx.Client]:
    with proxy.client(headers={"Authorization": f"Bearer {production.operator_token}"}) as client:
        yield client


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, ignore_https_errors=True)
    yield context
    context.close()


class Visits:
    """What a page has requested: paths outside the prefix, and answers that are errors."""

    def __init__(self, page: Page) -> None:
        self.outside: list[str] = []
        self.failed: list[tuple[int, str]] = []
        page.on("request", self._requested)
        page.on("websocket", lambda socket: self._keep(socket.url))
        page.on("response", self._answered)

    def _requested(self, request: Request) -> None:
        self._keep(request.url)

    def _keep(self, url: str) -> None:
        path = urlsplit(url).path
        if not f"{path}/".startswith(f"{PREFIX}/"):
            self.outside.append(url)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.failed.append((response.status, response.url))


def log_in(page: Page, platform: Platform) -> None:
    page.fill("[name=username]", platform.username)
    page.fill("[name=password]", platform.password)
    page.click("[type=submit]")


def path_of(page: Page) -> str:
    return urlsplit(page.url).path


def test_a_browser_stays_below_the_prefix(
    production: Platform, proxy: Proxy, api: httpx.Client, context: BrowserContext
) -> None:
    host = urlsplit(proxy.url).hostname or ""
    context.add_cookies([{"name": name, "value": "x", "domain": host, "path": path} for name, path in OTHERS])
    page = context.new_page()
    visits = Visits(page)
    page.goto(f"{proxy.url}{PREFIX}/")
    assert page.url == f"{proxy.url}{PREFIX}/admin/login/?next={PREFIX}/"
    sheets = page.evaluate("[...document.styleSheets].map((sheet) => sheet.cssRules.length)")
    assert sheets, "the login page has style sheets"
    assert all(sheets), "and they are loaded"

    log_in(page, production)
    page.wait_for_url(f"{proxy.url}{PREFIX}/")
    expect(page.locator("#connection-word")).to_have_text("live")
    name = f"Made by REST {uuid4().hex[:8]}"
    created = api.post(f"{PREFIX}/workspaces", json={"name": name})
    assert created.status_code == 201, created.text
    link = page.locator(".card-name", has_text=name)
    expect(link).to_be_visible()

    page.goto(f"{proxy.url}{PREFIX}/admin/registry/workspace/{created.json()['id']}/settings/")
    page.fill("[name=role]", "A role")
    with page.expect_response(lambda answer: answer.request.method == "POST") as saved:
        page.click("[name=_save]")
    cookies = {(cookie["name"], cookie["path"]) for cookie in context.cookies()}
    assert cookies >= {("csrftoken_molecule", PREFIX), ("sessionid_molecule", PREFIX)}
    assert {cookie for cookie in cookies if not cookie[1].startswith(PREFIX)} == set(OTHERS)
    assert "messages=" not in (saved.value.header_value("set-cookie") or ""), "messages are in the session"
    expect(page.locator(".messagelist")).to_contain_text("Saved the settings of")
    page.get_by_role("link", name="Canvas").first.click()
    expect(page.locator("#connection-word")).to_have_text("live")
    page.goto(f"{proxy.url}{PREFIX}/api/docs")
    page.locator("header a").first.click()
    expect(page.locator("#connection-word")).to_have_text("live")

    page.click("#menu")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{proxy.url}{PREFIX}/admin/logout/")
    page.get_by_role("link", name="Log in again").click()
    log_in(page, production)
    page.wait_for_url(f"{proxy.url}{PREFIX}/admin/")
    assert visits.outside == []
    assert visits.failed == []


def test_changes_on_the_canvas_are_saved(
    production: Platform, proxy: Proxy, api: httpx.Client, context: BrowserContext
) -> None:
    """They need the CSRF cookie, which has a path of its own."""
    page = context.new_page()
    page.goto(f"{proxy.url}{PREFIX}/admin/login/?next={PREFIX}/")
    log_in(page, production)
    expect(page.locator("#connection-word")).to_have_text("live")
    with page.expect_response(lambda answer: answer.request.method == "PUT") as saved:
        page.click("#zoom-out")
    assert (saved.value.status, urlsplit(saved.value.url).path) == (200, f"{PREFIX}/canvas/viewport")


def test_addresses_in_answers_have_the_prefix(production: Platform, proxy: Proxy, api: httpx.Client) -> None:
    for name in ("one", "two"):
        production.create(name)
    assert api.get(f"{PREFIX}/workspaces?limit=1").headers["Link"].startswith(f"<{PREFIX}/workspaces?")
    assert api.get(f"{PREFIX}/admin").headers["Location"] == f"{PREFIX}/admin/"
    assert api.get(f"{PREFIX}/favicon.ico").headers["Location"].startswith(f"{PREFIX}/static/")
    connection = api.post(f"{PREFIX}/workspaces", json={"name": "three", "runtime": "external"}).json()["connection"]
    assert connection["platform_url"] == f"{proxy.url}{PREFIX}"
    assert connection["heartbeat_endpoint"] == f"{proxy.url}{PREFIX}/registry/heartbeat"
    assert api.get(f"{PREFIX}/api/schema").json()["servers"] == [{"url": PREFIX}]
    page = api.get(f"{PREFIX}/nothing", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert f'href="{PREFIX}/admin/"' in page.text
    assert 'href="/admin' not in page.text


def test_a_forwarded_workspace_is_found_below_the_prefix(production: Platform, proxy: Proxy, api: httpx.Client) -> None:
    old, new = production.create("old")["id"], production.create("new")["id"]
    assert api.delete(f"{PREFIX}/workspaces/{old}?confirm=true&forward_to={new}").status_code == 200
    answer = api.get(f"{PREFIX}/workspaces/{old}")
    assert (answer.status_code, answer.headers["Location"]) == (301, f"{PREFIX}/workspaces/{new}")


def test_agents_are_served_by_the_fast_path(production: Platform, proxy: Proxy) -> None:
    created = production.create("agent")
    registration = {"id": created["id"], "url": "remote://no-inbound", "agent_card": {"name": "agent"}}
    with proxy.client() as client:
        client.headers["Authorization"] = f"Bearer {created['enrolment_token']}"
        token = client.post(f"{PREFIX}/registry/register", json=registration).json()["auth_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        answers = [
            client.post(f"{PREFIX}/registry/heartbeat", json={"workspace_id": created["id"]}),
            client.get(f"{PREFIX}/registry/discover/{created['id']}"),
        ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert not any("content-security-policy" in answer.headers for answer in answers)


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_probes_are_answered_directly_with_and_without_the_prefix(production: Platform, prefix: str) -> None:
    direct: dict[str, Any] = {"headers": {"Host": "10.1.2.3:8000"}, "timeout": 20}
    assert httpx.get(f"{production.url}{prefix}/health", **direct).status_code == 200
    assert httpx.get(f"{production.url}{prefix}/health/ready", **direct).status_code == 200
    assert httpx.get(f"{production.url}{prefix}/metrics", **direct).status_code == 401


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_the_redirect_to_https_has_the_prefix(production: Platform, prefix: str) -> None:
    answer = httpx.get(f"{production.url}{prefix}/workspaces?limit=1")
    assert answer.headers["Location"] == f"{production.url.replace('http:', 'https:')}{PREFIX}/workspaces?limit=1"
