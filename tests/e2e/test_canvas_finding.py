"""Finding and filtering on the canvas page, by mouse, by the keyboard alone and by touch."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import Platform
from tests.e2e.test_canvas_page import card, open_canvas, placed
from tests.e2e.test_timeline import banner, scrubber

DIMMED = re.compile(r"\bdimmed\b")


@pytest.fixture
def name() -> str:
    """Unique, because the platform is shared."""
    return f"Team {uuid4().hex[:8]}"


@pytest.fixture
def phone(platform: Platform, browser: Browser) -> Iterator[Page]:
    for page in signed_in(platform, browser, has_touch=True):
        page.set_viewport_size({"width": 390, "height": 844})
        yield page


def chip(page: Page, state: str) -> Locator:
    return page.get_by_role("group", name="Show workspaces by state").get_by_role("button", name=state)


def expect_pressed(button: Locator, pressed: bool) -> None:
    expect(button).to_have_attribute("aria-pressed", str(pressed).lower())


def expect_found(page: Page, count: int) -> None:
    expect(page.locator("#filter-share")).to_have_text(re.compile(rf"^{count} of \d+$"))


def test_a_state_dims_all_others_as_the_address_says(page: Page, platform: Platform, name: str):
    lead = placed(platform, name)
    failing, quiet = (platform.agent(f"{name} {word}", parent_id=lead) for word in ("failing", "quiet"))
    failing.beat(error_rate=0.9)
    open_canvas(page, platform, f"?q={name}")
    expect_found(page, 3)
    expect(card(page, quiet.id)).not_to_have_class(DIMMED)
    chip(page, "degraded").click()
    expect_pressed(chip(page, "degraded"), True)
    expect_found(page, 1)
    expect(card(page, quiet.id)).to_have_class(DIMMED)
    for one in (lead, failing.id):
        expect(card(page, one)).not_to_have_class(DIMMED)
    expect(page).to_have_url(re.compile(r"\?status=degraded&q=Team\+\w+$"))
    page.reload()
    expect(card(page, quiet.id)).to_have_class(DIMMED)
    quiet.beat(error_rate=0.9)
    expect_found(page, 2)
    expect(card(page, quiet.id)).not_to_have_class(DIMMED)
    chip(page, "awaiting agent").click()
    expect_found(page, 3)
    page.go_back()
    expect_pressed(chip(page, "awaiting agent"), False)
    expect_found(page, 2)
    card(page, failing.id).click()
    expect(page).to_have_url(re.compile(rf"\?status=degraded&q=Team\+\w+&ws={failing.id}$"))
    page.keyboard.press("h")
    scrubber(page).press("ArrowLeft")
    expect(banner(page)).to_be_visible()
    chip(page, "awaiting agent").click()
    expect_pressed(chip(page, "awaiting agent"), True)
    banner(page).get_by_role("button", name="Back to live").click()
    expect(banner(page)).to_be_hidden()
    expect_pressed(chip(page, "awaiting agent"), True)
    expect(page).to_have_url(re.compile(r"[?&]status=degraded&status=provisioning&q="))


def test_the_form_filters_until_nothing_matches(page: Page, platform: Platform, name: str):
    lead = platform.create(name, runtime="crewai", tier=3)["id"]
    platform.create(f"{name} member", parent_id=lead, tier=2)
    open_canvas(page, platform, f"?ws={lead}")
    page.keyboard.press("Escape")
    opener, form = page.locator("#filter-button"), page.get_by_role("form", name="Filter")
    opener.press("Enter")
    form.get_by_label("Runtime").select_option("crewai")
    form.get_by_label("In the team of").select_option(name)
    note = page.get_by_text("No workspace matches")
    expect(note).to_be_visible()
    expect(card(page, lead)).to_have_class(DIMMED)
    page.keyboard.press("Escape")
    expect(form).to_be_hidden()
    expect(opener).to_be_focused()
    expect(opener).to_have_text(re.compile(r"Filter\s+\(2\)\s+0 of \d+"))
    page.go_back()
    expect(note).to_be_hidden()
    page.go_forward()
    expect(note).to_be_visible()
    note.locator("..").get_by_role("button", name="Clear filters").click()
    expect(note).to_be_hidden()
    expect(card(page, lead)).not_to_have_class(DIMMED)
    expect(page).to_have_url(f"{platform.url}/")
    opener.click()
    expect(form.get_by_label("Runtime")).to_have_value("")
    expect(form.get_by_label("Tier")).to_have_value("")


def test_a_workspace_is_found_and_opened_by_the_keyboard_alone(page: Page, platform: Platform, name: str):
    skill = uuid4().hex[:12]
    lead = placed(platform, name)
    agent = platform.agent(f"{name} member", parent_id=lead)
    agent.post(
        "/registry/update-card", {"workspace_id": agent.id, "agent_card": {"name": "A", "skills": [{"name": skill}]}}
    )
    open_canvas(page, platform)
    page.keyboard.press("/")
    page.keyboard.type(skill)
    option = page.get_by_role("option", name=f"{name} member")
    expect(option).to_have_attribute("aria-selected", "true")
    expect(option).to_contain_text(re.compile(rf"{name}.*online", re.DOTALL))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("#panel").get_by_role("heading", name=f"{name} member")).to_be_visible()
    expect(card(page, agent.id)).to_be_focused()
    page.keyboard.press("Control+k")
    page.keyboard.type(name)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect_found(page, 2)
    expect(page).to_have_url(re.compile(r"&q=Team\+\w+$"))
    page.keyboard.press("Control+k")
    page.keyboard.type("audit log")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/admin/activity/structureevent/"))


def test_a_phone_lists_only_what_matches(phone: Page, platform: Platform, name: str):
    lead = platform.create(name, tier=1)["id"]
    found, other = (platform.create(f"{name} {tier}", parent_id=lead, tier=tier)["id"] for tier in (3, 4))
    open_canvas(phone, platform)
    phone.get_by_role("button", name="Filter").tap()
    form = phone.get_by_role("form", name="Filter")
    # As it is typed, with one entry of the history for all of it.
    form.get_by_label("Words").press_sequentially(f"{name} ")
    expect_found(phone, 3)
    expect(form.get_by_label("Words")).to_have_value(f"{name} ")
    phone.go_back()
    expect(phone).not_to_have_url(re.compile("q="))
    form.get_by_label("Words").fill(name)
    form.get_by_label("Tier").select_option("3")
    form.get_by_role("button", name="Done").tap()
    expect(form).to_be_hidden()
    expect_found(phone, 1)
    expect(phone.locator(".row")).to_have_count(2)
    expect(card(phone, lead)).to_have_class(re.compile(r"\bon-way\b"))
    expect(card(phone, found)).to_have_attribute("aria-setsize", "1")
    phone.get_by_role("button", name="Menu").tap()
    phone.get_by_role("button", name="Search").tap()
    phone.get_by_role("combobox").fill(f"{name} 4")
    phone.get_by_role("option").first.tap()
    expect(phone.get_by_role("heading", name=f"{name} 4")).to_be_visible()
    phone.get_by_role("button", name="Close panel").tap()
    expect(card(phone, other)).to_have_count(0)
