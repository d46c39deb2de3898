"""Workspaces are moved into other teams on the canvas: by mouse, by keyboard, back again, and while others act."""

from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.stack import Platform
from tests.e2e.test_canvas_page import another_page as another_page
from tests.e2e.test_canvas_page import box_of, card, head, open_canvas, placed, placed_apart


@pytest.fixture
def name() -> str:
    return f"Moving {uuid4().hex[:8]}"


@pytest.fixture
def pair(platform: Platform, name: str) -> tuple[str, str, str]:
    """A lead with a member, and a card beside it."""
    lead, other = placed_apart(platform, f"{name} lead", f"{name} other")
    return lead, str(platform.create(f"{name} member", parent_id=lead)["id"]), other


def parent(platform: Platform, workspace: str) -> str | None:
    found: str | None = platform.api.get(f"/workspaces/{workspace}").json()["parent_id"]
    return found


def take(page: Page, workspace: str, *, below: float = 8) -> None:
    """Presses on a card, on its head unless it is farther below, and begins to move it."""
    box = box_of(head(page, workspace))
    page.mouse.move(box["left"] + 30, box["top"] + below)
    page.mouse.down()
    page.mouse.move(box["left"] + 40, box["top"] + below + 4, steps=2)


def carry(page: Page, workspace: str) -> None:
    """Moves what was taken over another card."""
    box = box_of(head(page, workspace))
    page.mouse.move(box["left"] + 50, box["top"] + 14, steps=5)


def test_a_card_is_dragged_into_a_team_and_out_of_it(
    page: Page, platform: Platform, pair: tuple[str, str, str], name: str
):
    lead, member, other = pair
    open_canvas(page, platform)
    before = box_of(card(page, other))
    take(page, other, below=80)
    carry(page, member)
    expect(card(page, other)).to_have_attribute("data-word", f"Move into {name} member")
    carry(page, lead)
    expect(card(page, other)).to_have_attribute("data-word", f"Move into {name} lead")
    # Escape while it is dragged: it is where it was.
    page.keyboard.press("Escape")
    page.mouse.up()
    assert box_of(card(page, other)) == before

    take(page, other)
    carry(page, lead)
    page.mouse.up()
    question = page.get_by_role("dialog", name=f"Move {name} other into {name} lead?")
    question.get_by_role("button", name="Cancel").click()
    assert box_of(card(page, other)) == before
    assert parent(platform, other) is None

    take(page, lead)
    carry(page, other)
    page.mouse.up()
    expect(page.get_by_role("dialog")).to_contain_text("Its team of 1 goes along. Whom it may talk to changes at once.")
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.locator(".toast")).to_contain_text(f"Moved {name} lead into {name} other.")
    expect(card(page, other).locator(f'[data-id="{lead}"]')).to_be_visible()
    assert parent(platform, lead) == other

    # Out of its team, to where it is dropped.
    take(page, member)
    page.mouse.move(700, 700, steps=5)
    expect(card(page, member)).to_have_attribute("data-word", "Move to the top level")
    page.mouse.up()
    page.get_by_role("dialog", name=f"Move {name} member to the top level?").get_by_role("button", name="Move").click()
    expect(
        page.locator("#board > .card", has=page.get_by_role("link", name=f"{name} member", exact=True))
    ).to_have_count(1)
    expect(page.locator(".toast", has_text=f"Moved {name} member to the top level.")).to_be_visible()
    assert abs(box_of(head(page, member))["left"] - 670) < 40
    assert parent(platform, member) is None

    # The last one first.
    page.keyboard.press("Control+z")
    expect(card(page, lead).locator(f'[data-id="{member}"]')).to_be_visible()
    page.keyboard.press("Control+z")
    expect(page.locator(f'#board > [data-id="{lead}"]')).to_be_visible()
    # The last outcome alone: several would cover the cards.
    expect(page.locator(".toast p")).to_have_text([f"Moved {name} lead back."])
    page.keyboard.press("Control+z")
    expect(page.locator(".toast p")).to_have_text(["There is no move to undo."])
    assert (parent(platform, member), parent(platform, lead)) == (lead, None)


def test_a_member_stays_where_it_was_dropped_in_its_team(page: Page, platform: Platform, name: str):
    lead = placed(platform, name)
    first, second = (platform.create(f"{name} {word}", parent_id=lead)["id"] for word in ("first", "second"))
    open_canvas(page, platform)
    others = box_of(card(page, second))
    take(page, first)
    target = box_of(card(page, lead))
    page.mouse.move(target["left"] + 50, target["bottom"] - 8, steps=5)
    page.mouse.up()
    expect(page.get_by_role("dialog")).to_have_count(0)
    dropped = box_of(card(page, first))
    assert dropped["top"] > others["top"] + 20
    assert box_of(card(page, second)) == others
    assert parent(platform, first) == lead
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        page.keyboard.press("Alt+ArrowDown")
    page.reload()
    expect(card(page, first)).to_be_visible()
    assert box_of(card(page, first))["top"] > dropped["top"]


def test_a_workspace_is_moved_by_keyboard(page: Page, platform: Platform, pair: tuple[str, str, str], name: str):
    _lead, member, other = pair
    open_canvas(page, platform, f"?ws={member}&view=list")
    expect(card(page, member)).to_be_focused()
    page.keyboard.press("m")
    page.keyboard.press("m")
    page.keyboard.press("Enter")
    field = page.get_by_role("combobox", name="Team")
    expect(field).to_be_focused()
    field.press_sequentially(f"{name} l")
    expect(page.get_by_role("option")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("Nothing of that name can be chosen.")
    field.fill(f"{name} o")
    expect(page.get_by_role("option", selected=True)).to_have_text(f"{name} other")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text(f"Moved {name} member into {name} other.")
    expect(card(page, member)).to_be_focused()
    assert parent(platform, member) == other
    page.keyboard.press("m")
    page.keyboard.press("m")
    page.keyboard.press("Enter")
    expect(page.get_by_role("option", selected=True)).to_have_text("Top level")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).not_to_have_text("Top level")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator(".toast", has_text="to the top level.")).to_be_visible()
    assert parent(platform, member) is None


def test_what_others_did_meanwhile_stays(
    page: Page, another_page: Page, platform: Platform, pair: tuple[str, str, str], name: str
):
    _lead, member, other = pair
    open_canvas(page, platform)
    take(page, member)
    page.mouse.move(700, 700, steps=5)
    # Another browser moves it while it is dragged: it stays under the pointer, and is dropped where that is.
    open_canvas(another_page, platform, f"?ws={member}")
    for key in ("m", "m", "Enter"):
        another_page.keyboard.press(key)
    another_page.get_by_role("combobox", name="Team").fill(f"{name} other")
    another_page.keyboard.press("Enter")
    expect(another_page.locator(".toast")).to_contain_text(f"Moved {name} member into {name} other.")
    expect(card(page, other).locator(f'[data-id="{member}"]')).to_be_attached()
    assert abs(box_of(head(page, member))["left"] - 670) < 40
    page.mouse.up()
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.locator(".toast")).to_contain_text(f"Moved {name} member to the top level.")
    assert parent(platform, member) is None

    # Now the other browser's move cannot be undone: nothing is overwritten.
    expect(another_page.locator(f'#board > [data-id="{member}"]')).to_be_attached()
    another_page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(another_page.locator(".toast", has_text="Not undone: ")).to_contain_text("the parent has been changed since")
    assert parent(platform, member) is None

    # Removed while the page asks, and while it is dragged.
    take(page, member)
    carry(page, other)
    page.mouse.up()
    assert platform.api.delete(f"/workspaces/{member}?confirm=true").status_code == 200
    expect(page.locator(".toast", has_text=f"{name} member was removed while it was moved.")).to_be_attached()
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).not_to_be_empty()
    page.keyboard.press("Escape")
    take(page, other)
    page.mouse.move(700, 700, steps=5)
    assert platform.api.delete(f"/workspaces/{other}?confirm=true").status_code == 200
    expect(page.locator(".toast", has_text=f"{name} other was removed while it was moved.")).to_be_visible()
    page.mouse.up()
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_move_without_a_connection_changes_nothing(
    page: Page, platform: Platform, pair: tuple[str, str, str], name: str
):
    lead, _, other = pair
    open_canvas(page, platform)
    before = box_of(card(page, other))
    take(page, other)
    page.context.set_offline(True)
    carry(page, lead)
    page.mouse.up()
    page.get_by_role("button", name="Move", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("the server cannot be reached")
    page.keyboard.press("Escape")
    assert box_of(card(page, other)) == before
    page.context.set_offline(False)
    assert parent(platform, other) is None
