"""Something is wrong, and an operator sees it, finds it, reads why, acts, takes it back, and looks at when it began: by
mouse, by the keyboard alone, and by touch on a phone."""

import re
from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.stack import Agent, Platform
from tests.e2e.test_canvas_finding import phone as phone
from tests.e2e.test_canvas_page import card, open_canvas, placed
from tests.e2e.test_canvas_panel import body, expect_open, panel
from tests.e2e.test_timeline import banner

NAMED = r"\(\d+\) Molecule"


@pytest.fixture
def name() -> str:
    return f"Story {uuid4().hex[:8]}"


def begin(page: Page, platform: Platform, name: str) -> Agent:
    """An agent that was fine begins to fail while the page is open."""
    lead = placed(platform, name)
    agent = platform.agent(f"{name} clerk", parent_id=lead)
    agent.beat()
    open_canvas(page, platform, f"?q={name}")
    expect(card(page, agent.id)).to_have_attribute("data-status", "online")
    agent.beat(error_rate=0.9, sample_error="mail server is down")
    expect(card(page, agent.id)).to_have_attribute("data-status", "degraded")
    expect(page).to_have_title(re.compile(NAMED))
    return agent


def tell(page: Page, name: str, act: Callable[[Locator], None], past: Locator) -> None:
    """From the open panel on. `act` presses a button, chooses a tab or an entry; `past` leads back to live."""
    expect_open(page, f"{name} clerk")
    expect(panel(page).locator("#panel-word")).to_have_text("degraded")
    expect(panel(page).locator("#panel-why")).to_have_text("mail server is down")
    act(panel(page).get_by_role("button", name="Actions for"))
    act(page.get_by_role("menuitem", name="Pause"))
    expect(page.locator(".toast", has_text=f"Paused {name} clerk.")).to_be_visible()
    expect(panel(page).locator("#panel-why")).to_have_text("by op")
    act(page.locator(".toast").get_by_role("button", name="Resume"))
    expect(panel(page).locator("#panel-word")).to_have_text("awaiting agent")
    act(panel(page).get_by_role("tab", name="Events"))
    failing = body(page).locator("li", has_text=re.compile("degraded"))
    act(failing.first.get_by_role("link"))
    expect(banner(page)).to_be_visible()
    expect(panel(page).locator("#panel-word")).to_have_text("degraded")
    act(past.get_by_role("button", name="Back to live"))
    expect(panel(page).locator("#panel-word")).to_have_text("awaiting agent")


def test_the_story_by_mouse(page: Page, platform: Platform, name: str):
    agent = begin(page, platform, name)
    card(page, agent.id).click()
    tell(page, name, Locator.click, banner(page))


def test_the_story_by_the_keyboard_alone(page: Page, platform: Platform, name: str):
    begin(page, platform, name)
    page.keyboard.press("/")
    page.keyboard.type(f"{name} clerk")
    expect(page.get_by_role("option", name=f"{name} clerk").first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")

    def press(target: Locator) -> None:
        """Everything that is pressed can have the focus."""
        target.focus()
        expect(target).to_be_focused()
        page.keyboard.press("Enter")

    tell(page, name, press, banner(page))


def test_the_story_by_touch(phone: Page, platform: Platform, name: str):
    agent = begin(phone, platform, name)
    card(phone, agent.id).tap()
    tell(phone, name, Locator.tap, panel(phone))
