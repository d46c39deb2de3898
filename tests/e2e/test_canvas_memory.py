"""An hour of work leaves nothing in the browser's memory, here shortened: hundreds of events, and panels and menus that
were opened and closed."""

from uuid import uuid4

from playwright.sync_api import CDPSession, Page, expect

from tests.e2e.stack import Agent, Platform
from tests.e2e.test_canvas_page import card, open_canvas, placed_agent
from tests.e2e.test_canvas_panel import tab

BEATS = 300
ROUNDS = 5
MOST_GROWN = 1_000_000
"""Bytes of the heap: compiled code, and what the browser keeps of requests."""


def beats(page: Page, agent: Agent, count: int) -> None:
    """Each is an event on the page, which shows the last one."""
    for number in range(count):
        assert agent.beat(active_tasks=number % 7, current_task=f"Task {number} of {count}").is_success
    expect(card(page, agent.id).locator(".card-task")).to_have_text(f"Task {count - 1} of {count}")


def open_and_close(page: Page, agent: Agent, rounds: int) -> None:
    for _ in range(rounds):
        card(page, agent.id).click()
        for label in ("Activity", "Events", "Overview"):
            tab(page, label).click()
            expect(page.locator("#panel-body").get_by_text("Loading…")).to_have_count(0)
        page.keyboard.press("Escape")
        page.keyboard.press("m")
        page.keyboard.press("Escape")


def counted(session: CDPSession) -> dict[str, float]:
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return {name: metrics[name] for name in ("JSEventListeners", "Nodes", "JSHeapUsedSize")}


def test_events_and_panels_leave_nothing_behind(page: Page, platform: Platform):
    agent = placed_agent(platform, f"Busy {uuid4().hex[:8]}")
    open_canvas(page, platform)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    beats(page, agent, BEATS)
    open_and_close(page, agent, 2)
    before = counted(session)
    beats(page, agent, BEATS)
    open_and_close(page, agent, ROUNDS)
    after = counted(session)
    assert after["JSEventListeners"] <= before["JSEventListeners"], (before, after)
    assert after["Nodes"] <= before["Nodes"] + ROUNDS, (before, after)
    assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] + MOST_GROWN, (before, after)
