"""The canvas page says within ten seconds that nothing arrives any more, and comes back by itself."""

import re
from contextlib import AbstractContextManager
from dataclasses import replace
from uuid import uuid4

from playwright.sync_api import Page, expect

from tests.e2e.freezing_proxy import freezing_proxy
from tests.e2e.stack import Platform, stopped
from tests.e2e.test_canvas_page import card, open_canvas, placed

# The page's promise, so not the usual longer limit.
NOTICED_MS = 10_000
# The page waits up to 30 s between two attempts.
BACK_MS = 45_000


def expect_outage(page: Page, workspace_id: str, outage: AbstractContextManager[None]) -> None:
    """The page shows the outage while it lasts, with the last known state, and then is live again."""
    with outage:
        expect(page.locator("#banner")).to_be_visible(timeout=NOTICED_MS)
        expect(page.locator("#connection-word")).to_have_text(re.compile("^reconnecting"))
        expect(card(page, workspace_id)).to_be_visible()
    expect(page.locator("#connection-word")).to_have_text("live", timeout=BACK_MS)
    expect(page.locator("#banner")).to_be_hidden()


def test_a_hung_server_is_noticed(page: Page, platform: Platform):
    agent = platform.agent(f"Hung {uuid4().hex[:8]}")
    open_canvas(page, platform)
    expect_outage(page, agent.id, stopped(platform.web.pid))


def test_what_cannot_be_loaded_says_so_and_can_be_tried_again(page: Page, platform: Platform):
    workspace = placed(platform, f"Cut {uuid4().hex[:8]}")
    open_canvas(page, platform, f"?ws={workspace}")
    expect(page.locator("#panel-name")).to_be_visible()
    modules = re.compile("/(creating|bundles|palette).js")
    page.route(modules, lambda route: route.abort())
    failed = page.locator(".toast", has_text="Nothing was done: the server cannot be reached.")
    for key in "n/":
        page.keyboard.press(key)
        failed.get_by_role("button", name="Dismiss").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("#panel-actions").click()
    page.get_by_role("menuitem", name="Duplicate…").click()
    failed.get_by_role("button", name="Dismiss").click()
    page.unroute(modules)
    page.locator("#panel-actions").click()
    page.get_by_role("menuitem", name="Duplicate…").click()
    expect(page.get_by_role("dialog")).to_contain_text("Files, settings and models are copied")


def test_a_frozen_proxy_is_noticed(page: Page, platform: Platform):
    agent = platform.agent(f"Frozen {uuid4().hex[:8]}")
    with freezing_proxy(int(platform.port)) as proxy:
        open_canvas(page, replace(platform, url=f"http://127.0.0.1:{proxy.own_port}"))
        expect_outage(page, agent.id, proxy.frozen())
        assert agent.beat(current_task="After the thaw").is_success
        expect(card(page, agent.id).locator(".card-task")).to_have_text("After the thaw")
