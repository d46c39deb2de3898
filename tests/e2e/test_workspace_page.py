"""The page of a workspace in a browser: from what is wrong to the verb, from creating to a connected agent, narrow."""

import subprocess
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from registry.admin.workspace.tabs import TABS
from tests.e2e.stack import Agent, Platform

# What is cut: a box that hides the end of its content. Charts and texts for screen readers are meant to.
CUT = """
[...document.querySelectorAll('#content *')].filter((one) => {
  const { overflowX } = getComputedStyle(one);
  return ['hidden', 'clip'].includes(overflowX) && one.scrollWidth > one.clientWidth + 1
    && !one.closest('.visually-hidden, svg, .select2-container');
}).map((one) => `${one.tagName} ${one.className}: ${one.textContent.trim().slice(0, 60)}`)
"""


def named(name: str) -> str:
    """A name of its own, as tests share the platform."""
    return f"{name} {uuid4().hex[:6]}"


def url_of(platform: Platform, workspace_id: str, name: str = "change") -> str:
    return f"{platform.url}/admin/registry/workspace/{workspace_id}/{name}/"


def busy(platform: Platform) -> Agent:
    """Something in every tab."""
    lead = platform.agent(named("Billing lead"))
    agent = platform.agent(named("Payments bot"), parent_id=lead.id, role="Reconciles invoices", model="gpt-4.1-mini")
    platform.create(named("Refund clerk"), parent_id=agent.id)
    summary = {"activity_type": "a2a_send", "target_id": lead.id, "method": "message/send", "summary": "Refund 1043?"}
    agent.post(f"/workspaces/{agent.id}/activity", {**summary, "request_body": {"a": 1}, "duration_ms": 2100})
    platform.api.post(
        f"/workspaces/{agent.id}/secrets", json={"key": "A_RATHER_LONG_NAME_OF_A_SECRET", "value": "x" * 20}
    )
    agent.beat(
        error_rate=0.8, sample_error="TimeoutError: ledger did not answer", current_task="May", uptime_seconds=900
    )
    return agent


def test_from_what_is_wrong_to_the_verb(page: Page, platform: Platform) -> None:
    name = named("Payments bot")
    agent = platform.agent(name)
    platform.api.patch(f"/workspaces/{agent.id}", json={"tier": 3})
    agent.beat(error_rate=0.9, sample_error="ModuleNotFoundError: No module named 'stripe'")
    page.goto(f"{platform.url}/admin/")
    page.get_by_role("link", name=name, exact=True).first.click()
    page.wait_for_url(url_of(platform, agent.id))

    expect(page.locator("#workspace-head")).to_contain_text("Degraded")
    why = page.locator(".card", has_text="Why it is degraded")
    expect(why).to_contain_text("ModuleNotFoundError: No module named 'stripe'")
    expect(why).to_contain_text("90% of its calls fail")
    expect(why).to_contain_text("op: Changed tier tier 1 → 3")
    org = why.get_by_role("link", name="Org at this moment").get_attribute("href")
    assert org is not None
    degraded = platform.api.get(f"/events/{agent.id}").json()
    began = next(event for event in degraded if event["event_type"] == "WORKSPACE_DEGRADED")
    assert org == f"/?at={began['seq']}&ws={agent.id}"

    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator(".messagelist")).to_have_text(f"Paused {name}.")
    expect(page.locator("#workspace-head")).to_contain_text("Paused")
    expect(page.locator("#workspace-head")).to_contain_text("by op")
    assert platform.status(agent.id) == "paused"
    assert page.url == url_of(platform, agent.id)


def test_the_header_and_the_reason_follow_the_agent(page: Page, platform: Platform) -> None:
    agent = platform.agent(named("Scout"))
    page.goto(url_of(platform, agent.id))
    expect(page.locator("#live")).to_have_text("Live")
    page.evaluate("window.isFirst = true")
    agent.beat(error_rate=0.9, sample_error="Boom")
    expect(page.locator("#workspace-head")).to_contain_text("90% of its calls fail: Boom")
    expect(page.locator("#workspace-overview")).to_contain_text("Why it is degraded")
    agent.beat(error_rate=0)
    expect(page.locator("#workspace-overview")).not_to_contain_text("Why it is degraded")
    expect(page.locator("#workspace-head")).to_contain_text("Online")
    assert page.evaluate("window.isFirst")


def test_from_creating_to_a_connected_agent(page: Page, platform: Platform) -> None:
    name = named("Newcomer")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=platform.url)
    page.goto(f"{platform.url}/admin/registry/workspace/add/")
    page.fill("[name=name]", name)
    page.get_by_role("button", name="Create workspace").click()
    page.wait_for_url("**/connect/")
    expect(page.locator("#connection")).to_contain_text("Waiting for the agent.")
    expect(page.locator("#live")).to_have_text("Live")
    page.evaluate("window.isFirst = true")

    copy = page.get_by_role("button", name="Copy command")
    copy.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    command = page.evaluate("navigator.clipboard.readText()")
    assert platform.url in command
    answer = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout
    assert "auth_token" in answer

    expect(page.locator("#connection.connected")).to_contain_text("The agent is connected.")
    assert page.evaluate("window.isFirst"), "the page was not loaded again"
    expect(page.locator("#enrolment-token")).to_be_visible()
    page.get_by_role("link", name="Open workspace").click()
    expect(page.locator("#workspace-head")).to_contain_text("Online")


def test_a_reload_creates_nothing_and_offers_a_new_token(page: Page, platform: Platform) -> None:
    name = named("Once")
    page.goto(f"{platform.url}/admin/registry/workspace/add/")
    page.fill("[name=name]", name)
    page.get_by_role("button", name="Create workspace").click()
    token = page.locator("#enrolment-token")
    first = token.inner_text()
    page.reload()
    expect(token).to_have_count(0)
    assert [row["name"] for row in platform.api.get("/workspaces").json()].count(name) == 1
    page.get_by_role("button", name="New enrolment token").click()
    assert token.inner_text() != first


@pytest.mark.parametrize(("may_copy", "label"), [(True, "Copied"), (False, "Selected: copy it with your keys")])
def test_copying_works_without_the_clipboard_of_browsers(
    page: Page, platform: Platform, may_copy: bool, label: str
) -> None:
    """As on a page that came by plain HTTP from another machine."""
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', { get: () => undefined })")
    if not may_copy:
        page.add_init_script("document.execCommand = () => false")
    created = platform.create(named("Copied"))
    page.goto(url_of(platform, created["id"], "connect"))
    page.get_by_role("button", name="New enrolment token").click()
    expect(page.locator("#live")).to_have_text("Live")  # the scripts have run
    page.get_by_role("button", name="Copy token").click()
    expect(page.get_by_role("button", name=label)).to_be_visible()
    assert page.evaluate("getSelection().toString()") == page.locator("#enrolment-token").inner_text()
    page.get_by_role("link", name="Open workspace").focus()
    expect(page.get_by_role("button", name="Copy token")).to_be_visible()


def test_a_token_is_revoked_after_a_question(page: Page, platform: Platform) -> None:
    agent = platform.agent(named("Leaver"))
    page.goto(url_of(platform, agent.id, "access"))
    revoke = page.get_by_role("button", name="Revoke…")
    revoke.click()
    page.get_by_role("button", name="Cancel").click()
    assert agent.beat().status_code == 200
    revoke.click()
    page.get_by_role("button", name="Revoke", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("Connections opened with it are closed.")
    assert agent.beat().status_code == 401


def test_verbs_that_are_needed_less_are_in_the_menu(page: Page, platform: Platform) -> None:
    agent = platform.agent(named("Scout"))
    page.goto(url_of(platform, agent.id))
    more = page.get_by_role("button", name="More ▾")
    menu = page.locator("#more-verbs")
    expect(menu).to_be_hidden()
    more.click()
    expect(menu).to_be_visible()
    button, shown = more.bounding_box(), menu.bounding_box()
    assert button is not None
    assert shown is not None
    assert shown["y"] >= button["y"] + button["height"] - 1, "below the button"
    assert shown["x"] + shown["width"] <= 1400
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    more.click()
    menu.get_by_role("link", name="Remove…").click()
    expect(page.get_by_role("heading", name="Remove: ")).to_be_visible()


@pytest.mark.parametrize("width", [390, 768])
def test_no_tab_is_wider_than_its_window_or_cuts_a_value(page: Page, platform: Platform, width: int) -> None:
    agent = busy(platform)
    page.set_viewport_size({"width": width, "height": 900})
    for name in [*(tab.name for tab in TABS), "connect"]:
        page.goto(url_of(platform, agent.id, name))
        page.wait_for_load_state()
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), name
        assert page.evaluate(CUT) == [], name
