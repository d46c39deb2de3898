"""The canvas page in a real browser, against a real server."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, WebSocketRoute, expect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import Agent, Platform, manage, until

# Free areas for placed_apart().
COLUMN = count(start=1, step=10)
ROW = count(start=1)


@pytest.fixture
def name() -> str:
    """Unique, because the platform is shared."""
    return f"Team {uuid4().hex[:8]}"


@pytest.fixture
def another_page(platform: Platform, browser: Browser) -> Iterator[Page]:
    yield from signed_in(platform, browser)


def card(page: Page, workspace_id: str) -> Locator:
    return page.locator(f'.card[data-id="{workspace_id}"]')


def head(page: Page, workspace_id: str) -> Locator:
    return card(page, workspace_id).locator("> .card-head")


def open_canvas(page: Page, platform: Platform, query: str = "") -> None:
    page.goto(f"{platform.url}/{query}")
    expect(page.locator("#connection-word")).to_have_text("live")


def picture(platform: Platform, workspace_id: str) -> dict[str, Any]:
    found: dict[str, Any] = platform.api.get(f"/workspaces/{workspace_id}").json()
    return found


def placed(platform: Platform, name: str, x: float = 40, y: float | None = None) -> str:
    """A top-level card that the saved camera shows, by default where no other is: one would be shown beside it."""
    return str(platform.create(name, canvas=shown_place(platform, x, y))["id"])


def placed_agent(platform: Platform, name: str) -> Agent:
    """An agent whose card the saved camera shows, where no other is."""
    return platform.agent(name, canvas=shown_place(platform))


def shown_place(platform: Platform, x: float = 40, y: float | None = None) -> dict[str, float]:
    y = 5000 * next(ROW) if y is None else y
    platform.api.put("/canvas/viewport", json={"x": 0, "y": 80 - 0.99 * y, "zoom": 0.99})
    return {"x": x, "y": y}


def placed_apart(platform: Platform, *names: str) -> list[str]:
    """Top-level cards beside each other, far from those of other tests, with the camera on them."""
    x, y = 400 * next(COLUMN), -5000
    platform.api.put("/canvas/viewport", json={"x": 40 - x, "y": 160 - y, "zoom": 1})
    return [placed_at(platform, name, x + 400 * n, y) for n, name in enumerate(names)]


def placed_at(platform: Platform, name: str, x: float, y: float) -> str:
    return str(platform.create(name, canvas={"x": x, "y": y})["id"])


def drag(page: Page, workspace_id: str, dx: float, dy: float) -> None:
    box = head(page, workspace_id).bounding_box()
    assert box
    page.mouse.move(box["x"] + 60, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 60 + dx, box["y"] + 8 + dy, steps=5)
    page.mouse.up()


def box_of(locator: Locator) -> dict[str, float]:
    box = locator.bounding_box()
    assert box
    return {"left": box["x"], "right": box["x"] + box["width"], "top": box["y"], "bottom": box["y"] + box["height"]}


def no_workspaces(route: Route) -> None:
    route.fulfill(json=[], headers={"X-Event-Seq": "0"})


def test_cards_lie_inside_their_parent(page: Page, platform: Platform, name: str):
    parent = platform.agent(name)
    child = platform.create("Child", parent_id=parent.id)["id"]
    grandchild = platform.create("Grandchild", parent_id=child)["id"]
    open_canvas(page, platform)
    expect(card(page, parent.id).locator(f'[data-id="{child}"] [data-id="{grandchild}"]')).to_be_visible()
    expect(card(page, parent.id).locator("> .team .below")).to_have_text("2 awaiting agent")
    expect(card(page, child)).to_have_attribute("role", "treeitem")


def test_changes_appear_without_a_reload(page: Page, platform: Platform, name: str):
    agent = platform.agent(name)
    open_canvas(page, platform)
    own = card(page, agent.id)
    expect(own.locator(".status-word")).to_have_text("online")
    expect(own.locator(".beat")).to_have_text("none yet")
    agent.beat(error_rate=0.9, sample_error="model gateway is down", current_task="Counting", active_tasks=3)
    expect(own.locator(".status-word")).to_have_text("degraded")
    expect(own.locator(".card-error")).to_have_text("model gateway is down")
    expect(own.locator(".card-task")).to_have_text("Counting")
    expect(own.locator(".tasks")).to_have_text("3 tasks")
    expect(own.locator(".beat")).to_have_text(re.compile(r"^(now|\d+ s ago)$"))
    agent.beat(current_task="Counting", active_tasks=1)
    expect(own.locator(".tasks")).to_be_hidden()
    added = platform.create("New member", parent_id=agent.id)["id"]
    expect(own.locator(f'[data-id="{added}"]')).to_be_visible()
    platform.api.delete(f"/workspaces/{agent.id}?confirm=true")
    expect(own).to_have_count(0)


def test_the_card_shows_the_reason_of_a_failure(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    open_canvas(page, platform)
    script = (
        "from django.db import transaction\n"
        "from activity.events import NewEvent, record\n"
        "from registry.structure.projection import apply\n"
        "with transaction.atomic():\n"
        f"    failed = NewEvent(event_type='WORKSPACE_PROVISION_FAILED', workspace_id='{workspace}',\n"
        "        payload={'from': 'provisioning', 'error': 'no image'})\n"
        "    apply(record([failed], actor='supervisor'))\n"
    )
    manage(platform.environment, "shell", "-v0", "-c", script)
    expect(card(page, workspace).locator(".status-word")).to_have_text("failed")
    expect(card(page, workspace).locator(".card-error")).to_have_text("no image")


def test_refused_heartbeats_are_shown_until_a_good_one(page: Page, platform: Platform, name: str):
    agent, other = platform.agent(name), platform.agent(f"{name} B")
    open_canvas(page, platform)
    refusal = card(page, agent.id).locator(".card-refusal")
    expect(refusal).to_be_hidden()
    for times in ("once", "2 times"):
        assert replace(agent, token=other.token).beat().status_code == 403
        line = rf"^Refused {times}: token of another workspace, from 127\.0\.0\.1, (now|\d+ s ago)$"
        expect(refusal).to_have_text(re.compile(line))
    assert agent.beat().status_code == 200
    expect(refusal).to_be_hidden()


def test_a_new_workspace_awaits_its_agent_until_its_enrolment_token_is_revoked(
    page: Page, platform: Platform, name: str
):
    open_canvas(page, platform)
    workspace = platform.create(name)["id"]
    word = card(page, workspace).locator(".status-word")
    expect(word).to_have_text("awaiting agent")
    tokens = platform.api.get(f"/workspaces/{workspace}/tokens").json()["tokens"]
    assert platform.api.delete(f"/workspaces/{workspace}/tokens/{tokens[0]['id']}").is_success
    expect(word).to_have_text("enrolment expired")
    assert platform.api.post(f"/workspaces/{workspace}/enrolment").is_success
    expect(word).to_have_text("awaiting agent")


def test_the_page_loads_the_list_twice_and_then_uses_events_only(page: Page, platform: Platform, name: str):
    agent = platform.agent(name)
    reads: list[str] = []
    page.on("request", lambda request: reads.append(request.url) if request.url.endswith("/workspaces") else None)
    open_canvas(page, platform)
    for task in ("One", "Two", "Three"):
        agent.beat(current_task=task)
        expect(card(page, agent.id).locator(".card-task")).to_have_text(task)
    assert len(reads) == 2


def test_the_place_of_a_dragged_card_is_saved(page: Page, platform: Platform, name: str):
    [workspace] = placed_apart(platform, name)
    old = picture(platform, workspace)
    open_canvas(page, platform)
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        drag(page, workspace, 100, 50)
    kept = picture(platform, workspace)
    assert kept["x"] == pytest.approx(old["x"] + 100, abs=2)
    assert kept["y"] == pytest.approx(old["y"] + 50, abs=2)
    before = card(page, workspace).bounding_box()
    open_canvas(page, platform)
    assert card(page, workspace).bounding_box() == before


def test_a_card_that_would_cover_another_goes_beside_it(page: Page, platform: Platform, name: str):
    first, second = placed_apart(platform, name, f"{name} two")
    saved: list[str] = []
    page.on("request", lambda request: saved.append(request.url) if request.method == "PATCH" else None)
    open_canvas(page, platform)
    still = box_of(card(page, first))
    with page.expect_response(lambda response: response.request.method == "PATCH"):
        drag(page, second, -200, 10)
    dropped = box_of(card(page, second))
    assert box_of(card(page, first)) == still
    assert dropped["top"] >= still["bottom"] or dropped["left"] >= still["right"]
    assert abs(dropped["left"] - still["left"]) < 400
    assert len(saved) == 1
    open_canvas(page, platform)
    assert box_of(card(page, second)) == dropped
    assert picture(platform, second)["parent_id"] is None


def test_a_refused_move_is_undone_and_explained(page: Page, platform: Platform, name: str):
    workspace = placed(platform, name)
    page.route(f"**/workspaces/{workspace}", lambda route: route.fulfill(status=403, json={"error": "not allowed"}))
    open_canvas(page, platform)
    before = card(page, workspace).bounding_box()
    card(page, workspace).focus()
    page.keyboard.press("Alt+ArrowRight")
    expect(page.get_by_role("alert").filter(has_text="not allowed")).to_be_visible()
    assert card(page, workspace).bounding_box() == before


def test_a_collapsed_card_stays_collapsed_in_this_browser(
    page: Page, another_page: Page, platform: Platform, name: str
):
    parent = platform.agent(name)
    child = platform.create("Child", parent_id=parent.id)["id"]
    open_canvas(page, platform, f"?ws={parent.id}")
    card(page, parent.id).locator("> .team .fold").click()
    expect(card(page, child)).to_be_hidden()
    open_canvas(page, platform, f"?ws={parent.id}")
    expect(card(page, parent.id)).to_have_attribute("aria-expanded", "false")
    expect(card(page, child)).to_be_hidden()
    open_canvas(another_page, platform, f"?ws={parent.id}")
    expect(card(another_page, child)).to_be_visible()
    card(page, parent.id).focus()
    page.keyboard.press("Space")
    expect(card(page, child)).to_be_visible()
    assert not picture(platform, parent.id)["collapsed"], "it is nobody else's"


def test_arrow_keys_focus_and_move_cards(page: Page, platform: Platform, name: str):
    workspace = placed(platform, name)
    old = picture(platform, workspace)
    child = platform.create("Child", parent_id=workspace)["id"]
    open_canvas(page, platform)
    card(page, workspace).focus()
    page.keyboard.press("ArrowRight")
    expect(card(page, child)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(card(page, workspace)).to_be_focused()
    page.keyboard.press("Alt+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    until(
        lambda: (picture(platform, workspace)["x"], picture(platform, workspace)["y"]) == (old["x"] + 8, old["y"] + 40),
        "the moves to be saved",
    )
    page.keyboard.press("Tab")
    expect(head(page, workspace).get_by_role("link")).to_be_focused()


def test_the_viewport_is_saved(page: Page, platform: Platform, name: str):
    placed(platform, name)
    open_canvas(page, platform)
    with page.expect_response("**/canvas/viewport"):
        page.keyboard.press("0")
        page.mouse.move(700, 500)
        page.mouse.wheel(30, -50)
    assert platform.api.get("/canvas/viewport").json()["zoom"] == 1
    saved = page.locator("#board").get_attribute("style")
    open_canvas(page, platform)
    expect(page.locator("#board")).to_have_attribute("style", saved or "")


def test_full_size_shows_the_selected_card_or_the_nearest(page: Page, platform: Platform, name: str):
    first, second = placed_apart(platform, name, f"{name} two")
    platform.api.put("/canvas/viewport", json={"x": 200, "y": 200 + 5000 * 0.05, "zoom": 0.05})
    open_canvas(page, platform)
    page.mouse.move(700, 500)
    page.mouse.wheel(0, 900)
    page.get_by_role("button", name="Zoom to 100%").click()
    expect(page.locator("#zoom")).to_have_text("100%")
    expect(page.locator(".card .card-head").filter(visible=True)).not_to_have_count(0)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.card-head')].some(head => document.getElementById('view')"
        ".contains(document.elementFromPoint(head.getBoundingClientRect().x + 9, head.getBoundingClientRect().y + 9)))"
    )
    for workspace in (first, second):
        card(page, workspace).focus()
        page.keyboard.press("f")
        page.keyboard.press("0")
        expect_centred(page, workspace)


def expect_centred(page: Page, workspace_id: str) -> None:
    page.wait_for_function(
        """id => {
            const middle = ({ left, right, top, bottom }) => [(left + right) / 2, (top + bottom) / 2];
            const box = (css) => middle(document.querySelector(css).getBoundingClientRect());
            const [card, view] = [box(`.card[data-id="${id}"]`), box("#view")];
            return card.every((at, axis) => Math.abs(at - view[axis]) < 2);
        }""",
        arg=workspace_id,
    )


def test_an_address_focuses_a_workspace(page: Page, platform: Platform, name: str):
    parent = placed(platform, name)
    child = platform.create("Child", parent_id=parent)["id"]
    grandchild = platform.create("Grandchild", parent_id=child)["id"]
    for collapsed in (parent, child):
        platform.api.patch(f"/workspaces/{collapsed}", json={"collapsed": True})
    open_canvas(page, platform, f"?ws={grandchild}")
    expect(card(page, grandchild)).to_be_focused()
    expect(card(page, grandchild)).to_have_attribute("aria-selected", "true")
    expect_centred(page, grandchild)
    expect(page).to_have_url(f"{platform.url}/?ws={grandchild}")
    assert picture(platform, parent)["collapsed"], "the address changes nothing for others"
    page.set_viewport_size({"width": 390, "height": 844})
    open_canvas(page, platform, f"?ws={grandchild}")
    expect(page.get_by_role("tab", name="Overview")).to_be_focused()
    page.keyboard.press("Escape")
    expect(card(page, grandchild)).to_be_focused()
    expect(card(page, grandchild)).to_be_in_viewport()


def test_an_address_focuses_its_workspace_after_a_failed_load(page: Page, platform: Platform, name: str):
    workspace = platform.create(name)["id"]
    page.route("**/workspaces", lambda route: route.fulfill(status=503, json={"error": "unavailable"}), times=1)
    page.goto(f"{platform.url}/?ws={workspace}")
    expect(page.get_by_role("heading", name="could not be loaded")).to_be_visible()
    expect(card(page, workspace)).to_be_focused()
    expect(page.locator(".toast")).to_have_count(0)


def test_an_address_with_an_unknown_workspace_says_so(page: Page, platform: Platform, name: str):
    platform.agent(name)
    missing = uuid4()
    open_canvas(page, platform, f"?ws={missing}")
    expect(page.get_by_role("alert").filter(has_text=f"Workspace {missing} is not shown here")).to_be_visible()
    expect(page).to_have_url(f"{platform.url}/?ws={missing}")


def test_the_theme_is_shared_with_the_admin_in_every_tab(page: Page, platform: Platform):
    open_canvas(page, platform)
    admin = page.context.new_page()
    admin.goto(f"{platform.url}/admin/")
    root, other = page.locator("html"), admin.locator("html")
    expect(root).to_have_attribute("data-theme", "auto")
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Theme: automatic").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    for tab in (root, other):
        expect(tab).to_have_attribute("data-theme", "dark")
        expect(tab).to_have_css("color-scheme", "dark")
    admin.evaluate("localStorage.clear()")
    expect(root).to_have_attribute("data-theme", "auto")
    admin.evaluate("localStorage.setItem('theme', 'light')")
    expect(root).to_have_css("color-scheme", "light")
    page.reload()
    expect(root).to_have_attribute("data-theme", "light")


@pytest.mark.parametrize("width", [1440, 1024, 768, 390])
def test_the_header_never_wraps_or_moves_the_map(page: Page, platform: Platform, name: str, width: int):
    sample = picture(platform, platform.create(name)["id"])
    states = ("online", "degraded", "offline", "failed", "provisioning", "paused")
    rows = [sample | {"id": str(uuid4()), "status": state} for state in states for _ in range(12)]
    page.set_viewport_size({"width": width, "height": 800})
    page.route("**/workspaces", lambda route: route.fulfill(json=[], headers={"X-Event-Seq": "0"}))
    open_canvas(page, platform)
    header, view = page.locator(".bar"), page.locator("#view")
    before = header.bounding_box(), view.bounding_box()
    page.route("**/workspaces", lambda route: route.fulfill(json=rows, headers={"X-Event-Seq": "0"}))
    page.route_web_socket(re.compile("/ws"), lambda socket: socket.close(code=1013))
    page.reload()
    expect(page.locator("#connection-word")).to_have_text(re.compile("^reconnecting"))
    expect(page.locator("#counts .chip")).to_have_count(len(states))
    assert (header.bounding_box(), view.bounding_box()) == before
    outer = box_of(header)
    parts = page.locator(".brand, #counts, #connection, .bar nav > .quiet").filter(visible=True)
    boxes = [box_of(part) for part in parts.all()]
    for box in boxes:
        assert outer["left"] <= box["left"] <= box["right"] <= outer["right"]
        assert outer["top"] <= box["top"] <= box["bottom"] <= outer["bottom"]
    for n, one in enumerate(boxes):
        for other in boxes[n + 1 :]:
            apart = one["right"] <= other["left"] or other["right"] <= one["left"]
            assert apart or one["bottom"] <= other["top"] or other["bottom"] <= one["top"]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("button", name="Log out")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Log out")).to_be_hidden()


def test_names_are_not_interpreted_as_markup(page: Page, platform: Platform):
    markup = '<b>bold</b><img src=x onerror="alert(1)"> 🧪'
    workspace = platform.create(markup, role="<i>role</i>")["id"]
    open_canvas(page, platform)
    expect(head(page, workspace).locator(".card-name")).to_have_text(markup)
    expect(head(page, workspace).locator("b, i:not(.status i), img")).to_have_count(0)


def test_an_empty_organisation_offers_to_create_a_workspace(page: Page, platform: Platform):
    page.route("**/workspaces", no_workspaces)
    page.route_web_socket(re.compile("/ws"), lambda socket: socket.send('{"event":"STREAM_LIVE","seq":0}'))
    open_canvas(page, platform)
    expect(page.get_by_role("heading", name="No workspaces yet")).to_be_visible()
    page.locator("#empty").get_by_role("button", name="Create a workspace").click()
    expect(page.get_by_role("dialog", name="Create a workspace")).to_be_visible()
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#board, #error, #loading").filter(visible=True)).to_have_count(0)


def test_an_outage_differs_from_an_empty_organisation(page: Page, platform: Platform, name: str):
    workspace = platform.agent(name)
    page.route("**/workspaces", lambda route: route.abort())
    page.goto(platform.url)
    expect(page.get_by_role("heading", name="could not be loaded")).to_be_visible()
    expect(page.locator("#failure")).to_have_text("the server cannot be reached")
    expect(page.locator("#empty, #board").filter(visible=True)).to_have_count(0)
    page.unroute("**/workspaces")
    page.get_by_role("button", name="Try now").click()
    expect(card(page, workspace.id)).to_be_visible()
    expect(page.locator("#connection-word")).to_have_text("live")


def test_the_page_loads_by_itself_after_an_outage(page: Page, platform: Platform, name: str):
    workspace = platform.agent(name)
    page.route(
        "**/workspaces", lambda route: route.fulfill(status=503, json={"error": "database is unavailable"}), times=1
    )
    page.goto(platform.url)
    expect(page.locator("#failure")).to_have_text("database is unavailable")
    expect(card(page, workspace.id)).to_be_visible()


def test_the_page_reloads_the_list_when_events_were_missed(page: Page, platform: Platform, name: str):
    agent = platform.agent(name)
    sockets: list[WebSocketRoute] = []

    def forward(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        server = socket.connect_to_server()
        server.on_message(lambda text: None if "TASK_UPDATED" in text or "HEARTBEAT" in text else socket.send(text))

    page.route_web_socket(re.compile("/ws"), forward)
    open_canvas(page, platform)
    expect(card(page, agent.id)).to_be_visible()
    agent.beat(current_task="lost in transit")
    expect(card(page, agent.id)).not_to_contain_text("lost in transit")
    sockets[-1].send('{"event":"STREAM_LIVE","seq":0}')
    expect(card(page, agent.id)).to_contain_text("lost in transit")


def test_after_a_lost_connection_the_page_says_so_and_catches_up(page: Page, platform: Platform, name: str):
    agent = platform.agent(name)
    sockets: list[WebSocketRoute] = []
    is_down = False

    def relay(socket: WebSocketRoute) -> None:
        if is_down:
            socket.close(code=1013)
        else:
            socket.connect_to_server()
            sockets.append(socket)

    page.route_web_socket(re.compile("/ws"), relay)
    open_canvas(page, platform)
    is_down = True
    sockets[-1].close(code=1012)
    expect(page.locator("#banner")).to_be_visible()
    expect(card(page, agent.id)).to_be_visible()
    expect(page.locator("#connection-word")).to_have_text(re.compile("reconnecting"))
    agent.beat(current_task="Changed meanwhile", error_rate=0.9)
    is_down = False
    page.get_by_role("button", name="Try now").click()
    expect(card(page, agent.id).locator(".card-task")).to_have_text("Changed meanwhile")
    expect(card(page, agent.id).locator(".status-word")).to_have_text("degraded")
    expect(page.locator("#banner")).to_be_hidden()


def test_a_refused_socket_shows_signed_out(page: Page, platform: Platform, name: str):
    platform.agent(name)
    page.route_web_socket(re.compile("/ws"), lambda socket: socket.close(code=4401))
    page.goto(platform.url)
    expect(page.get_by_role("heading", name="You were signed out")).to_be_visible()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()


def test_two_users_see_the_same_layout(page: Page, another_page: Page, platform: Platform, name: str):
    workspace = placed(platform, name)
    for each in (page, another_page):
        open_canvas(each, platform, f"?ws={workspace}")
    before = card(another_page, workspace).bounding_box()
    assert before
    card(page, workspace).focus()
    page.keyboard.press("Shift+ArrowRight")
    card(another_page, workspace).evaluate("card => card.id = 'moving'")
    another_page.wait_for_function(
        "x => document.getElementById('moving').getBoundingClientRect().x > x + 30", arg=before["x"]
    )


def test_a_read_only_user_changes_nothing(viewer_page: Page, platform: Platform, name: str):
    page = viewer_page
    workspace = placed(platform, name)
    old = picture(platform, workspace)
    child = platform.create("Child", parent_id=workspace)["id"]
    writes: list[str] = []
    page.on("request", lambda request: writes.append(request.url) if request.method != "GET" else None)
    open_canvas(page, platform)
    card(page, workspace).focus()
    page.keyboard.press("Space")
    expect(card(page, child)).to_be_hidden()
    page.keyboard.press("Alt+ArrowRight")
    drag(page, workspace, 100, 50)
    page.reload()
    expect(card(page, workspace)).to_have_attribute("aria-expanded", "false")
    assert not writes
    kept = picture(platform, workspace)
    assert (kept["x"], kept["y"]) == (old["x"], old["y"])


def test_a_phone_shows_a_tree_list(page: Page, platform: Platform, name: str):
    parent = platform.agent(name)
    child = platform.create("Child", parent_id=parent.id)["id"]
    page.set_viewport_size({"width": 390, "height": 844})
    open_canvas(page, platform, f"?ws={parent.id}")
    tree = page.get_by_role("tree")
    expect(tree).to_be_visible()
    box = tree.bounding_box()
    assert box
    assert box["width"] <= 390
    expect(page.locator("body")).to_have_attribute("data-view", "list")
    page.keyboard.press("Escape")
    expect(card(page, parent.id)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(card(page, child)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(card(page, child)).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_ages_in_the_list_have_labels(page: Page, platform: Platform, name: str):
    agent = platform.agent(name)
    agent.beat()
    page.set_viewport_size({"width": 390, "height": 844})
    open_canvas(page, platform, f"?ws={agent.id}")
    label = card(page, agent.id).locator(".beat-label")
    assert box_of(label)["right"] <= box_of(card(page, agent.id).locator(".beat"))["left"]
    expect(card(page, agent.id).locator(".card-foot")).to_have_text(re.compile(r"Heartbeat\s*(now|\d+ s ago)\s*$"))


def test_a_wide_screen_can_show_the_list(page: Page, platform: Platform, name: str):
    platform.agent(name)
    open_canvas(page, platform)
    page.get_by_role("button", name="List").click()
    expect(page).to_have_url(re.compile(r"\?view=list$"))
    expect(page.locator("body")).to_have_attribute("data-view", "list")
    page.reload()
    expect(page.locator(".row").first).to_be_visible()
    expect(page.locator("body")).to_have_attribute("data-view", "list")


def test_the_shortcuts_dialog_opens_and_closes(page: Page, platform: Platform):
    open_canvas(page, platform)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
