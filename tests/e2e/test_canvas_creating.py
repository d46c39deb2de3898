"""Workspaces are created on the canvas, and turn green when their agents connect as the panel says."""

import json
import re
import subprocess
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.stack import Agent, Platform
from tests.e2e.test_canvas_page import card, open_canvas


@pytest.fixture
def name() -> str:
    return f"Made {uuid4().hex[:8]}"


def named(platform: Platform, name: str) -> dict[str, str]:
    [found] = [row for row in platform.api.get("/workspaces").json() if row["name"] == name]
    return dict(found)


def test_a_workspace_is_created_by_keyboard_in_a_team(page: Page, platform: Platform, name: str):
    lead = platform.create(f"{name} lead")["id"]
    platform.create(f"{name} first", parent_id=lead)
    open_canvas(page, platform)
    page.keyboard.press("n")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Role").fill("Reads invoices")
    page.get_by_role("dialog").get_by_label("Team").select_option(label=f"{name} lead")
    page.get_by_label("Name").press("Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    made = named(platform, name)
    assert (made["role"], made["parent_id"]) == ("Reads invoices", lead)
    expect(page.locator("#panel-name")).to_have_text(name)
    expect(page.get_by_role("tab", name="Connect")).to_be_focused()
    expect(page.locator(".panel-connection")).to_have_text("Waiting for its first heartbeat.")
    expect(page.locator("#panel-python")).to_contain_text(page.locator("#panel-token").text_content() or "?")
    pasted = subprocess.run(
        ["bash", "-c", page.locator("#panel-curl").text_content() or ""], capture_output=True, check=True
    )
    Agent(made["id"], json.loads(pasted.stdout)["auth_token"], platform.url).beat()
    expect(page.locator(".panel-connection")).to_have_text("Connected.")
    expect(card(page, made["id"])).to_have_attribute("data-status", "online")
    page.get_by_role("tab", name="Events").click()
    page.get_by_role("tab", name="Connect").click()
    expect(page.locator("#panel-token")).to_be_visible()
    page.reload()
    expect(page.locator("#panel-python")).to_contain_text("ENROLMENT_TOKEN")
    expect(page.locator("#panel-token")).to_have_count(0)


def test_a_template_brings_its_files(page: Page, platform: Platform, name: str):
    files = {"config.yaml": "name: Clerk\ndescription: Files what comes in.\n", "system-prompt.md": "File it."}
    template = platform.api.post("/templates/import", json={"name": name, "files": files}).json()["id"]
    open_canvas(page, platform)
    page.get_by_role("button", name="Create a workspace").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Template").select_option(template)
    expect(page.get_by_text("Files what comes in.")).to_be_visible()
    page.get_by_role("button", name="Create workspace").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    listed = platform.api.get(f"/workspaces/{named(platform, name)['id']}/files").json()
    assert "system-prompt.md" in str(listed)


def dropped(page: Page, name: str, text: str) -> None:
    """Drops a file on the page."""
    script = """([name, text]) => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([text], name, { type: "application/json" }));
        const options = { dataTransfer, bubbles: true, cancelable: true };
        const view = document.getElementById("view");
        for (const type of ["dragover", "drop"]) view.dispatchEvent(new DragEvent(type, options));
    }"""
    page.evaluate(script, [name, text])


def test_a_bundle_is_imported_by_drop(page: Page, platform: Platform, name: str):
    lead = platform.create(f"{name} lead", role="Leads")["id"]
    platform.create(f"{name} member", parent_id=lead)
    platform.api.put(f"/workspaces/{lead}/files", json={"files": {"system-prompt.md": "Lead."}})
    bundle = platform.api.get(f"/bundles/export/{lead}").json()
    platform.api.delete(f"/workspaces/{lead}?confirm=true")
    open_canvas(page, platform)
    dropped(page, "notes.json", "not JSON")
    expect(page.locator("#toasts")).to_contain_text("notes.json cannot be imported: it is not a bundle")
    dropped(page, "broken.bundle.json", json.dumps(bundle | {"name": ""}))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Nothing can be imported before this is mended:")
    expect(dialog.get_by_role("button", name="Import 2 workspaces")).to_have_count(0)
    page.keyboard.press("Escape")
    dropped(page, "team.bundle.json", json.dumps(bundle))
    expect(dialog.get_by_label("What would be created")).to_contain_text(f"{name} member")
    dialog.get_by_role("button", name="Import 2 workspaces").click()
    expect(dialog).to_be_hidden()
    made = named(platform, f"{name} lead")
    assert made["id"] != lead
    assert named(platform, f"{name} member")["parent_id"] == made["id"]
    expect(card(page, made["id"])).to_be_focused()


def test_what_the_server_refuses_stays_in_the_dialog(page: Page, platform: Platform, name: str):
    open_canvas(page, platform)
    page.keyboard.press("n")
    page.get_by_label("Name").fill(f"{name} \u200b\u202e")
    page.get_by_role("button", name="Create workspace").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(re.compile("^Not created: "))
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create workspace").click()
    expect(card(page, named_when_there(page, platform, name))).to_be_visible()


def named_when_there(page: Page, platform: Platform, name: str) -> str:
    expect(page.get_by_role("dialog")).to_be_hidden()
    return named(platform, name)["id"]


def test_a_viewer_cannot_create(viewer_page: Page, viewer: Platform):
    open_canvas(viewer_page, viewer)
    viewer_page.keyboard.press("n")
    expect(viewer_page.locator(".create, #creating")).to_have_count(0)
