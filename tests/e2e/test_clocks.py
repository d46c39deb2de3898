"""Times in a real browser whose zone or clock differs from the server's."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import Platform
from tests.e2e.test_canvas_page import card, open_canvas, placed_agent

# In Berlin both are 02:30:00.
SUMMER, WINTER = "2026-10-25T00:30:00.000000Z", "2026-10-25T01:30:00.000000Z"
# The browser's clock is an hour fast.
FAST = """
const Right = Date;
const fast = () => Right.now() + 3600000;
Date = class extends Right {
  constructor(...values) {
    values.length ? super(...values) : super(fast());
  }
  static now() {
    return fast();
  }
};
"""
SECONDS_AGO = re.compile(r"^\d+ s ago$")


@pytest.fixture
def berlin_page(platform: Platform, browser: Browser) -> Iterator[Page]:
    yield from signed_in(platform, browser, timezone_id="Europe/Berlin")


def test_the_hour_that_comes_twice_is_told_apart(berlin_page: Page, platform: Platform):
    page = berlin_page
    agent = placed_agent(platform, f"Clock {uuid4().hex[:8]}")
    agent.beat()

    def at_the_end_of_summer_time(route: Route) -> None:
        answer = route.fetch()
        [last, *others] = answer.json()
        rows = [last | {"created_at": WINTER}, *(row | {"created_at": SUMMER} for row in others)]
        route.fulfill(response=answer, json=rows)

    page.route("**/events?limit=*", at_the_end_of_summer_time)
    open_canvas(page, platform)
    expect(card(page, agent.id).locator(".beat")).to_have_attribute("title", re.compile(r"GMT\+\d \(.+T.+Z\)$"))
    expect(page.locator("#updated")).to_have_attribute("title", re.compile(r"GMT\+\d \(.+T.+Z\)$"))
    page.keyboard.press("h")
    expect(page.locator("#oldest")).to_have_text(re.compile(r"2:30:00.AM GMT\+2"))
    for offset, iso in ((1, WINTER), (2, SUMMER)):
        page.keyboard.press("ArrowLeft")
        text = re.compile(rf"2:30:00.AM GMT\+{offset}")
        tooltip = re.compile(re.escape(iso[:19]))
        for shown in ("#moment", "#past-when"):
            expect(page.locator(shown)).to_have_text(text)
        for timed in ("#moment", "#moment-age", "#past-when", "#past-age"):
            expect(page.locator(timed)).to_have_attribute("title", tooltip)
        expect(page.get_by_role("slider", name="Moment")).to_have_attribute("aria-valuetext", text)


def test_ages_on_the_canvas_are_right_where_the_web_process_has_a_wrong_clock(page: Page, platform: Platform):
    """Its clock is in the header Date; beats have the database's time."""
    agent = placed_agent(platform, f"Clock {uuid4().hex[:8]}")

    def an_hour_behind(route: Route) -> None:
        answer = route.fetch()
        behind = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
        route.fulfill(response=answer, headers={**answer.headers, "date": behind})

    page.route("**/workspaces", an_hour_behind)
    open_canvas(page, platform)
    assert agent.beat().is_success
    expect(card(page, agent.id).locator(".beat")).to_have_text(SECONDS_AGO)


def test_ages_are_by_the_servers_clock_on_the_canvas_and_in_the_admin(page: Page, platform: Platform):
    agent = placed_agent(platform, f"Clock {uuid4().hex[:8]}")
    page.add_init_script(FAST)
    open_canvas(page, platform)
    assert agent.beat().is_success
    expect(card(page, agent.id).locator(".beat")).to_have_text(SECONDS_AGO)
    page.goto(f"{platform.url}/admin/registry/workspace/?q={agent.id}")
    assert agent.beat().is_success
    page.reload()
    age = page.locator("#result_list time[data-relative]").first
    before = age.text_content() or ""
    expect(age).not_to_have_text(before)
    expect(age).to_have_text(SECONDS_AGO)
