"""Pages of the admin follow the organisation by /ws, without being loaded again."""

from collections.abc import Iterator

import httpx
import pytest
import redis
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import Platform, process, register, stopped, until, web_command

# The page's promise, so not the usual longer limit.
NOTICED_MS = 10_000
# The page waits up to 30 s between two attempts.
BACK_MS = 45_000


@pytest.fixture
def page(alone: Platform, browser: Browser) -> Iterator[Page]:
    yield from signed_in(alone, browser)


def opened(page: Page, alone: Platform, path: str = "/admin/") -> Page:
    """The page once it is live. It is marked, so that a test can see that it was not loaded again."""
    page.goto(f"{alone.url}{path}")
    expect(page.locator("#live")).to_have_text("Live")
    page.evaluate("window.isFirst = true")
    return page


def is_first(page: Page) -> bool:
    return bool(page.evaluate("window.isFirst"))


def tile(page: Page, label: str) -> int:
    return int(page.locator(".tile", has_text=label).locator("strong").inner_text())


def test_counts_and_parts_follow_an_agent(page: Page, alone: Platform):
    opened(page, alone)
    online = tile(page, "Online")
    agent = alone.agent("Coder")
    expect(page.locator(".tile", has_text="Online").locator("strong")).to_have_text(str(online + 1))
    attention = page.locator("#attention")
    assert agent.beat(error_rate=0.9, sample_error="staging did not answer").status_code == 200
    expect(attention).to_contain_text("staging did not answer")
    expect(page).to_have_title("(1) Overview · Molecule")
    assert agent.beat(error_rate=0).status_code == 200
    expect(attention).not_to_contain_text("Coder")
    assert is_first(page)


def test_a_row_of_the_list_and_the_header_of_a_workspace_turn_green(page: Page, alone: Platform):
    created = alone.create("Painter")
    header = opened(page.context.new_page(), alone, f"/admin/registry/workspace/{created['id']}/change/")
    opened(page, alone, "/admin/registry/workspace/")
    places = [one.locator(f"[data-workspace='{created['id']}']").first for one in (page, header)]
    for place in places:
        expect(place.locator(".badge").first).to_have_text("Awaiting agent")
    agent = register(alone.url, created, "Painter")
    for place in places:
        expect(place.locator(".badge").first).to_have_text("Online")
    assert agent.beat(current_task="Paints the fence", error_rate=0.25).status_code == 200
    expect(places[0].locator("[data-live=task]")).to_have_text("Paints the fence")
    expect(places[0].locator("[data-live=error_rate]")).to_have_text("25%")
    assert is_first(page)
    assert is_first(header)


def test_what_somebody_uses_is_replaced_when_they_have_left_it(page: Page, alone: Platform):
    opened(page, alone)
    latest = page.locator("#latest")
    page.evaluate("document.querySelector('#latest').insertAdjacentHTML('beforeend', '<input id=\"typed\">')")
    page.fill("#typed", "half a word")
    alone.create("Newcomer")
    expect(page.locator("#tiles")).to_contain_text("Awaiting agent")
    page.wait_for_timeout(500)
    expect(page.locator("#typed")).to_have_value("half a word")
    page.locator("#typed").blur()
    expect(latest).to_contain_text("Newcomer")


def test_a_server_that_hangs_is_noticed(page: Page, alone: Platform):
    opened(page, alone)
    with stopped(alone.web.pid):
        expect(page.locator("#live")).not_to_have_text("Live", timeout=NOTICED_MS)
    expect(page.locator("#live")).to_have_text("Live", timeout=BACK_MS)


def test_what_happened_while_redis_hung_is_shown(page: Page, alone: Platform):
    opened(page, alone)
    awaiting = tile(page, "Awaiting agent")
    with redis.Redis.from_url(alone.environment["REDIS_URL"]) as server:
        with stopped(server.info("server")["process_id"]):
            assert alone.api.post("/workspaces", json={"name": "Meanwhile"}).status_code == 201
        until(server.ping, "Redis to answer")
    expect(page.locator(".tile", has_text="Awaiting agent").locator("strong")).to_have_text(str(awaiting + 1))
    assert is_first(page)


def test_a_page_in_another_window_leaves_messages_and_tokens_for_the_one_that_shows_them(page: Page, alone: Platform):
    """The other page is fetched again after the change and before the browser follows the redirect."""
    created = alone.create("Shared")
    path = f"/admin/registry/workspace/{created['id']}"
    other = opened(page.context.new_page(), alone, f"{path}/connect/")
    posted = {
        "chosen": created["id"],
        "csrfmiddlewaretoken": other.locator("[name=csrfmiddlewaretoken]").first.input_value(),
    }
    for url in ("/admin/registry/workspace/pause/", f"{path}/connect/"):
        with other.expect_response(f"**{path}/connect/", timeout=BACK_MS):
            answer = page.request.post(f"{alone.url}{url}", form=posted, max_redirects=0)
            assert answer.status == 302
    assert is_first(other)
    page.goto(f"{alone.url}{path}/connect/")
    expect(page.locator("#enrolment-token")).to_contain_text("mol_en_")
    expect(page.locator(".messagelist")).to_contain_text("Paused Shared.")


def test_a_page_about_what_has_changed_says_so(page: Page, alone: Platform):
    created = alone.create("Short-lived")
    opened(page, alone, f"/admin/registry/workspace/remove/?id={created['id']}")
    assert alone.api.delete(f"/workspaces/{created['id']}").status_code == 200
    expect(page.locator("#live")).to_have_attribute("title", "What this page is about has changed. Load it again.")
    page.goto(f"{alone.url}/admin/")
    expect(page.locator(".messagelist")).to_have_count(0)


def test_a_user_who_is_signed_out_is_told(page: Page, alone: Platform):
    opened(page, alone)
    page.context.clear_cookies()
    alone.create("Unseen")
    expect(page.locator("#live")).to_have_text("Not live")
    expect(page.locator("#live")).to_have_attribute("title", "Your session has ended. Load the page again to log in.")


def test_a_page_says_that_it_is_not_live_and_misses_nothing(page: Page, alone: Platform):
    """The last test here: it kills the web process."""
    agent = alone.agent("Survivor")
    opened(page, alone)
    online = tile(page, "Online")
    alone.web.kill()
    expect(page.locator("#live")).to_have_text("Not live", timeout=NOTICED_MS)
    expect(page.get_by_role("button", name="Try now")).to_be_visible()
    with process(web_command(int(alone.port)), alone.environment):
        until(lambda: answers(alone), "the new web process to answer")
        assert agent.beat(error_rate=0.9).status_code == 200
        expect(page.locator("#live")).to_have_text("Live", timeout=BACK_MS)
        expect(page.get_by_role("button", name="Try now")).to_be_hidden()
        expect(page.locator(".tile", has_text="Online").locator("strong")).to_have_text(str(online - 1))
        assert is_first(page)


def answers(alone: Platform) -> bool:
    try:
        return alone.api.get("/health").status_code == 200
    except httpx.TransportError:
        return False
