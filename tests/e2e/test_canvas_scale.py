"""The canvas with hundreds and thousands of workspaces, in a real browser: what is drawn, folded and readable."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.stack import Platform
from tests.e2e.test_canvas_page import card, open_canvas, picture
from tests.e2e.test_timeline import banner, newest

Row = dict[str, Any]
Show = Callable[..., None]
MOST_DRAWN = 420
"""What fits on a screen, with what lies around it."""

# Every element with text of its own that can be seen, and the height of its letters on the screen.
TEXT_SIZES = """() => [...document.querySelectorAll("#board .card *")].filter((element) => {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    const { width, height } = element.getBoundingClientRect();
    return width > 1 && height > 1 && getComputedStyle(element).clipPath === "none";
}).map((element) => {
    const zoom = new DOMMatrix(getComputedStyle(document.getElementById("board")).transform).a;
    return [parseFloat(getComputedStyle(element).fontSize) * zoom, element.textContent];
})"""


@pytest.fixture
def name() -> str:
    """Unique, because the platform is shared."""
    return f"Team {uuid4().hex[:8]}"


@pytest.fixture
def show(page: Page, platform: Platform) -> Show:
    """Opens the canvas with made rows, at its own first view."""
    sample = picture(platform, platform.create("Sample")["id"])

    def open_with(rows: list[Row], query: str = "") -> None:
        full = [sample | {"runtime": "python", "role": "Analyst", "status": "online"} | row for row in rows]
        page.route(re.compile("/workspaces$"), lambda route: route.fulfill(json=full, headers={"X-Event-Seq": "0"}))
        page.route("**/canvas/viewport", lambda route: route.fulfill(json={"x": 0, "y": 0, "zoom": 1}))
        page.route_web_socket(re.compile("/ws"), lambda socket: socket.send('{"event":"STREAM_LIVE","seq":0}'))
        open_canvas(page, platform, query)
        expect(page.locator("#board, #rows").locator(".card").first).to_be_visible()

    return open_with


def uid(number: int) -> str:
    return str(UUID(int=number + 1))


def organisation(count: int, each: int = 9) -> list[Row]:
    """One tree: each workspace leads `each` others, breadth first. Every 50th has failed."""
    return [
        {
            "id": uid(number),
            "name": f"Agent {number}",
            "parent_id": uid((number - 1) // each) if number else None,
            "status": "failed" if number % 50 == 49 else "online",
        }
        for number in range(count)
    ]


def flat(*rows: Row) -> list[Row]:
    return [{"id": uid(number), "name": f"Agent {number}", "parent_id": None, **row} for number, row in enumerate(rows)]


def zoom_of(page: Page) -> int:
    return int((page.locator("#zoom").text_content() or "").rstrip("%"))


def camera(page: Page) -> str:
    page.wait_for_function("() => !document.querySelector('#board.moving')")
    return str(page.locator("#board").evaluate("board => board.style.transform"))


def drawn(page: Page) -> Locator:
    return page.locator("#board .card")


STEADY = """async () => {
    const count = () => document.querySelectorAll("#board .card").length;
    const frame = () => new Promise(requestAnimationFrame);
    for (let last = -1; last !== count(); await frame(), await frame(), await frame()) last = count();
    return count();
}"""
"""Many cards come in several frames: how many there are when no more come."""


def drawn_in_the_end(page: Page) -> int:
    return int(page.evaluate(STEADY))


@pytest.mark.parametrize("count", [300, 1000, 10_000])
def test_only_what_is_on_the_screen_is_drawn_and_all_of_it_can_be_read(page: Page, show: Show, count: int):
    show(organisation(count))
    page.keyboard.press("f")
    assert 0 < drawn_in_the_end(page) < MOST_DRAWN
    for key in "++++++++++++":
        page.keyboard.press(key)
        camera(page)
        assert 0 < drawn_in_the_end(page) < MOST_DRAWN
        sizes = page.evaluate(TEXT_SIZES)
        assert sizes
        assert not [text for text in sizes if text[0] < 11.99], zoom_of(page)
    page.mouse.move(700, 450)
    for _ in range(10):
        page.mouse.wheel(300, 200)
        camera(page)
        assert drawn_in_the_end(page) < MOST_DRAWN


def test_a_large_organisation_is_folded_by_level(page: Page, show: Show):
    show(organisation(10_000))
    levels = page.get_by_role("combobox", name="Levels that are open")
    expect(levels).to_have_value("3")
    levels.select_option("1")
    expect(drawn(page)).to_have_count(1 + 9)
    expect(card(page, uid(1))).to_have_attribute("aria-expanded", "false")
    expect(card(page, uid(1)).locator(".fold")).to_have_text("3438")
    page.reload()
    expect(levels).to_have_value("1")
    expect(card(page, uid(1))).to_have_attribute("aria-expanded", "false")


def test_zooming_out_turns_cards_into_names_and_teams_into_summaries(page: Page, show: Show):
    show(organisation(300), f"?ws={uid(100)}")
    leaf, team = card(page, uid(100)), card(page, uid(11))
    page.keyboard.press("0")
    expect(leaf.locator(".card-role")).to_be_visible()
    expect(team).to_have_attribute("data-fit", "open")
    page.keyboard.press("-")
    page.keyboard.press("-")
    page.keyboard.press("-")
    expect(leaf.locator(".card-role")).to_be_hidden()
    expect(leaf.locator(".card-name")).to_be_visible()
    page.keyboard.press("f")
    page.locator("#view").click(position={"x": 5, "y": 5})
    expect(team).to_have_attribute("data-fit", "card")
    expect(team.locator("> .card-head .card-name")).to_have_text("Agent 11")
    expect(team.locator("> .team .fold")).to_have_text("9")
    expect(team.locator("> .shares i")).not_to_have_count(0)


def test_the_failure_of_a_leaf_shows_on_every_team_above_it(page: Page, show: Show):
    rows = organisation(91)
    for row in rows:
        row["status"] = "online"
    rows[85] |= {"status": "degraded", "last_sample_error": "model gateway is down"}
    show(rows)
    for above in (0, 9):
        expect(card(page, uid(above)).locator("> .team .below .chip[data-status=degraded]")).to_have_text(
            re.compile(r"^1\b")
        )
    for other in (1, 8):
        expect(card(page, uid(other)).locator("> .team .below")).to_have_text("9 online")


def test_a_degraded_lead_stands_out_as_a_degraded_leaf_does_and_both_say_why(page: Page, show: Show):
    sick = {"status": "degraded", "last_sample_error": "model gateway is down"}
    rows = flat(sick, {"parent_id": uid(0)}, sick, {})
    show(rows)
    lead, member, leaf, well = (card(page, uid(number)) for number in range(4))
    for one in (lead, leaf):
        expect(one).to_have_class(re.compile(r"\bneeds\b"))
        expect(one.locator("> .card-head .status-word")).to_be_visible()
        expect(one.locator("> .card-details .card-error")).to_have_text("model gateway is down")
        expect(one.locator("> .card-details .card-error")).to_be_visible()
    for one in (member, well):
        expect(one).not_to_have_class(re.compile(r"\bneeds\b"))
        assert one.locator("> .card-head .status-word").evaluate("word => word.getBoundingClientRect().width") <= 1
    colours = [one.evaluate("card => getComputedStyle(card).borderTopColor") for one in (lead, leaf, well)]
    assert colours[0] == colours[1] != colours[2]


def test_names_keep_their_ends_and_equal_ones_tell_their_teams(page: Page, show: Show):
    long = "catalyst-devforge-product-search-"
    show(
        flat(
            {"name": "Billing"},
            {"name": "Tax"},
            {"name": f"{long}indexer", "parent_id": uid(0)},
            {"name": f"{long}crawler", "parent_id": uid(0)},
            {"name": "Reviewer", "parent_id": uid(0)},
            {"name": "Reviewer", "parent_id": uid(1)},
        )
    )
    for number, end in ((2, "indexer"), (3, "crawler")):
        own = card(page, uid(number)).locator(".card-name")
        expect(own).to_have_text(re.compile(rf"^catalyst… .*{end}$"))
        expect(own).to_have_attribute("title", re.compile(f"^{long}{end}$"))
    for number, team in ((4, "Billing"), (5, "Tax")):
        expect(card(page, uid(number)).locator(".card-where")).to_have_text(f"in {team}")


def test_the_arrows_reach_cards_that_are_not_drawn(page: Page, show: Show):
    show(organisation(1000), f"?ws={uid(0)}")
    page.keyboard.press("End")
    focused = page.locator(".card:focus")
    expect(focused).to_be_in_viewport()
    last = focused.get_attribute("data-id")
    assert last
    page.keyboard.press("Home")
    expect(card(page, uid(0))).to_be_focused()
    expect(card(page, last)).to_have_count(0)


def test_the_minimap_goes_where_it_is_pressed(page: Page, show: Show):
    show(organisation(300), f"?ws={uid(200)}")
    before = camera(page)
    minimap = page.locator("#minimap")
    box = minimap.bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 40, steps=3)
    after = camera(page)
    page.mouse.move(box["x"] + 90, box["y"] + 60, steps=3)
    page.mouse.up()
    assert len({before, after, camera(page)}) == 3
    frame = minimap.locator("i").bounding_box()
    assert frame
    assert abs(frame["x"] + frame["width"] / 2 - box["x"] - 90) < 4
    assert abs(frame["y"] + frame["height"] / 2 - box["y"] - 60) < 4


def test_full_size_shows_a_card_however_far_away_the_camera_is(page: Page, show: Show):
    show(organisation(1000))
    page.mouse.move(700, 450)
    for _ in range(40):
        page.mouse.wheel(0, 2000)
    page.keyboard.press("0")
    expect(page.locator("#zoom")).to_have_text("100%")
    page.wait_for_function(
        """() => [...document.querySelectorAll("#board .card-name")].some((name) => {
            const { left, top, width, height } = name.getBoundingClientRect();
            return document.elementFromPoint(left + width / 2, top + height / 2) === name;
        })"""
    )


def test_a_block_is_looked_at_by_a_click(page: Page, show: Show):
    show(flat(*[{}] * 900))
    assert drawn(page).count() < 5
    camera(page)
    # The middle of the card in the fourth column of the third row.
    x, y = page.evaluate(
        """() => {
            const { a: zoom, e: x, f: y } = new DOMMatrix(getComputedStyle(document.getElementById("board")).transform);
            return [x + zoom * (3 * 264 + 120), y + zoom * (2 * 156 + 66)];
        }"""
    )
    page.locator("#view").click(position={"x": x, "y": y})
    focused = page.locator(".card:focus")
    expect(focused).to_be_in_viewport()
    expect(focused.locator(".card-name")).to_be_visible()


def test_the_new_place_of_a_dropped_card_is_on_the_screen(page: Page, platform: Platform, name: str):
    """It would cover a team that fills the view: it goes beside it, and the camera follows."""
    x, y = 90_000, 90_000
    lead = platform.create(name, canvas={"x": x, "y": y})["id"]
    for number in range(24):
        platform.create(f"{name} {number}", parent_id=lead)
    dropped = platform.create(f"{name} moved", canvas={"x": x - 300, "y": y + 300})["id"]
    platform.api.put("/canvas/viewport", json={"x": 340 - x, "y": 100 - y, "zoom": 1})
    open_canvas(page, platform)
    box = card(page, dropped).locator("> .card-head").bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(325, 500, steps=5)
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        page.mouse.up()
    camera(page)
    expect(card(page, dropped)).to_be_in_viewport(ratio=1)


def test_the_past_has_its_own_camera(page: Page, platform: Platform, name: str):
    workspace = platform.create(name, canvas={"x": 120_000, "y": 0})["id"]
    platform.api.put("/canvas/viewport", json={"x": 200 - 120_000, "y": 200, "zoom": 1})
    saved = platform.api.get("/canvas/viewport").json()
    open_canvas(page, platform)
    live = camera(page)
    page.keyboard.press("h")
    expect(page.locator("#oldest")).not_to_be_empty()
    page.keyboard.press("ArrowLeft")
    expect(banner(page)).to_be_visible()
    assert camera(page) == live
    page.keyboard.press("f")
    assert camera(page) != live
    page.wait_for_timeout(700)
    assert platform.api.get("/canvas/viewport").json() == saved
    page.get_by_role("button", name="Back to live").first.click()
    expect(banner(page)).to_be_hidden()
    assert camera(page) == live
    expect(card(page, workspace)).to_be_in_viewport()


def test_the_timeline_goes_to_a_time(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    event = platform.api.get(f"/events/{workspace}", params={"limit": 1}).json()[0]
    page.wait_for_timeout(1100)
    platform.api.patch(f"/workspaces/{workspace}", json={"name": f"{name} later"})
    open_canvas(page, platform)
    page.keyboard.press("h")
    local = page.evaluate(
        "at => { const date = new Date(Math.ceil(Date.parse(at) / 1000) * 1000);"
        " return new Date(date - 60000 * date.getTimezoneOffset()).toISOString().slice(0, 19); }",
        event["created_at"],
    )
    field = page.get_by_label("Go to")
    field.fill(local)
    field.blur()
    expect(banner(page)).to_be_visible()
    expect(page.locator("#connection-word")).to_have_text("past")
    shown = int((page.locator("#seq").text_content() or "").split()[1])
    assert event["seq"] <= shown < newest(platform, workspace)


@pytest.mark.parametrize("width", [1440, 1024])
def test_columns_of_the_list_align_at_every_depth(page: Page, show: Show, width: int):
    page.set_viewport_size({"width": width, "height": 900})
    show(organisation(91, each=3), "?view=list")
    depths = {row.get_attribute("aria-level") for row in page.locator(".row").all()}
    assert len(depths) > 3
    for column in (".status", ".card-details", ".tier", ".beat"):
        places = page.locator(f".row > {column}, .row > .card-foot > {column}").evaluate_all(
            "all => all.filter(one => one.offsetWidth).map(one => Math.round(one.getBoundingClientRect().left))"
        )
        assert len(places) > 10
        assert max(places) - min(places) <= (40 if column == ".beat" else 0), column


def test_the_list_draws_the_rows_in_view_only(page: Page, show: Show):
    show(organisation(10_000), "?view=list")
    page.evaluate("localStorage.setItem('molecule.canvas.folds', '{\"level\":99}')")
    page.reload()
    rows = page.locator(".row")
    expect(rows.first).to_be_visible()
    assert rows.count() < 100
    page.locator("#view").evaluate("view => view.scrollTo(0, 200000)")
    expect(rows.filter(visible=True).last).not_to_have_attribute("data-id", uid(0))
    assert rows.count() < 100
    rows.nth(10).focus()
    page.keyboard.press("End")
    expect(page.locator(".row:focus")).to_be_in_viewport()
    # The last at every level: 9, 90, 819, 7380.
    assert page.locator(".row:focus").get_attribute("data-id") == uid(7380)


def test_at_1024_pixels_the_menu_has_what_the_header_has_no_room_for(page: Page, show: Show):
    page.set_viewport_size({"width": 1024, "height": 768})
    show(organisation(91))
    expect(page.get_by_role("button", name="List")).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("link", name="Admin")).to_be_visible()
    page.get_by_role("button", name="List").click()
    expect(page.locator("body")).to_have_attribute("data-view", "list")
