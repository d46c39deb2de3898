"""The routes of files and settings: shapes, conditions, who may call them."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from registry.models import Workspace
from tests.conftest import JSONClient

Make = Callable[..., Workspace]
As = Callable[[Workspace], APIClient]


@pytest.fixture
def base(make_workspace: Make) -> str:
    return f"/workspaces/{make_workspace('Lead').id}"


def test_a_file_goes_round(as_operator: APIClient, base: str) -> None:
    saved = as_operator.put(f"{base}/files/skills/a b/SKILL.md", {"content": "# Näme\n"})
    assert (saved.status_code, saved.json()["status"]) == (200, "saved"), saved.content
    read = as_operator.get(f"{base}/files/skills/a b/SKILL.md")
    assert read.json()["content"] == "# Näme\n"
    assert "encoding" not in read.json()
    assert read["ETag"] == f'"{read.json()["sha256"]}"'
    [row] = as_operator.get(f"{base}/files").json()
    assert row.keys() == {"path", "size", "sha256", "executable", "updated_at", "updated_by"}
    assert (row["path"], row["size"]) == ("skills/a b/SKILL.md", 8)
    deleted = as_operator.delete(f"{base}/files/skills/a b/SKILL.md")
    assert deleted.json() == {"status": "deleted", "path": "skills/a b/SKILL.md"}
    assert as_operator.get(f"{base}/files").json() == []


def test_bytes_are_base64(as_operator: APIClient, base: str) -> None:
    text = base64.b64encode(b"\x00\xff").decode()
    assert as_operator.put(f"{base}/files/a.bin", {"content": text, "encoding": "base64"}).status_code == 200
    read = as_operator.get(f"{base}/files/a.bin").json()
    assert (read["content"], read["encoding"], read["size"]) == (text, "base64", 2)


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("a", {}, 400, "content"), ("a", {"content": 1.5, "encoding": "latin-1"}, 400, "encoding"),
        ("a", {"content": "!", "encoding": "base64"}, 400, "content"), ("a//b", {"content": ""}, 400, "path"),
        ("a/%2e%2e/%2e%2e/b", {"content": ""}, 400, "path"), ("%2fetc/passwd", {"content": ""}, 400, "path"),
        (".auth_token", {"content": ""}, 400, "path"), ("config.yaml", {"content": "a: ["}, 400, "config.yaml"),
        ("a", {"content": "x" * (1024 * 1024 + 1)}, 413, "content"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused(
    as_operator: APIClient, base: str, path: str, body: dict[str, Any], status: int, field: str
) -> None:
    answer = as_operator.put(f"{base}/files/{path}", body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert as_operator.get(f"{base}/files").json() == []


def test_all_files_are_replaced_at_once(as_operator: APIClient, base: str) -> None:
    as_operator.put(f"{base}/files/old.md", {"content": "old"})
    wanted = {"a.md": "text", "b.bin": {"content": "AP8=", "encoding": "base64", "executable": True}}
    answer = as_operator.put(f"{base}/files", {"files": wanted})
    assert answer.json() == {"status": "replaced", "count": 2}
    listed = as_operator.get(f"{base}/files")
    assert [(row["path"], row["executable"]) for row in listed.json()] == [("a.md", False), ("b.bin", True)]
    assert listed["ETag"] == answer["ETag"]
    bodies: list[dict[str, Any]] = [{"files": []}, {"files": {"a": 1}}, {"files": {"../a": ""}}, {}]
    for bad in bodies:
        assert as_operator.put(f"{base}/files", bad).status_code == 400
    assert len(as_operator.get(f"{base}/files").json()) == 2


def test_a_stale_write_is_412_and_says_what_is_there(as_operator: APIClient, base: str) -> None:
    one = f"{base}/files/a.md"
    seen = as_operator.put(one, {"content": "1"}, headers={"If-None-Match": "*"})["ETag"]
    assert as_operator.put(one, {"content": "again"}, headers={"If-None-Match": "*"}).status_code == 412
    current = as_operator.put(one, {"content": "2"}, headers={"If-Match": seen})["ETag"]
    stale = as_operator.put(one, {"content": "3"}, headers={"If-Match": seen})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert f'"{stale.json()["sha256"]}"' == current
    assert as_operator.get(one).json()["content"] == "2"
    assert as_operator.delete(one, headers={"If-Match": seen}).status_code == 412
    assert as_operator.put(f"{base}/files", {"files": {}}, headers={"If-Match": seen}).status_code == 412
    [revision] = as_operator.get(f"{base}/file-revisions?path=a.md").json()
    restore = f"{base}/file-revisions/{revision['id']}/restore"
    assert as_operator.post(restore, headers={"If-Match": seen}).status_code == 412
    assert as_operator.delete(one, headers={"If-Match": current}).status_code == 200
    assert as_operator.delete(one, headers={"If-None-Match": "*"}).status_code == 404


@pytest.mark.parametrize("nothing", ["", '""', 'W/""', '"'])
def test_a_condition_that_names_no_hash_fits_nothing(as_operator: APIClient, base: str, nothing: str) -> None:
    one = f"{base}/files/a.md"
    assert as_operator.put(one, {"content": "new"}, headers={"If-Match": nothing}).status_code == 412
    as_operator.put(one, {"content": "1"})
    assert as_operator.put(one, {"content": "2"}, headers={"If-Match": nothing}).status_code == 412
    assert as_operator.delete(one, headers={"If-Match": nothing}).status_code == 412
    assert as_operator.put(f"{base}/files", {"files": {}}, headers={"If-Match": nothing}).status_code == 412
    assert as_operator.get(one).json()["content"] == "1"


def test_a_revision_is_shown_and_restored(as_operator: APIClient, base: str) -> None:
    for text in ("one", "two"):
        as_operator.put(f"{base}/files/a.md", {"content": text})
    [row] = as_operator.get(f"{base}/file-revisions").json()
    assert row.keys() == {"id", "path", "size", "sha256", "updated_at", "updated_by", "replaced_at", "replaced_by"}
    shown = as_operator.get(f"{base}/file-revisions/{row['id']}").json()
    assert shown == {"path": "a.md", "sha256": row["sha256"], "content": "one"}
    restored = as_operator.post(f"{base}/file-revisions/{row['id']}/restore").json()
    assert (restored["status"], restored["sha256"]) == ("restored", row["sha256"])
    assert as_operator.get(f"{base}/files/a.md").json()["content"] == "one"
    for unknown in ("0", "x", "9" * 30, "-1", "²"):
        assert as_operator.get(f"{base}/file-revisions/{unknown}").status_code == 404


def test_an_agent_writes_its_own_files_only(make_workspace: Make, as_workspace: As, as_viewer: APIClient) -> None:
    mine, other = make_workspace(), make_workspace()
    agent = as_workspace(mine)
    assert agent.put(f"/workspaces/{mine.id}/files/memory.md", {"content": "x"}).status_code == 200
    assert agent.get(f"/workspaces/{mine.id}/files").json()[0]["updated_by"] == f"workspace:{mine.id}"
    refused = agent.put(f"/workspaces/{mine.id}/files/config.yaml", {"content": "tier: 4"})
    assert (refused.status_code, refused.json()["error"]) == (403, "config.yaml: only an operator may change tier")
    for path in ("files", "files/a", "config", "shared-context", "file-revisions"):
        assert agent.get(f"/workspaces/{other.id}/{path}").status_code == 403
    assert as_viewer.put(f"/workspaces/{mine.id}/files/a", {"content": "x"}).status_code == 403


def test_shared_context_and_settings_have_their_shapes(
    as_operator: APIClient, make_workspace: Make, as_workspace: As
) -> None:
    lead = make_workspace()
    member = make_workspace(parent_id=lead.id)
    agent = as_workspace(member)
    assert agent.get(f"/workspaces/{member.id}/shared-context").json() == []
    as_operator.put(
        f"/workspaces/{lead.id}/files", {"files": {"config.yaml": "shared_context: [a.md]", "a.md": "be kind"}}
    )
    assert agent.get(f"/workspaces/{member.id}/shared-context").json() == [{"path": "a.md", "content": "be kind"}]
    config = f"/workspaces/{member.id}/config"
    assert agent.get(config).json() == {"data": {}}
    assert agent.patch(config, {"model": "x"}).json() == {"status": "updated"}
    assert as_operator.patch(config, {"other": [1]}).status_code == 200
    assert agent.get(config).json() == {"data": {"model": "x", "other": [1]}}
    assert agent.patch(config, []).status_code == 400


def test_missing_environment_is_shown(
    as_operator: APIClient, base: str, make_workspace: Make, as_workspace: As
) -> None:
    as_operator.put(f"{base}/files/config.yaml", {"content": "env: {required: [API_KEY]}"})
    assert as_operator.get(base).json()["missing_environment"] == ["API_KEY"]
    assert "missing_environment" not in as_workspace(make_workspace()).get(base).json()


def test_open_mode_serves_files_without_a_credential(base: str, settings: Any) -> None:
    settings.MOLECULE_OPEN = True
    client = JSONClient()
    assert client.put(f"{base}/files/a.md", {"content": "x"}).status_code == 200
    assert client.get(f"{base}/files/a.md").json()["content"] == "x"
    assert client.get(f"{base}/shared-context").json() == []
    assert client.get(f"{base}/config").json() == {"data": {}}
