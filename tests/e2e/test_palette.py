"""The palette and the keys of the admin, as somebody with a keyboard uses them."""

import re
from contextlib import contextmanager
from uuid import uuid4

from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.conftest import signed_in, with_user
from tests.e2e.stack import Platform

SEARCH = re.compile("/search\\?")


def overview(page: Page, platform: Platform) -> None:
    page.goto(f"{platform.url}/admin/")
    expect(page.get_by_role("button", name="Search workspaces, pages, actions")).to_be_visible()


def opened(page: Page, platform: Platform) -> None:
    overview(page, platform)
    page.keyboard.press("Control+k")
    expect(page.locator("#palette")).to_be_visible()
    expect(page.get_by_role("combobox")).to_be_focused()


def selected(page: Page) -> str:
    return page.locator("[role=option][aria-selected=true] > span:first-child").inner_text()


def test_a_workspace_is_found_by_its_name_and_opened(page: Page, platform: Platform):
    team, name = f"Finance {uuid4().hex[:6]}", f"Payments {uuid4().hex[:6]}"
    workspace = platform.create(name, parent_id=platform.create(team)["id"])
    opened(page, platform)
    page.keyboard.type(name.lower())
    option = page.get_by_role("option", name=re.compile(name))
    expect(option).to_contain_text(team)
    expect(option).to_contain_text("Awaiting agent")
    expect(option).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(workspace["id"]))


def test_enter_before_the_answer_opens_the_first_hit(page: Page, platform: Platform):
    name = f"Quick {uuid4().hex}"
    workspace = platform.create(name)
    opened(page, platform)
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(workspace["id"]))


def test_pages_and_the_page_s_own_verbs_are_offered(page: Page, platform: Platform):
    workspace = platform.agent(f"Verbs {uuid4().hex[:6]}")
    page.goto(f"{platform.url}/admin/registry/workspace/{workspace.id}/change/")
    page.keyboard.press("Control+k")
    page.keyboard.type("pause")
    expect(page.get_by_role("option", name="Pause")).to_be_visible()
    assert selected(page) == "Pause"
    page.keyboard.press("Enter")
    expect(page.locator("#palette")).to_be_hidden()
    page.wait_for_load_state()
    expect(page.locator(".messagelist")).to_contain_text("Paused")
    page.keyboard.press("/")
    page.keyboard.type("audit")
    assert selected(page) == "Audit log"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/structureevent/"))


def test_arrows_go_round_and_escape_returns(page: Page, platform: Platform):
    opened(page, platform)
    first = selected(page)
    page.keyboard.press("ArrowUp")
    assert selected(page) == "Log out"
    page.keyboard.press("ArrowDown")
    assert selected(page) == first
    option = page.locator("[role=option][aria-selected=true]").get_attribute("id")
    expect(page.get_by_role("combobox")).to_have_attribute("aria-activedescendant", str(option))
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()


def test_it_says_what_it_does_and_that_nothing_fits(page: Page, platform: Platform):
    def held(route: Route) -> None:
        page.wait_for_timeout(300)
        route.continue_()

    opened(page, platform)
    page.route(SEARCH, held)
    page.keyboard.type("zzzz-nothing")
    expect(page.locator(".palette-note")).to_have_text("Searching…")
    expect(page.locator(".palette-note")).to_have_text("No match for “zzzz-nothing”.")
    expect(page.get_by_role("option")).to_have_count(0)


def test_a_failed_search_says_why_and_enter_tries_again(page: Page, platform: Platform):
    name = f"Later {uuid4().hex}"
    workspace = platform.create(name)
    opened(page, platform)
    page.route(SEARCH, lambda route: route.abort())
    page.keyboard.type(name)
    expect(page.locator(".palette-note")).to_have_text("The search failed: the server cannot be reached.")
    page.unroute(SEARCH)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(workspace["id"]))


def test_of_more_than_twelve_the_list_shows_all(page: Page, platform: Platform):
    word = f"many{uuid4().hex[:8]}"
    for number in range(13):
        platform.create(f"{word} {number}")
    opened(page, platform)
    page.keyboard.type(word)
    expect(page.get_by_role("option")).to_have_count(13)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"/registry/workspace/\?q={word}"))


def test_keys_lead_to_pages_but_not_while_somebody_types(page: Page, platform: Platform):
    overview(page, platform)
    page.keyboard.press("g")
    page.keyboard.press("w")
    page.wait_for_url(re.compile("/registry/workspace/$"))
    page.goto(f"{platform.url}/admin/registry/workspace/add/")
    page.locator("#id_name").press_sequentially("g o/?")
    expect(page.locator("#id_name")).to_have_value("g o/?")
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_the_help_lists_the_keys_that_work(page: Page, platform: Platform):
    overview(page, platform)
    page.keyboard.press("?")
    rows = page.locator("#keys dl > div")
    expect(rows.filter(has_text="Audit log").locator("kbd")).to_have_text(["g", "l"])
    expect(rows.filter(has_text="Canvas").locator("kbd")).to_have_text(["g", "c"])
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name=re.compile("^Account")).click()
    page.get_by_role("button", name="Keyboard shortcuts").click()
    expect(page.locator("#keys")).to_be_visible()


def test_a_user_who_may_not_view_workspaces_searches_pages(platform: Platform, browser: Browser):
    user = with_user(platform, "view_user")
    with contextmanager(signed_in)(user, browser) as page:
        overview(page, user)
        expect(page.locator("#live")).to_have_count(0)
        page.keyboard.press("/")
        page.keyboard.type("users")
        assert selected(page) == "Users"
