"""The tab of the canvas says how many workspaces need somebody."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import Platform, until


@pytest.fixture
def page(alone: Platform, browser: Browser) -> Iterator[Page]:
    yield from signed_in(alone, browser)


def test_the_title_of_the_canvas_follows_what_happens(page: Page, alone: Platform) -> None:
    def count() -> int:
        return int(alone.api.get("/attention").json()["count"])

    agent = alone.agent("Calls fail")
    agent.beat(error_rate=0)
    before = alone.api.get("/overview").json()["attention"]["count"]
    until(lambda: count() == before, "the count to be up to date")
    icon = page.locator("link[rel=icon]")
    page.goto(alone.url)
    expect(page).to_have_title(f"({before}) Molecule" if before else "Molecule")
    plain = icon.get_attribute("href") or ""
    agent.beat(error_rate=0.9)
    expect(page).to_have_title(f"({before + 1}) Molecule")
    expect(icon).to_have_attribute("href", re.compile("^data:image/png"))
    with_number = icon.get_attribute("href") or ""
    page.goto(f"{alone.url}/admin/registry/workspace/")
    expect(page).to_have_title(f"({before + 1}) Workspaces · Molecule")
    expect(icon).to_have_attribute("href", with_number)
    agent.beat(error_rate=0)
    page.goto(alone.url)
    expect(page).to_have_title(f"({before}) Molecule" if before else "Molecule")
    expect(icon).to_have_attribute("href", plain)
