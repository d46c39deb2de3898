"""Every page of the admin, in light and dark, wide and narrow: what axe-core finds, violations of the content security
policy, errors of scripts, whether the page scrolls sideways, and values and labels that cannot be seen."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.e2e.conftest import log_in
from tests.e2e.stack import Platform, manage, running_platform

LOOKS = [("light", 1440), ("dark", 768), ("dark", 390), ("light", 390)]
RUN_AXE = """async (onlyContrast) => {
  const options = { resultTypes: ["violations"] };
  if (onlyContrast) options.runOnly = ["color-contrast"];
  const { violations } = await axe.run(document, options);
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).map(({ id, nodes }) => [
    id, nodes.slice(0, 3).map(({ target, any }) => `${target} ${any[0]?.message ?? ""}`),
  ]);
}"""
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
WIDEST = """[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
  .slice(0, 3).map((one) => `${one.tagName}.${one.className}`)"""
# Narrow tables are cards, where no header says what a value is.
UNLABELLED = """[...document.querySelectorAll('table.labelled td:not([data-label])')]
  .filter((cell) => cell.textContent.trim() && !cell.querySelector('form, button, a.button')).slice(0, 3)
  .map((cell) => `${cell.closest('table').className}: ${cell.textContent.trim().slice(0, 40)}`)"""
# Buttons whose text is cut off, or runs over more than two lines.
CUT = """[...document.querySelectorAll('.button, .quiet-button, .chip, .badge, .tabs a')]
  .filter((one) => one.checkVisibility() && (one.scrollWidth > one.clientWidth + 1 || one.clientHeight > 90))
  .slice(0, 3).map((one) => `${one.className}: ${one.textContent.trim().slice(0, 40)}`)"""
# Not for everybody, or not by this method. One page of each status is looked at.
REFUSALS = {403, 404, 405}
# Parts of a page that are shown when somebody opens them.
OPENED = {
    "palette": "document.getElementById('find').click()",
    "keys": "document.querySelector('[data-shows-keys]').click()",
    "account menu": "document.getElementById('account').showPopover()",
    "navigation": "document.getElementById('navigation').showPopover()",
}

Problems = dict[str, list[Any]]


@pytest.fixture(scope="module")
def furnished() -> Iterator[tuple[Platform, dict[str, str]]]:
    """A platform with something on every page, and the addresses of all pages."""
    with running_platform() as running:
        script = "from tests.e2e import admin_pages; admin_pages.main()"
        yield running, json.loads(manage(running.environment, "shell", "-v0", "-c", script))


@pytest.fixture(scope="module")
def context(furnished: tuple[Platform, dict[str, str]], browser: Browser) -> Iterator[BrowserContext]:
    """Signed in."""
    platform, _pages = furnished
    opened = browser.new_context()
    log_in(platform, opened.new_page())
    yield opened
    opened.close()


def looked_at(page: Page, name: str) -> Problems:
    """What is wrong with the page that is open. It is rendered four times, and loaded once."""
    page.evaluate(AXE_SCRIPT)
    found: Problems = {}
    for number, (theme, width) in enumerate(LOOKS):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("document.getAnimations().forEach((one) => one.finish())")
        # What is there, and its names, does not depend on the theme.
        problems = page.evaluate(RUN_AXE, number % 2 == 1)
        wanted, had = page.evaluate(WIDTHS)
        if wanted > had:
            problems.append(["scrolls sideways", page.evaluate(WIDEST)])
        for what, script in (("values without a label", UNLABELLED), ("cut off", CUT)):
            if shown := page.evaluate(script):
                problems.append([what, shown])
        if problems:
            found[f"{name}, {theme}, {width} px"] = problems
    return found


def watched(context: BrowserContext, errors: list[str]) -> Page:
    """A page whose errors, those of the content security policy included, are added to the list."""

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(message.text)

    page = context.new_page()
    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return page


def fetched(context: BrowserContext, url: str) -> httpx.Response:
    """With the browser's session, on a connection of its own: the server closes idle ones."""
    cookies = {cookie["name"]: cookie["value"] for cookie in context.cookies()}
    return httpx.get(url, cookies=cookies, follow_redirects=True, timeout=60)


def is_page(response: httpx.Response) -> bool:
    """Exports are downloads, and where only POST is allowed there is no page."""
    return response.headers.get("content-type", "").startswith("text/html") and bool(response.content)


def test_every_page_of_the_admin(furnished: tuple[Platform, dict[str, str]], context: BrowserContext):
    platform, addresses = furnished
    found: Problems = {}
    errors: list[str] = []
    page, refused, shown = watched(context, errors), set[int](), 0
    for name, address in addresses.items():
        response = fetched(context, platform.url + address)
        status = response.status_code
        assert status == 200 or status in REFUSALS, f"{name}: {status}"
        if not is_page(response) or status in refused:
            continue
        if status in REFUSALS:
            refused.add(status)
        shown += status == 200
        page.goto(platform.url + address)
        # Before axe-core, which tries inline styles itself.
        if errors:
            found[f"{name}: errors"] = list(errors)
        found |= looked_at(page, name)
        errors.clear()
    page.close()
    assert found == {}
    assert shown > 40


def test_what_opens_on_a_page(furnished: tuple[Platform, dict[str, str]], context: BrowserContext):
    platform, addresses = furnished
    found: Problems = {}
    page = context.new_page()
    for name, opens in OPENED.items():
        page.set_viewport_size({"width": 390, "height": 900})
        page.goto(platform.url + addresses["registry_workspace_change"])
        page.locator("[data-shows-keys]").wait_for(state="attached")
        page.wait_for_function("!document.getElementById('find').hidden")
        page.evaluate(opens)
        found |= looked_at(page, name)
    page.close()
    assert found == {}


def test_pages_without_an_account(furnished: tuple[Platform, dict[str, str]], browser: Browser):
    """The login with an error on it, the page after too many, and an unknown address."""
    platform, _addresses = furnished
    found: Problems = {}
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{platform.url}/nowhere")
    found |= looked_at(page, "unknown address")
    page.goto(f"{platform.url}/admin/login/")
    found |= looked_at(page, "login")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        page.fill("[name=username]", "nobody")
        page.fill("[name=password]", "wrong")
        with page.expect_navigation() as navigation:
            page.click("[type=submit]")
        if navigation.value.status == 429:
            break
        found |= {} if found else looked_at(page, "login with an error")
    found |= looked_at(page, "locked out")
    context.close()
    assert found == {}
