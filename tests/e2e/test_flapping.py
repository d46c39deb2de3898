"""Flapping on the canvas: an agent that goes offline repeatedly is marked, and unmarked after a while."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.stack import Agent, Platform, running_platform, until
from tests.e2e.test_canvas_page import card, open_canvas

RULE = "offline more than 1 time in 0.5 minutes"
# The web process has served for a whole lease, so leases can end.
SERVED_FOR_LONG = "UPDATE loop_ticks SET since = since - interval '1 day' WHERE name = 'web'"
END_LEASE = "UPDATE workspaces SET lease_expires_at = now() WHERE id = %s"


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    with running_platform(FLAPPING_TIMES="1", FLAPPING_MINUTES="0.5") as running:
        yield running


def go_offline(platform: Platform, agent: Agent) -> None:
    assert agent.beat().status_code == 200
    with psycopg.connect(platform.environment["DATABASE_URL"]) as database:
        database.execute(SERVED_FOR_LONG)
        database.execute(END_LEASE, [agent.id])
    until(lambda: platform.status(agent.id) == "offline", "the agent to be offline")


def test_an_agent_that_goes_offline_repeatedly_is_marked_for_a_while(page: Page, platform: Platform) -> None:
    parent = platform.agent("Lead")
    agent = platform.agent("Flaky", parent_id=parent.id)
    open_canvas(page, platform)
    own, team = card(page, agent.id).locator(".card-flapping"), card(page, parent.id).locator("> .team .below")
    go_offline(platform, agent)
    expect(own).to_be_hidden()
    go_offline(platform, agent)
    agent.beat()
    expect(own).to_have_text(f"Flapping {RULE}", use_inner_text=True)
    expect(own).to_have_attribute("title", re.compile(f"^Flapping: {RULE}; until "))
    expect(team).to_contain_text("1 flapping")
    expect(page.locator("#counts")).to_contain_text("1 flapping")
    expect(own).to_be_hidden(timeout=60_000)
    expect(team).not_to_contain_text("flapping")
    expect(page.locator("#counts")).not_to_contain_text("flapping")
