"""Time travel on the canvas page, in a real browser against a real server."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.e2e.stack import Platform, running_platform, until
from tests.e2e.test_canvas_page import card, head, open_canvas, picture, placed


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Long leases, so that only the tests create events."""
    with running_platform(LEASE_SECONDS="3600", PROVISIONING_SECONDS="3600") as running:
        yield running


@pytest.fixture
def name() -> str:
    """Unique, because the platform is shared."""
    return f"Team {uuid4().hex[:8]}"


def newest(platform: Platform, workspace_id: str) -> int:
    """The seq of the last event of a workspace."""
    return int(platform.api.get(f"/events/{workspace_id}", params={"limit": 1}).json()[0]["seq"])


def change(platform: Platform, workspace_id: str, **fields: Any) -> int:
    answer = platform.api.patch(f"/workspaces/{workspace_id}", json=fields)
    assert answer.status_code == 200, answer.text
    return newest(platform, workspace_id)


def scrubber(page: Page) -> Locator:
    return page.get_by_role("slider", name="Moment")


def banner(page: Page) -> Locator:
    return page.locator("#past > div")


def open_history(page: Page, platform: Platform, query: str = "") -> None:
    open_canvas(page, platform, query)
    page.get_by_role("button", name="History").click()
    expect(page.locator("#oldest")).not_to_be_empty()
    expect(scrubber(page)).to_be_focused()


def open_past(page: Page, platform: Platform, seq: int) -> None:
    page.goto(f"{platform.url}/?at={seq}")
    expect(banner(page)).to_be_visible()
    expect(page.locator("#seq")).to_have_text(f"event {seq}")


def names(page: Page, workspace_id: str) -> Locator:
    return head(page, workspace_id).locator(".card-name")


def test_steps_back_before_a_rename_a_move_and_a_removal(page: Page, platform: Platform, name: str):
    first = platform.agent(name).id
    second = platform.agent(f"{name} two").id
    child = platform.create("Old name", parent_id=first)["id"]
    created = newest(platform, child)
    change(platform, child, name="New name")
    change(platform, child, parent_id=second)
    platform.api.delete(f"/workspaces/{child}")
    open_history(page, platform)
    scrubber(page).press("ArrowLeft")
    expect(page.locator("#what")).to_have_text("op removed New name")
    expect(card(page, child)).to_have_attribute("data-change", "removed")
    scrubber(page).press("ArrowLeft")
    expect(page.locator("#what")).to_have_text(f"op moved New name from {name} to {name} two")
    expect(card(page, second).locator(f'[data-id="{child}"][data-change="changed"]')).to_be_visible()
    scrubber(page).press("ArrowLeft")
    expect(page.locator("#what")).to_have_text("op renamed Old name to New name")
    expect(card(page, first).locator(f'[data-id="{child}"]')).to_be_visible()
    scrubber(page).press("ArrowLeft")
    expect(page.locator("#what")).to_have_text(f"op created Old name in {name}")
    expect(names(page, child)).to_have_text("Old name")
    expect(card(page, child)).to_have_attribute("data-change", "added")
    expect(page).to_have_url(re.compile(rf"\?at={created}$"))
    scrubber(page).press("Escape")
    expect(card(page, child)).to_have_count(0)
    expect(banner(page)).to_be_hidden()


def test_the_past_is_labelled_and_has_no_live_values(page: Page, platform: Platform, name: str):
    agent = platform.agent(name)
    agent.beat(current_task="Counting", active_tasks=2)
    open_history(page, platform)
    expect(card(page, agent.id).locator(".beat")).to_be_visible()
    before = card(page, agent.id).bounding_box()
    scrubber(page).press("ArrowLeft")
    connection = page.locator("#connection")
    expect(connection).to_have_text("past", use_inner_text=True)
    expect(connection).to_have_attribute("data-status", "past")
    expect(banner(page)).to_have_text(re.compile(r"You are looking at the past: .+ \((just now|\d+ \w+ ago)\)"))
    expect(card(page, agent.id).locator(".beat, .tasks").filter(visible=True)).to_have_count(0)
    expect(card(page, agent.id).locator(".card-task")).to_be_empty()
    assert card(page, agent.id).bounding_box() == before
    banner(page).get_by_role("button", name="Back to live").click()
    expect(card(page, agent.id).locator(".card-task")).to_have_text("Counting")
    expect(connection).to_have_text(re.compile("^live"), use_inner_text=True)
    assert card(page, agent.id).bounding_box() == before


def test_changes_made_meanwhile_appear_on_return_to_the_present(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    open_past(page, platform, newest(platform, workspace))
    steps = int(scrubber(page).get_attribute("max") or 0)
    change(platform, workspace, name=f"{name} renamed")
    added = platform.create(f"{name} added")["id"]
    # The slider grows, but the shown past does not change.
    expect(scrubber(page)).not_to_have_attribute("max", str(steps))
    expect(names(page, workspace)).to_have_text(name)
    expect(card(page, added)).to_have_count(0)
    reads: list[str] = []
    page.on("request", lambda request: reads.append(request.url) if "/workspaces" in request.url else None)
    page.get_by_role("button", name="Back to live").first.click()
    expect(names(page, workspace)).to_have_text(f"{name} renamed")
    expect(card(page, added)).to_be_visible()
    assert not reads


def test_nothing_can_be_moved_or_created_in_the_past(page: Page, platform: Platform, name: str):
    workspace = placed(platform, name, y=80)
    platform.create("Child", parent_id=workspace)
    writes: list[str] = []
    page.on("request", lambda request: writes.append(request.url) if request.method == "PATCH" else None)
    open_past(page, platform, newest(platform, workspace) + 1)
    expect(page.get_by_role("button", name="Create a workspace")).to_be_disabled()
    card(page, workspace).focus()
    page.keyboard.press("Alt+ArrowRight")
    page.keyboard.press("Space")
    expect(card(page, workspace)).to_have_attribute("aria-expanded", "false")
    before = head(page, workspace).bounding_box()
    assert before
    page.mouse.move(before["x"] + 60, before["y"] + 8)
    page.mouse.down()
    page.mouse.move(before["x"] + 160, before["y"] + 58, steps=5)
    page.mouse.up()
    page.keyboard.press("Escape")
    expect(banner(page)).to_be_hidden()
    expect(page.get_by_role("button", name="Create a workspace")).to_be_enabled()
    expect(card(page, workspace)).to_have_attribute("aria-expanded", "true")
    page.wait_for_timeout(700)
    assert not writes
    kept = picture(platform, workspace)
    assert (kept["x"], kept["y"], kept["collapsed"]) == (40, 80, False)


def test_an_address_opens_an_event_and_back_returns_to_the_present(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    then = newest(platform, workspace)
    change(platform, workspace, name="Later")
    open_past(page, platform, then)
    expect(names(page, workspace)).to_have_text(name)
    page.reload()
    expect(names(page, workspace)).to_have_text(name)
    page.go_back()
    expect(names(page, workspace)).to_have_text("Later")
    expect(banner(page)).to_be_hidden()
    assert page.url == f"{platform.url}/"
    page.go_forward()
    expect(names(page, workspace)).to_have_text(name)
    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{platform.url}/")


def test_the_address_can_contain_a_time(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    seq = newest(platform, workspace)
    at = platform.api.get(f"/events/{workspace}", params={"limit": 1}).json()[0]["created_at"]
    page.goto(f"{platform.url}/?at={at}&view=list")
    expect(page.locator("#seq")).to_have_text(f"event {seq}")
    expect(page).to_have_url(re.compile(rf"\?view=list&at={seq}$"))


def test_keys_step_by_one_and_by_ten(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    for tier in (2, 3) * 8:
        change(platform, workspace, tier=tier)
    seqs = [row["seq"] for row in platform.api.get(f"/events/{workspace}", params={"limit": 100}).json()]
    open_canvas(page, platform)
    page.keyboard.press("h")
    expect(page.locator("#oldest")).not_to_be_empty()
    position = page.locator("#seq")
    for key, back in (("ArrowLeft", 0), ("ArrowLeft", 1), ("PageDown", 11), ("ArrowRight", 10), ("PageUp", 0)):
        page.keyboard.press(key)
        expect(position).to_have_text(f"event {seqs[back]}")
        expect(scrubber(page)).to_have_attribute("aria-valuetext", re.compile("changed the tier|created"))
    page.get_by_role("button", name="Previous event").click()
    expect(position).to_have_text(f"event {seqs[1]}")
    page.get_by_role("button", name="Next event").click()
    expect(position).to_have_text(f"event {seqs[0]}")
    scrubber(page).press("Home")
    expect(page.locator("#what")).to_contain_text("created")
    scrubber(page).press("End")
    expect(page.locator("#moment")).to_have_text("Now")
    expect(banner(page)).to_be_hidden()
    page.keyboard.press("h")
    expect(scrubber(page)).to_be_hidden()


def test_older_events_are_loaded_at_the_left_edge(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    change(platform, workspace, tier=2)
    last, created = platform.api.get(f"/events/{workspace}").json()

    def page_full(route: Route) -> None:
        """Simulates a page of events after the last one, shorter than asked for."""
        page = [last | {"seq": last["seq"] + 299 - i} for i in range(300)]
        route.fulfill(json=page, headers={"Link": f'</events?before={last["seq"]}>; rel="next"'})

    page.route("**/events?*", page_full)
    open_history(page, platform)
    expect(scrubber(page)).to_have_attribute("max", "300")
    page.unroute("**/events?*")
    scrubber(page).press("Home")
    expect(page.locator("#seq")).to_have_text(f"event {last['seq']}")
    expect(scrubber(page)).not_to_have_attribute("max", "300")
    page.get_by_role("button", name="Previous event").click()
    expect(page.locator("#seq")).to_have_text(f"event {created['seq']}")
    expect(page.locator("#what")).to_contain_text(f"created {name}")


def test_play_runs_to_the_present(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    change(platform, workspace, tier=2)
    open_past(page, platform, newest(platform, workspace) - 1)
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator("#moment")).to_have_text("Now")
    expect(page.get_by_role("button", name="Play")).to_be_disabled()
    expect(banner(page)).to_be_hidden()


def test_an_outage_is_shown_in_the_timeline(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    change(platform, workspace, tier=2)
    open_history(page, platform)
    page.route(
        "**/canvas/snapshot?*", lambda route: route.fulfill(status=503, json={"error": "database is unavailable"})
    )
    scrubber(page).press("ArrowLeft")
    expect(page.get_by_role("alert").filter(has_text="database is unavailable")).to_be_visible()
    expect(card(page, workspace)).to_be_visible()
    expect(banner(page)).to_be_hidden()
    page.unroute("**/canvas/snapshot?*")
    page.get_by_role("button", name="Try again").click()
    expect(banner(page)).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="database is unavailable")).to_be_hidden()


@pytest.mark.parametrize(
    ("at", "complaint"),
    [
        ("987654321", "There is no event 987654321 yet"),
        ("0", "No events were recorded"),
        ("soon", "must be a position"),
    ],
)
def test_an_unknown_event_is_reported_and_the_present_shown(
    page: Page, platform: Platform, name: str, at: str, complaint: str
):
    workspace = platform.create(name)["id"]
    open_canvas(page, platform, f"?at={at}")
    expect(page.get_by_role("alert").filter(has_text=complaint)).to_be_visible()
    expect(card(page, workspace)).to_be_visible()
    expect(banner(page)).to_be_hidden()
    page.get_by_role("button", name="Back to live").last.click()
    expect(page.get_by_role("alert").filter(has_text=complaint)).to_be_hidden()
    expect(page).to_have_url(f"{platform.url}/")
    expect(page.locator("#oldest")).not_to_be_empty()


def test_each_member_of_a_removed_team_is_shown_as_removed(page: Page, platform: Platform, name: str):
    """All were removed at once: before that moment all were there, at each of its events none is."""
    lead = platform.create(name)["id"]
    members = [platform.create(f"{name} {number}", parent_id=lead)["id"] for number in (1, 2)]
    platform.api.delete(f"/workspaces/{lead}", params={"confirm": "true"})
    for gone in (lead, *members):
        open_past(page, platform, newest(platform, gone))
        expect(card(page, gone)).to_have_attribute("data-change", "removed")
        for other in {lead, *members} - {gone}:
            expect(card(page, other)).to_be_hidden()


def test_a_late_answer_does_not_replace_a_newer_one(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    for new in ("One", "Two", "Three"):
        change(platform, workspace, name=new)
    newest_seq = newest(platform, workspace)
    held: list[Route] = []
    page.route(f"**/canvas/snapshot?at={newest_seq}", lambda route: held.append(route))
    open_history(page, platform)
    scrubber(page).press("ArrowLeft")
    until(lambda: _pumped(page, held), "the first request")
    scrubber(page).press("ArrowLeft")
    expect(names(page, workspace)).to_have_text("Two")
    for route in held:
        route.continue_()
    page.wait_for_timeout(300)
    expect(names(page, workspace)).to_have_text("Two")


def test_a_key_that_is_pressed_while_the_first_events_load_is_not_lost(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    change(platform, workspace, name="Later")
    held: list[Route] = []
    page.route(re.compile(r"/events\?"), lambda route: held.append(route))
    open_canvas(page, platform)
    page.keyboard.press("h")
    page.keyboard.press("ArrowLeft")
    until(lambda: _pumped(page, held), "the request for events")
    held[0].continue_()
    expect(page.locator("#what")).to_have_text(f"op renamed {name} to Later")


def test_the_timeline_works_on_a_phone(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    change(platform, workspace, name="Later")
    page.set_viewport_size({"width": 390, "height": 844})
    open_history(page, platform, f"?ws={workspace}")
    page.get_by_role("button", name="Previous event").click()
    page.get_by_role("button", name="Previous event").click()
    expect(names(page, workspace)).to_have_text(name)
    expect(banner(page)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    for control in page.locator("#timeline button:visible").all():
        box = control.bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844
        assert box["height"] >= 40
    track = scrubber(page).bounding_box()
    assert track
    middle = track["y"] + track["height"] / 2
    page.mouse.click(track["x"] + 100, middle)
    expect(card(page, workspace)).to_have_count(0)
    page.mouse.move(track["x"] + 100, middle)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"], middle, steps=5)
    page.mouse.up()
    expect(page.locator("#moment")).to_have_text("Now")
    expect(names(page, workspace)).to_have_text("Later")


def _pumped(page: Page, held: list[Route]) -> list[Route]:
    """Lets Playwright handle requests, which it does only while it waits."""
    page.wait_for_timeout(50)
    return held
