"""The panel of a workspace on the canvas page: how it opens and closes, what it shows, and that it stays live."""

import re
from uuid import uuid4

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Locator, Page, expect

from tests.e2e.stack import Platform
from tests.e2e.test_canvas_page import card, head, open_canvas, placed, placed_agent
from tests.e2e.test_every_admin_page import RUN_AXE


@pytest.fixture
def name() -> str:
    """Unique, because the platform is shared."""
    return f"Team {uuid4().hex[:8]}"


def panel(page: Page) -> Locator:
    return page.locator("#panel")


def tab(page: Page, label: str) -> Locator:
    return panel(page).get_by_role("tab", name=label)


def body(page: Page) -> Locator:
    return panel(page).get_by_role("tabpanel")


def fact(page: Page, label: str) -> Locator:
    return body(page).locator(".facts > div", has=page.get_by_text(label, exact=True)).locator("dd")


def expect_open(page: Page, name: str, chosen: str = "Overview") -> None:
    expect(panel(page).get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(tab(page, chosen)).to_have_attribute("aria-selected", "true")


def test_it_opens_by_mouse_beside_the_card_and_closes_by_back(page: Page, platform: Platform, name: str):
    lead = placed(platform, name)
    member = platform.create(f"{name} member", parent_id=lead)["id"]
    open_canvas(page, platform)
    before = head(page, lead).bounding_box()
    card(page, member).click()
    expect_open(page, f"{name} member")
    expect(page).to_have_url(re.compile(rf"\?ws={member}$"))
    assert head(page, lead).bounding_box() == before, "the map stays where it is"
    tab(page, "Events").click()
    expect(page).to_have_url(re.compile(rf"\?ws={member}&tab=events$"))
    expect(body(page)).to_contain_text(f"op created {name} member in {name}")
    panel(page).get_by_role("button", name=name, exact=True).click()
    expect_open(page, name)
    page.go_back()
    expect_open(page, f"{name} member", "Events")
    page.go_back()
    expect(panel(page)).to_be_hidden()
    expect(page).to_have_url(f"{platform.url}/")


def test_a_card_that_the_panel_would_cover_moves_into_view(page: Page, platform: Platform, name: str):
    lead = placed(platform, name, x=1100)
    open_canvas(page, platform)
    expect(card(page, lead)).to_be_in_viewport()
    card(page, lead).click()
    own, side = card(page, lead).bounding_box(), panel(page).bounding_box()
    assert own
    assert side
    assert own["x"] + own["width"] <= side["x"]


def test_it_is_used_by_the_keyboard_alone(page: Page, platform: Platform, name: str):
    agent = placed_agent(platform, name)
    open_canvas(page, platform, f"?ws={agent.id}&tab=connect")
    expect_open(page, name, "Connect")
    expect(card(page, agent.id)).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()
    expect(card(page, agent.id)).to_be_focused()
    page.keyboard.press("Enter")
    expect(tab(page, "Overview")).to_be_focused()
    for key, label in (
        ("ArrowRight", "Activity"),
        ("End", "Connect"),
        ("ArrowRight", "Overview"),
        ("ArrowLeft", "Connect"),
    ):
        page.keyboard.press(key)
        expect(tab(page, label)).to_be_focused()
        expect(tab(page, label)).to_have_attribute("aria-selected", "true")
    expect(body(page)).to_contain_text(agent.id)
    expect(body(page).get_by_role("status").first).to_have_text("Registered, waiting for its first heartbeat.")
    agent.beat()
    expect(body(page).get_by_role("status").first).to_have_text("Connected.")
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()
    expect(card(page, agent.id)).to_be_focused()


def test_what_others_do_shows_at_once(page: Page, platform: Platform, name: str):
    agent = placed_agent(platform, name)
    open_canvas(page, platform, f"?ws={agent.id}")
    expect(fact(page, "Last heartbeat")).to_have_text("none yet")
    agent.beat(active_tasks=3, current_task="Counting", error_rate=0.25, uptime_seconds=3700)
    expect(fact(page, "Active tasks")).to_have_text("3")
    expect(fact(page, "Current task")).to_have_text("Counting")
    expect(fact(page, "Error rate")).to_have_text("25%")
    expect(fact(page, "Uptime")).to_have_text("1 h 1 min")
    expect(fact(page, "Last heartbeat")).to_have_text(re.compile(r"^(now|\d+ s ago)$"))
    platform.api.patch(f"/workspaces/{agent.id}", json={"name": f"{name} renamed"})
    expect_open(page, f"{name} renamed")
    platform.api.post(f"/workspaces/{agent.id}/pause")
    expect(panel(page).locator("#panel-word")).to_have_text("paused")
    expect(panel(page).locator("#panel-why")).to_have_text("by op")
    tab(page, "Events").click()
    expect(body(page).locator("li").first).to_contain_text(f"op paused {name} renamed")
    platform.api.delete(f"/workspaces/{agent.id}")
    expect(panel(page).locator("#panel-word")).to_have_text("removed")
    expect(panel(page).locator("#panel-note")).to_contain_text("This workspace was removed")
    expect(panel(page).locator("#panel-why")).to_have_text("by op")
    expect(body(page).locator("li").first).to_contain_text("op removed")
    expect(tab(page, "Connect")).to_have_attribute("aria-disabled", "true")
    expect(panel(page).get_by_role("button", name="Actions for")).to_be_hidden()


def test_a_list_has_all_that_came_at_once_and_does_not_grow_for_ever(page: Page, platform: Platform, name: str):
    agent = placed_agent(platform, name)
    report = f"/workspaces/{agent.id}/activity"
    rows = body(page).locator("li")
    open_canvas(page, platform, f"?ws={agent.id}&tab=activity")
    expect(body(page)).to_contain_text("No activity.")
    agent.post(report, [{"activity_type": "agent_log", "summary": f"Step {n}"} for n in range(100)])
    expect(rows).to_have_count(100)
    expect(rows.first).to_contain_text("Step 99")
    for _ in range(4):
        agent.post(report, [{"activity_type": "agent_log", "summary": "More"} for _ in range(100)])
    expect(rows).to_have_count(30)
    agent.post(report, {"activity_type": "agent_log", "summary": "Last"})
    expect(rows.first).to_contain_text("Last")


def test_a_prompt_is_edited_and_nobody_overwrites_what_others_saved(page: Page, platform: Platform, name: str):
    workspace = placed(platform, name)
    address = f"/workspaces/{workspace}/files/system-prompt.md"
    open_canvas(page, platform, f"?ws={workspace}&tab=files")
    expect(body(page)).to_contain_text("No files yet.")
    body(page).get_by_label("Path of the new file").fill("system-prompt.md")
    body(page).get_by_role("button", name="New file").click()
    text = body(page).get_by_role("textbox", name="Text of system-prompt.md")
    text.fill("Be kind.")
    # A file that comes before it in the list does not take its place.
    platform.api.put(f"/workspaces/{workspace}/files/config.yaml", json={"content": "tier: 2"})
    tab(page, "Events").click()
    tab(page, "Files").click()
    expect(text).to_have_value("Be kind.")
    text.press("Control+s")
    expect(body(page)).to_contain_text("Saved.")
    assert platform.api.get(address).json()["content"] == "Be kind."
    platform.api.put(address, json={"content": "Be quick."})
    expect(text).to_have_value("Be quick.")
    text.fill("Be kind and quick.")
    platform.api.put(address, json={"content": "Be brief."})
    expect(body(page)).to_contain_text("Somebody else has saved this file since you opened it.")
    expect(text).to_have_value("Be kind and quick.")
    body(page).get_by_role("button", name="Save over theirs").click()
    expect(body(page)).to_contain_text("Saved.")
    assert platform.api.get(address).json()["content"] == "Be kind and quick."
    text.fill("Be there.")
    platform.api.delete(address)
    expect(body(page)).to_contain_text("Somebody else has deleted this file since you opened it.")
    tab(page, "Events").click()
    tab(page, "Files").click()
    expect(text).to_have_value("Be there.")
    body(page).get_by_role("button", name="Save it again").click()
    expect(body(page)).to_contain_text("Saved.")
    assert platform.api.get(address).json()["content"] == "Be there."
    platform.api.put(address, json={"content": "Be\r\nhere.\r\n"})
    expect(text).to_have_value("Be\nhere.\n")
    text.fill("Be\nnowhere.\n")
    body(page).get_by_role("button", name="Save", exact=True).click()
    expect(body(page)).to_contain_text("Saved.")
    assert platform.api.get(address).json()["content"] == "Be\r\nnowhere.\r\n"


def test_nothing_secret_stays_in_the_page(page: Page, platform: Platform, name: str):
    workspace = placed(platform, name)
    open_canvas(page, platform, f"?ws={workspace}&tab=access")
    body(page).get_by_role("button", name="New enrolment token").click()
    token = body(page).locator("#panel-token").inner_text()
    page.keyboard.press("Escape")
    expect(panel(page)).to_be_hidden()
    assert token not in page.content()
    open_canvas(page, platform, f"?ws={workspace}&tab=secrets")
    body(page).get_by_label("Value").fill("canary")
    panel(page).get_by_role("button", name="Close panel").click()
    expect(panel(page)).to_be_hidden()
    assert "canary" not in page.locator("input").evaluate_all("(all) => all.map(({ value }) => value)")


def test_a_viewer_may_look_and_nothing_else(viewer_page: Page, platform: Platform, name: str):
    page = viewer_page
    agent = placed_agent(platform, name)
    open_canvas(page, platform, f"?ws={agent.id}&tab=secrets")
    expect_open(page, name)
    expect(panel(page).get_by_role("tab")).to_have_text(["Overview", "Activity", "Events", "Files", "Connect"])
    expect(panel(page).get_by_role("button", name="Actions for")).to_be_hidden()
    tab(page, "Connect").click()
    expect(body(page).locator("#panel-curl")).to_contain_text("ENROLMENT_TOKEN")
    expect(body(page).get_by_role("button", name="New enrolment token")).to_have_count(0)


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(page: Page, platform: Platform, name: str, width: int):
    agent = placed_agent(platform, name)
    agent.beat(error_rate=0.9, sample_error="model gateway is down")
    platform.api.put(f"/workspaces/{agent.id}/files", json={"files": {"system-prompt.md": "Answer."}})
    page.set_viewport_size({"width": width, "height": 844})
    open_canvas(page, platform, f"?ws={agent.id}")
    expect_open(page, name)
    page.evaluate(AXE_SCRIPT)
    for label in ("Overview", "Activity", "Events", "Files", "Secrets", "Access", "Connect"):
        tab(page, label).click()
        expect(body(page).get_by_text("Loading…")).to_have_count(0)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            found = page.evaluate(RUN_AXE.replace("document, options", "'#panel', options"), False)
            assert not found, (label, theme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert (
            page.evaluate(
                "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.getElementById('panel'))"
            )
            <= 0
        )
