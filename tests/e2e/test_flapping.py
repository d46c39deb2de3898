"""Flapping, seen live: an agent that dies again and again is marked on the canvas, and calm after a while."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.stack import Agent, Platform, running_platform, until
from tests.e2e.test_canvas_page import card, open_canvas

RULE = "offline more than 1 time in 0.2 minutes"


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running_platform(LEASE_SECONDS="1", FLAPPING_TIMES="1", FLAPPING_MINUTES="0.2") as running:
        yield running


def die(platform: Platform, agent: Agent) -> None:
    assert agent.beat().status_code == 200
    until(lambda: platform.status(agent.id) == "offline", "the agent to be offline")


def test_who_dies_again_and_again_is_marked_and_calm_after_a_while(page: Page, platform: Platform) -> None:
    parent = platform.agent("Lead")
    agent = platform.agent("Flaky", parent_id=parent.id)
    open_canvas(page, platform)
    own, team = card(page, agent.id).locator(".card-flapping"), card(page, parent.id).locator("> .team .below")
    die(platform, agent)
    expect(own).to_be_hidden()
    die(platform, agent)
    agent.beat()
    expect(own).to_have_text(f"flapping {RULE}", use_inner_text=True)
    expect(own).to_have_attribute("title", re.compile(f"^Flapping: {RULE}; until "))
    expect(team).to_contain_text("1 flapping")
    expect(page.locator("#counts")).to_contain_text("1 flapping")
    expect(own).to_be_hidden(timeout=20_000)
    expect(team).not_to_contain_text("flapping")
    expect(page.locator("#counts")).not_to_contain_text("flapping")
