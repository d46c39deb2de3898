"""A name of 255 characters without a space widens no page; its whole text is at hand."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import Platform

LONG = "W" * 255
PAGES = [
    "/admin/registry/workspace/?q=WWWW",
    "/admin/registry/workspace/{id}/change/",
    "/admin/registry/workspace/{member}/change/",
    "/admin/registry/workspace/{id}/activity/",
    "/admin/registry/workspace/{id}/events/",
    "/admin/registry/workspace/{id}/team/",
    "/admin/registry/workspace/{id}/agent/",
    "/admin/registry/workspace/{id}/settings/",
    "/admin/registry/workspace/{id}/connect/",
    "/admin/registry/workspace/{id}/expand/",
    "/admin/registry/workspace/remove/?id={id}",
    "/admin/registry/agent/",
    "/admin/registry/workspacetoken/",
    "/admin/activity/activitylog/?workspace_id={id}",
    "/admin/activity/structureevent/",
    "/?ws={id}",
    "/?ws={id}&view=list",
]


@pytest.fixture
def page(platform: Platform, browser: Browser) -> Iterator[Page]:
    yield from signed_in(platform, browser)


@pytest.fixture
def workspaces(platform: Platform) -> dict[str, str]:
    lead = platform.agent(LONG, model="m" * 100)
    member = platform.create(LONG, parent_id=lead.id, role=f"{LONG}\n{LONG}")
    summary = {"activity_type": "error", "summary": LONG, "method": LONG}
    lead.post(f"/workspaces/{lead.id}/activity", summary)
    lead.post("/registry/heartbeat", {"workspace_id": lead.id, "current_task": LONG, "sample_error": LONG})
    return {"id": lead.id, "member": member["id"]}


@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_is_wider_than_its_window(
    page: Page, platform: Platform, workspaces: dict[str, str], width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for path in PAGES:
        page.goto(platform.url + path.format(**workspaces))
        page.wait_for_load_state()
        widest = page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
        assert widest <= width, path
        tables = page.evaluate("[...document.querySelectorAll('#result_list')].map(e => e.scrollWidth)")
        assert all(one <= width for one in tables), (path, tables)


def test_the_whole_name_is_at_hand(page: Page, platform: Platform, workspaces: dict[str, str]) -> None:
    page.goto(f"{platform.url}/admin/registry/workspace/?q=WWWW")
    name = page.locator(f"#result_list a[href*='{workspaces['id']}'] > span").first
    expect(name).to_have_attribute("title", LONG)
    expect(name).to_have_attribute("dir", "auto")
    page.goto(f"{platform.url}/?ws={workspaces['id']}")
    expect(page.locator(f".card-name[title='{LONG}']").first).to_be_visible()
