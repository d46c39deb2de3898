"""The open canvas page when its session ends, and when its user may no longer look."""

import re
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.stack import Platform, manage
from tests.e2e.test_canvas_page import card, open_canvas


@pytest.fixture
def place(platform: Platform) -> str:
    """The query of an address of the canvas that shows one workspace."""
    return f"?view=list&ws={platform.create(f'Place {uuid4().hex[:8]}')['id']}"


def shell(platform: Platform, script: str) -> None:
    manage(platform.environment, "shell", "-v0", "-c", script)


def end_sessions(platform: Platform) -> None:
    shell(platform, "from django.contrib.sessions.models import Session\nSession.objects.all().delete()")


def expect_signed_out(page: Page) -> None:
    expect(page.get_by_role("heading", name="You were signed out")).to_be_visible()
    expect(page.get_by_role("heading", name="No access")).to_be_hidden()
    expect(page.locator("#connection-word")).to_have_text("signed out")
    expect(page.locator("#past, #timeline, #banner").filter(visible=True)).to_have_count(0)


def log_in_again(page: Page, platform: Platform) -> None:
    page.get_by_role("link", name="Log in").click()
    page.wait_for_url(re.compile(r"/admin/login/\?next="))
    page.fill("[name=username]", platform.username)
    page.fill("[name=password]", platform.password)
    page.click("[type=submit]")


def test_a_logout_in_another_tab_leads_back_to_the_same_place(page: Page, platform: Platform, place: str):
    open_canvas(page, platform, place)
    other = page.context.new_page()
    open_canvas(other, platform)
    other.get_by_role("button", name="Menu").click()
    other.get_by_role("button", name="Log out").click()
    expect_signed_out(page)
    log_in_again(page, platform)
    page.wait_for_url(f"{platform.url}/{place}")
    expect(card(page, place.rpartition("=")[2])).to_be_focused()


def test_an_ended_session_leads_back_to_the_moment_that_was_shown(page: Page, platform: Platform, place: str):
    [created] = platform.api.get(f"/events/{place.rpartition('=')[2]}").json()
    page.goto(f"{platform.url}/?at={created['seq']}")
    expect(page.locator("#seq")).to_have_text(f"event {created['seq']}")
    expect(page.locator("#connection")).to_have_attribute("data-status", "past")
    end_sessions(platform)
    expect_signed_out(page)
    log_in_again(page, platform)
    page.wait_for_url(f"{platform.url}/?at={created['seq']}")
    expect(page.locator("#seq")).to_have_text(f"event {created['seq']}")


def test_who_has_signed_in_again_elsewhere_needs_no_login(page: Page, platform: Platform, place: str):
    open_canvas(page, platform, place)
    page.context.clear_cookies()
    end_sessions(platform)
    expect_signed_out(page)
    other = page.context.new_page()
    other.goto(f"{platform.url}/admin/login/")
    other.fill("[name=username]", platform.username)
    other.fill("[name=password]", platform.password)
    other.click("[type=submit]")
    other.wait_for_url(f"{platform.url}/admin/")
    page.get_by_role("link", name="Log in").click()
    expect(page.locator("#connection-word")).to_have_text("live")
    expect(page).to_have_url(f"{platform.url}/{place}")


def test_what_was_asked_before_the_session_ended_changes_nothing(page: Page, platform: Platform, place: str):
    held: list[Route] = []
    page.route(re.compile("/workspaces$"), lambda route: held.append(route))
    page.goto(f"{platform.url}/{place}")
    until_held(page, held)
    page.evaluate("dispatchEvent(new CustomEvent('refused', { detail: 401 }))")
    expect_signed_out(page)
    with page.expect_response(re.compile("/workspaces$")) as answer:
        held[0].continue_()
    answer.value.finished()
    page.wait_for_timeout(500)
    expect_signed_out(page)


def until_held(page: Page, held: list[Route]) -> None:
    while not held:
        page.wait_for_timeout(50)


@pytest.mark.parametrize("what", ["save", "camera", "history"])
def test_a_refused_request_shows_signed_out_at_once(page: Page, platform: Platform, place: str, what: str):
    """The socket stays open here: only the request is refused."""
    workspace = place.rpartition("=")[2]
    has_ended = False

    def answer(route: Route) -> None:
        if has_ended:
            route.fulfill(status=401, json={"error": "no credential"})
        else:
            route.continue_()

    page.route(re.compile("/workspaces/|/canvas/viewport|/canvas/snapshot|/events"), answer)
    open_canvas(page, platform, f"?ws={workspace}")
    expect(card(page, workspace)).to_be_focused()
    has_ended = True
    for key in {"save": ["Alt+ArrowRight"], "camera": ["f"], "history": ["h", "ArrowLeft"]}[what]:
        page.keyboard.press(key)
    expect_signed_out(page)


def test_who_lost_the_permission_has_no_access(viewer_page: Page, viewer: Platform):
    open_canvas(viewer_page, viewer)
    change = f"User.objects.get(username='{viewer.username}').user_permissions.clear()"
    shell(viewer, f"from django.contrib.auth.models import User\n{change}")
    expect(viewer_page.get_by_role("heading", name="No access")).to_be_visible()
    expect(viewer_page.get_by_role("heading", name="You were signed out")).to_be_hidden()
