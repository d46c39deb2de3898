"""Verbs on the canvas: by mouse, by keyboard, asked about where they affect others, and refused."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import Platform
from tests.e2e.test_canvas_page import card, open_canvas, placed


@pytest.fixture
def name() -> str:
    return f"Acting {uuid4().hex[:8]}"


@pytest.fixture
def lead(platform: Platform, name: str) -> str:
    """With one member."""
    lead = placed(platform, name)
    platform.create(f"{name} member", parent_id=lead)
    return lead


def member_of(platform: Platform, lead: str) -> str:
    [found] = [row["id"] for row in platform.api.get("/workspaces").json() if row["parent_id"] == lead]
    return str(found)


def test_a_team_is_paused_and_resumed_by_mouse(page: Page, platform: Platform, lead: str, name: str):
    member = member_of(platform, lead)
    open_canvas(page, platform)
    card(page, lead).locator("> .card-head .card-menu").click()
    page.get_by_role("menuitem", name="Pause…").click()
    question = page.get_by_role("dialog", name=f"Pause {name} and 1 in its team?")
    expect(question.get_by_role("listitem")).to_have_text([f"{name}awaiting agent", f"{name} memberawaiting agent"])
    question.get_by_role("button", name="Cancel").click()
    expect(card(page, lead)).to_be_focused()
    assert platform.status(lead) == "provisioning"

    card(page, lead).locator("> .card-head").click(button="right")
    page.get_by_role("menuitem", name="Pause…").click()
    question.get_by_role("button", name="Pause 2 workspaces").click()
    expect(page.locator(".toast")).to_contain_text(f"Paused {name} and 1 in its team.")
    expect(card(page, member).locator(".status-word")).to_have_text("paused")

    # Its lead is paused: the server's answer is shown, and changes nothing.
    card(page, member).locator(".card-menu").click()
    page.get_by_role("menuitem", name="Resume").click()
    expect(page.locator(".toast", has_text=f"Resume {name} member: ")).to_contain_text("is paused: resume it first")
    assert platform.status(member) == "paused"

    page.locator(".toast").get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Resume 2 workspaces").click()
    expect(card(page, member).locator(".status-word")).to_have_text("awaiting agent")


def test_a_team_is_copied_and_exported(page: Page, platform: Platform, lead: str, name: str):
    open_canvas(page, platform)
    card(page, lead).locator("> .card-head .card-menu").click()
    page.get_by_role("menuitem", name="Duplicate…").click()
    question = page.get_by_role("dialog", name=f"Duplicate {name}?")
    question.get_by_label("Name").fill(f"{name} again")
    question.get_by_role("button", name="Duplicate").click()
    expect(page.locator(".toast")).to_contain_text(f"Duplicated {name} as {name} again.")
    [copy] = [row["id"] for row in platform.api.get("/workspaces").json() if row["name"] == f"{name} again"]
    expect(card(page, copy)).to_be_focused()
    assert member_of(platform, copy) != member_of(platform, lead)

    platform.api.post(f"/workspaces/{lead}/secrets", json={"key": "MAIL_KEY", "value": "canary-9f8e7d6c5b4a"})
    platform.api.put(f"/workspaces/{lead}/files", json={"files": {"notes.md": "Use canary-9f8e7d6c5b4a"}})
    card(page, lead).locator("> .card-head .card-menu").click()
    page.get_by_role("menuitem", name="Export bundle").click()
    expect(page.locator(".toast", has_text=f"Nothing was exported of {name}: ")).to_contain_text("notes.md")
    platform.api.delete(f"/workspaces/{lead}/files/notes.md")
    card(page, lead).locator("> .card-head .card-menu").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Export bundle").click()
    assert download.value.suggested_filename.endswith(".bundle.json")
    assert json.loads(download.value.path().read_text()) == platform.api.get(f"/bundles/export/{lead}").json()


def test_every_verb_can_be_reached_by_keyboard(page: Page, platform: Platform, lead: str, name: str):
    open_canvas(page, platform, f"?ws={lead}")
    expect(card(page, lead)).to_be_focused()
    page.keyboard.press("m")
    expect(page.get_by_role("menuitem")).to_have_text(
        [
            "Open",
            "Collapse",
            "Add member…",
            "Pause…",
            "Move to…",
            "Duplicate…",
            "Export bundle",
            "Remove team…",
            "Remove…",
        ]
    )
    expect(page.get_by_role("menuitem", name="Open")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(card(page, lead)).to_be_focused()
    expect(page.locator("#panel")).to_be_visible()

    page.keyboard.press("m")
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name=f"Add a member to {name}")).to_be_visible()
    page.keyboard.press("Escape")
    expect(card(page, lead)).to_be_focused()

    page.keyboard.press("m")
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Remove team…")).to_be_focused()
    page.keyboard.press("Enter")
    question = page.get_by_role("dialog", name=f"Remove the 1 in the team of {name}?")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text(f"Removed the 1 in the team of {name}.")
    expect(card(page, lead)).to_be_focused()
    expect(card(page, lead)).not_to_have_attribute("aria-expanded", "true")
    assert platform.status(lead) == "provisioning"


def test_what_was_listed_is_what_is_removed(page: Page, platform: Platform, lead: str, name: str):
    open_canvas(page, platform, f"?ws={lead}")
    page.locator("#panel-actions").click()
    page.get_by_role("menuitem", name="Remove…").click()
    dialog = page.locator("dialog[open]")
    new = platform.create(f"{name} new", parent_id=lead)["id"]
    expect(card(page, new)).to_be_attached()
    dialog.get_by_role("button", name="Remove 2 workspaces").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The team has changed since it was listed.")
    expect(dialog.get_by_role("button", name="Remove 3 workspaces")).to_be_visible()
    assert platform.status(new) == "provisioning"

    assert platform.api.delete(f"/workspaces/{lead}?confirm=true").status_code == 200
    expect(card(page, lead)).to_have_count(0)
    dialog.get_by_role("button", name="Remove 3 workspaces").click()
    expect(dialog.get_by_role("alert")).to_have_text("Nothing was changed: removed meanwhile.")
    expect(dialog.get_by_role("button")).to_have_text(["Cancel"])


def test_a_viewer_has_no_verbs(viewer_page: Page, platform: Platform, lead: str):
    page = viewer_page
    open_canvas(page, platform, f"?ws={lead}")
    expect(page.locator("#panel-actions")).to_be_hidden()
    page.keyboard.press("m")
    expect(page.get_by_role("menuitem")).to_have_text(["Open", "Collapse"])
    page.get_by_role("menuitem", name="Collapse").click()
    expect(card(page, lead)).to_have_attribute("aria-expanded", "false")


@pytest.fixture
def touched(platform: Platform, browser: Browser) -> Iterator[Page]:
    """The page on a screen that is touched."""
    yield from signed_in(platform, browser, has_touch=True)


def test_fingers_zoom_and_a_long_touch_opens_the_menu(touched: Page, platform: Platform, lead: str):
    page = touched
    open_canvas(page, platform)
    box = card(page, lead).locator("> .card-head").bounding_box()
    assert box
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        ends = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": ends})

    at = (box["x"] + 20, box["y"] + 10)
    touch("touchStart", at)
    expect(page.get_by_role("menuitem", name="Remove team…")).to_be_visible()
    # Where it is let go lies the menu: nothing in it is chosen.
    touch("touchEnd")
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    expect(page.locator("#panel")).to_be_hidden()

    touch("touchStart", (500, 500))
    touch("touchStart", (500, 500), (600, 500))
    touch("touchMove", (450, 500), (650, 500))
    touch("touchEnd")
    expect(page.locator("#zoom")).to_have_text("198%")
