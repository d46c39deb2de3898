"""From a template to a team, to its copy, to a file, and back from the file."""

import json
from pathlib import Path
from uuid import uuid4

from playwright.sync_api import Page, expect

from tests.e2e.stack import Platform

LARGE = "x" * 1_000_000


def main_text(page: Page, text: str) -> None:
    expect(page.locator("#main")).to_contain_text(text)


def test_a_team_is_created_copied_exported_and_imported(page: Page, platform: Platform, tmp_path: Path) -> None:
    name = f"Product lead {uuid4().hex[:6]}"
    page.goto(f"{platform.url}/admin/")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Templates").click()
    page.get_by_role("link", name="Product lead").click()
    main_text(page, "3 workspaces")
    page.get_by_role("link", name="SKILL.md").first.click()
    expect(page.locator("pre")).to_contain_text("Plan the work")
    page.get_by_role("link", name="Create workspace from this…").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create workspace").click()
    main_text(page, f"Created {name}, with 2 workspaces below it.")

    page.get_by_role("link", name="Open workspace").click()
    page.get_by_role("button", name="More ▾").click()
    page.get_by_role("link", name="Duplicate…").click()
    page.get_by_label("Name").fill(f"{name} II")
    page.get_by_role("button", name="Duplicate").click()
    main_text(page, f"Created {name} II, with 2 workspaces below it.")
    copy = page.url.split("/")[-3]
    # Larger than what other forms of the admin may send.
    for path in ("notes/one.md", "notes/two.md", "notes/three.md"):
        put = platform.api.put(f"/workspaces/{copy}/files/{path}", json={"content": LARGE})
        assert put.status_code == 200, put.text

    page.get_by_role("button", name="More ▾").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export bundle").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == f"{name.lower().replace(' ', '-')}-ii.bundle.json"

    # What is wrong with a file is said at once; nothing is created before the second step.
    broken = tmp_path / "broken.bundle.json"
    broken.write_text(json.dumps({"schema": "1.0", "name": "", "tier": 9, "prompts": {"../up": ""}}))
    before = len(platform.api.get("/workspaces").json())
    page.goto(f"{platform.url}/admin/registry/workspace/")
    page.get_by_role("link", name="Import…").click()
    page.get_by_label("Bundle").set_input_files(broken)
    page.get_by_role("button", name="Check").click()
    main_text(page, "3 problems")
    expect(page.get_by_role("button", name="Import")).to_have_count(0)
    page.get_by_label("Bundle").set_input_files(file)
    page.get_by_role("button", name="Check").click()
    main_text(page, f"{name} II")
    assert len(platform.api.get("/workspaces").json()) == before
    page.get_by_role("button", name="Import 3 workspaces").click()
    main_text(page, f"Imported {name} II, with 2 workspaces below it.")
    imported = page.url.split("/")[-3]
    assert imported != copy
    assert len(platform.api.get("/workspaces").json()) == before + 3
    first, second = (platform.api.get(f"/bundles/export/{one}").json() for one in (copy, imported))
    assert first == second == json.loads(file.read_text())
