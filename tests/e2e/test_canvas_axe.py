"""What axe-core finds on the canvas page, and what scrolls sideways or is cut off: light and dark, wide and narrow."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.stack import Platform
from tests.e2e.test_canvas_page import open_canvas, placed
from tests.e2e.test_every_admin_page import Problems, looked_at
from tests.e2e.test_timeline import newest, open_past

STATES: dict[str, Callable[[Page, Platform, int], None]] = {
    "canvas": lambda page, platform, _: open_canvas(page, platform),
    "list": lambda page, platform, _: open_canvas(page, platform, "?view=list"),
    "past": open_past,
    "filter": lambda page, platform, _: open_filtered(page, platform),
    "search": lambda page, *_: page.keyboard.press("/"),
    "keys": lambda page, *_: page.keyboard.press("?"),
    "creating": lambda page, *_: page.keyboard.press("n"),
    "removing": lambda page, *_: choose(page, "Remove…"),
    "moving": lambda page, *_: choose(page, "Move to…"),
}
"""What is looked at; dialogs open on the page before."""


def open_filtered(page: Page, platform: Platform) -> None:
    open_canvas(page, platform, "?status=degraded&q=Looked+at")
    page.locator("#filter-button").click()


def choose(page: Page, entry: str) -> None:
    page.get_by_role("treeitem").first.press("m")
    page.get_by_role("menuitem", name=entry).click()
    expect(page.get_by_role("dialog")).to_be_visible()


@pytest.fixture
def seq(platform: Platform) -> int:
    """A moment at which there is a team with an agent that fails, one that is quiet, and one that is paused."""
    name = f"Looked at {uuid4().hex[:8]}"
    lead = placed(platform, name)
    for word, error_rate in (("failing", 0.9), ("quiet", 0.0)):
        platform.agent(f"{name} {word}", parent_id=lead, role="Answers letters").beat(
            error_rate=error_rate, current_task="Reads the post"
        )
    platform.api.post(f"/workspaces/{platform.create(f'{name} paused', parent_id=lead)['id']}/pause")
    return newest(platform, lead)


def test_nothing_serious_is_found(page: Page, platform: Platform, seq: int):
    problems: Problems = {}
    for state, show in STATES.items():
        if state in ("search", "keys", "creating", "removing", "moving"):
            open_canvas(page, platform)
        show(page, platform, seq)
        expect(page.locator("body")).to_have_attribute("data-state", "board")
        problems |= looked_at(page, state)
    assert not problems
