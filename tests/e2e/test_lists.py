"""Lists in a browser: filters by keyboard, choosing and removing, teams, and every width."""

import csv
import io
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.stack import Platform

WIDTHS = (1440, 1024, 768, 390)
LISTS = (
    "registry/workspace/",
    "registry/workspace/?view=team",
    "registry/agent/",
    "registry/workspacetoken/",
    "registry/operatortoken/",
    "activity/activitylog/",
    "activity/structureevent/",
    "auth/user/",
)


@pytest.fixture(scope="module")
def team(platform: Platform) -> dict[str, str]:
    """A lead with two members, one of them with one below it; and one for itself. Names that only this test has."""
    mark = uuid4().hex[:6]
    ids = {"mark": mark}
    for name, parent in (("Lead", None), ("Scout", "Lead"), ("Reader", "Lead"), ("Helper", "Scout"), ("Alone", None)):
        fields = {"role": f"Does what {name} does, every day and all the time, and says so"}
        if parent:
            fields["parent_id"] = ids[parent]
        ids[name] = platform.create(f"{name} {mark}", model="a-model", **fields)["id"]
    agent = platform.agent(f"Beating {mark}")
    agent.beat(current_task="Reading " + "a very long paper " * 5, error_rate=0.2, sample_error="x")
    agent.post(
        f"/workspaces/{agent.id}/activity",
        {"activity_type": "a2a_send", "status": "error", "error_detail": "refused " * 30, "summary": "Asked " * 30},
    )
    return ids


@pytest.fixture
def admin(platform: Platform, page: Page) -> Callable[[str], Page]:
    """Opens a page of the admin."""

    def go(path: str) -> Page:
        page.goto(f"{platform.url}/admin/{path}")
        return page

    return go


def names(page: Page) -> list[str]:
    return [text.split()[0] for text in page.locator("#result_list tbody th > a").all_inner_texts()]


def test_removing_several_shows_what_goes_and_then_what_happened(
    platform: Platform, admin: Any, team: dict[str, str]
) -> None:
    ids = [platform.create(f"Doomed {team['mark']} {n}")["id"] for n in range(2)]
    below = platform.create(f"Below {team['mark']}", parent_id=ids[0])["id"]
    page = admin(f"registry/workspace/?q=Doomed+{team['mark']}")
    bar = page.locator(".action-bar")
    expect(bar).to_be_hidden()
    page.locator("#action-toggle").check()
    expect(bar.get_by_text("2 chosen")).to_be_visible()
    bar.get_by_role("button", name="Remove…").click()
    expect(page.locator(".consequence")).to_contain_text("3 workspaces: 2 chosen + 1 in their teams")
    button = page.get_by_role("button", name="Remove 3 workspaces")
    expect(button).to_be_in_viewport()
    button.click()
    expect(page.locator(".messagelist")).to_contain_text("Removed 3 workspaces.")
    expect(page.locator(".outcomes tbody tr")).to_have_count(2)
    expect(page.locator(".outcomes")).to_contain_text("with 1 in its team")
    assert {platform.api.get(f"/workspaces/{one}").status_code for one in (*ids, below)} == {410}


def test_the_filter_bar_works_by_keyboard(admin: Any, team: dict[str, str]) -> None:
    page = admin(f"registry/workspace/?q={team['mark']}")
    everything = len(names(page))
    summary = page.locator("details.filter > summary", has_text="Position")
    summary.focus()
    page.keyboard.press("Enter")
    option = page.get_by_label("In a team")
    expect(option).to_be_visible()
    page.keyboard.press("Escape")
    expect(option).to_be_hidden()
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(option).to_be_checked()
    page.keyboard.press("Enter")
    page.wait_for_url("**position=team**")
    assert sorted(names(page)) == ["Helper", "Reader", "Scout"]
    chip = page.get_by_role("link", name="Position: In a team")
    chip.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "position" not in url)
    assert len(names(page)) == everything


def test_below_1200_px_filters_are_a_drawer(admin: Any, team: dict[str, str]) -> None:
    page = admin(f"registry/workspace/?q={team['mark']}")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".filter-controls")).to_be_hidden()
    page.get_by_role("button", name="Filters (1)").click()
    page.locator("details.filter > summary", has_text="Position").click()
    page.get_by_label("Top level", exact=True).check()
    page.get_by_role("button", name="Apply filters").click()
    page.wait_for_url("**position=top**")
    assert "Scout" not in names(page)


def test_teams_fold_and_what_is_found_is_in_its_place(admin: Any, team: dict[str, str]) -> None:
    page = admin(f"registry/workspace/?view=team&team={team['Lead']}")
    scout = page.locator("details.branch", has=page.locator(f"[data-workspace='{team['Scout']}']"))
    helper = page.locator(f"[data-workspace='{team['Helper']}']")
    expect(helper).to_be_visible()
    scout.locator("summary").first.press("Enter")
    expect(helper).to_be_hidden()
    admin(f"registry/workspace/?view=team&q=Helper+{team['mark']}")
    expect(helper).to_be_visible()
    expect(page.locator(".node.above")).to_have_count(2)


def test_a_large_team_is_loaded_when_it_is_opened(platform: Platform, admin: Any, team: dict[str, str]) -> None:
    page = admin(f"registry/workspace/?view=team&team={team['Lead']}")
    branch = page.locator("details.branch").first
    # As a page shows it that has too many below: without its members.
    branch.evaluate(
        """(branch, url) => {
          branch.querySelector(".tree").outerHTML = `<p class="load"><a href="${url}">Show the team</a></p>`;
          branch.open = false;
          branch.dataset.load = url;
        }""",
        f"?view=team&team={team['Scout']}",
    )
    page.wait_for_timeout(200)
    branch.locator("summary").first.click()
    expect(page.locator(f"[data-workspace='{team['Helper']}']")).to_be_visible()
    expect(branch.locator(".load")).to_have_count(0)


def test_the_file_has_what_the_list_shows(admin: Any, team: dict[str, str]) -> None:
    page = admin(f"registry/workspace/?q={team['mark']}&position=team")
    page.get_by_role("link", name="Export…").click()
    expect(page.locator("main")).to_contain_text("3 rows")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    with open(download.value.path(), newline="") as file:
        rows = list(csv.DictReader(io.StringIO(file.read(), newline="")))
    assert {row["id"] for row in rows} == {team[name] for name in ("Scout", "Reader", "Helper")}
    assert download.value.suggested_filename.startswith("workspaces-")


def test_a_filter_is_saved_and_offered(admin: Any, team: dict[str, str]) -> None:
    page = admin(f"registry/workspace/?q={team['mark']}")
    page.locator("summary", has_text="Save filter").click()
    page.get_by_label("Name", exact=True).fill(f"Mine {team['mark']}")
    page.get_by_role("button", name="Save filter").click()
    expect(page.locator(".chip.saved[aria-current]")).to_have_text(f"Mine {team['mark']}")
    admin("registry/workspace/")
    page.get_by_role("link", name=f"Mine {team['mark']}").click()
    page.wait_for_url(f"**q={team['mark']}**")


CLIPPED = """() => [...document.querySelectorAll("#results :is(th, td, .node)")]
  .filter((cell) => !cell.closest("thead") || getComputedStyle(cell.closest("thead")).clipPath === "none")
  .filter((cell) => cell.getClientRects().length && cell.getBoundingClientRect().right > innerWidth + 1)
  .map((cell) => cell.textContent.trim())"""
UNLABELLED = """() => [...document.querySelectorAll("#result_list tbody td:not(.choose)")]
  .filter((cell) => cell.getClientRects().length && cell.textContent.trim())
  .filter((cell) => getComputedStyle(cell, "::before").content in {none: 1, normal: 1, '""': 1})
  .map((cell) => cell.className)"""


@pytest.mark.parametrize("path", LISTS)
def test_nothing_is_cut_at_any_width_and_cards_have_labels(admin: Any, team: dict[str, str], path: str) -> None:
    page = admin(path)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        assert page.evaluate(CLIPPED) == [], width
        if width < 900:
            assert page.evaluate(UNLABELLED) == [], width
