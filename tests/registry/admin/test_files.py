"""The tab of a workspace's files."""

import io
import re
import zipfile
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from registry.config import files
from registry.models import Workspace
from registry.organisation import removal
from tests.registry.admin.pages import Make, shown_messages, url_of

PROMPT = "system-prompt.md"
ACTOR = "operator:test"


@pytest.fixture
def workspace(make_workspace: Make) -> Workspace:
    workspace = make_workspace("Clerk & Sons")
    for path, text in ((PROMPT, "File it.\nSay why.\n"), ("skills/sort/SKILL.md", "Sort.\n"), ("logo.png", "\0\1")):
        files.write(workspace.id, path, text.encode(), actor=ACTOR)
    return workspace


def opened(client: Client, workspace: Workspace, **query: Any) -> Any:
    return client.get(url_of("files", workspace), query)


def form_of(answer: Any) -> dict[str, str]:
    """The editor as a browser would send it."""
    html = answer.content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="(path|begun_with|line_breaks)" value="([^"]*)"', html))
    text = answer.context["file"]["text"].replace("\n", "\r\n")
    return {**hidden, "text": text, "verb": "save"}


def text_of(workspace: Workspace, path: str = PROMPT) -> str | None:
    return files.read(workspace.id, path).text


def test_files_are_listed_by_folder_and_the_first_is_open(root: Client, workspace: Workspace) -> None:
    answer = opened(root, workspace)
    folders = {folder: [one["name"] for one in shown] for folder, shown in answer.context["folders"]}
    assert folders == {"": ["logo.png", PROMPT], "skills/sort": ["SKILL.md"]}
    assert answer.context["file"]["path"] == "logo.png"
    assert "This is not a text" in answer.content.decode()


def test_a_saved_text_keeps_its_line_breaks_and_its_author(root: Client, workspace: Workspace) -> None:
    form = form_of(opened(root, workspace, path=PROMPT))
    root.post(url_of("files", workspace), {**form, "text": "One\r\nTwo\r\n"})
    assert text_of(workspace) == "One\nTwo\n"
    assert files.entry(workspace.id, PROMPT)["updated_by"].startswith("operator:")
    files.write(workspace.id, PROMPT, b"a\r\nb\r\n", actor=ACTOR)
    form = form_of(opened(root, workspace, path=PROMPT))
    root.post(url_of("files", workspace), {**form, "text": "a\r\nc\r\n"})
    assert text_of(workspace) == "a\r\nc\r\n"


def test_a_text_that_begins_with_an_empty_line_keeps_it(root: Client, workspace: Workspace) -> None:
    files.write(workspace.id, PROMPT, b"\n\nThird\n", actor=ACTOR)
    html = opened(root, workspace, path=PROMPT).content.decode()
    assert re.search(r"<textarea[^>]*>\n\n\nThird\n</textarea>", html)


def test_show_changes_saves_nothing_and_keeps_what_was_typed(root: Client, workspace: Workspace) -> None:
    form = form_of(opened(root, workspace, path=PROMPT))
    answer = root.post(
        url_of("files", workspace), {**form, "verb": "compare", "text": "File it.\r\nSay <b>who</b>.\r\n"}
    )
    assert ("removed", "-Say why.") in answer.context["file"]["differences"]["lines"]
    assert "Say &lt;b&gt;who&lt;/b&gt;." in answer.content.decode()
    assert text_of(workspace) == "File it.\nSay why.\n"
    assert form_of(answer)["begun_with"] == form["begun_with"]


def test_a_change_by_somebody_else_is_not_overwritten_in_silence(root: Client, workspace: Workspace) -> None:
    form = form_of(opened(root, workspace, path=PROMPT)) | {"text": "Mine\r\n"}
    files.write(workspace.id, PROMPT, b"Theirs\n", actor=ACTOR)
    answer = root.post(url_of("files", workspace), form)
    assert "Somebody else saved this file" in answer.content.decode()
    assert answer.context["file"]["differences"]["lines"][-2:] == [("removed", "-Theirs"), ("added", "+Mine")]
    assert text_of(workspace) == "Theirs\n"
    root.post(url_of("files", workspace), form_of(answer))
    assert text_of(workspace) == "Mine\n"


@pytest.mark.parametrize("first", ["save", "compare"])
def test_a_file_that_was_deleted_meanwhile_is_written_only_when_it_is_saved_again(
    root: Client, workspace: Workspace, first: str
) -> None:
    form = form_of(opened(root, workspace, path=PROMPT)) | {"text": "Mine\r\n"}
    files.delete(workspace.id, PROMPT, actor=ACTOR)
    answer = root.post(url_of("files", workspace), form | {"verb": first})
    if first == "compare":
        answer = root.post(url_of("files", workspace), form_of(answer))
    assert "Somebody else deleted this file" in answer.content.decode()
    assert [one["path"] for one in answer.context["deleted"]] == [PROMPT]
    root.post(url_of("files", workspace), form_of(answer))
    assert text_of(workspace) == "Mine\n"


def test_a_path_that_ends_with_a_space_is_opened_and_deleted(root: Client, workspace: Workspace) -> None:
    path = "notes "
    files.write(workspace.id, path, b"x", actor=ACTOR)
    form = form_of(opened(root, workspace, path=path))
    root.post(url_of("files", workspace), form | {"text": "y"})
    assert text_of(workspace, path) == "y"
    root.post(url_of("files", workspace), {"verb": "delete", "path": path})
    assert path not in [one["path"] for one in files.listing(workspace.id)]


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a//b", "", "x" * 300])
def test_a_path_that_is_not_allowed_creates_nothing(root: Client, workspace: Workspace, path: str) -> None:
    before = files.listing(workspace.id)
    answer = root.post(url_of("files", workspace), {"verb": "create", "path": path}, follow=True)
    assert shown_messages(answer)[0].startswith("Nothing was changed: ")
    assert files.listing(workspace.id) == before


def test_a_new_file_does_not_replace_one(root: Client, workspace: Workspace) -> None:
    made = root.post(url_of("files", workspace), {"verb": "create", "path": "notes/new.md"}, follow=True)
    assert made.context["file"]["path"] == "notes/new.md"
    root.post(url_of("files", workspace), {"verb": "create", "path": PROMPT})
    assert text_of(workspace) == "File it.\nSay why.\n"


def test_uploads_are_all_written_or_none(root: Client, workspace: Workspace) -> None:
    def upload(*names: tuple[str, bytes]) -> Any:
        given = [SimpleUploadedFile(name, data) for name, data in names]
        return root.post(url_of("files", workspace), {"verb": "upload", "folder": "data/", "files": given}, follow=True)

    upload(("a.bin", b"\0"), ("b.txt", b"b"))
    assert [one["path"] for one in files.listing(workspace.id)][:2] == ["data/a.bin", "data/b.txt"]
    answer = upload(("c.txt", b"c"), ("huge.txt", b"x" * (1024 * 1024 + 1)))
    assert shown_messages(answer)[0].startswith("Nothing was changed: ")
    assert "data/c.txt" not in {one["path"] for one in files.listing(workspace.id)}


def test_downloads_are_attachments(root: Client, workspace: Workspace) -> None:
    one = opened(root, workspace, path=PROMPT, download=1)
    assert (one.content, one["Content-Disposition"]) == (b"File it.\nSay why.\n", f'attachment; filename="{PROMPT}"')
    everything = opened(root, workspace, download=1)
    assert everything["Content-Disposition"] == 'attachment; filename="clerk-sons.zip"'
    with zipfile.ZipFile(io.BytesIO(everything.content)) as archive:
        assert sorted(archive.namelist()) == ["logo.png", "skills/sort/SKILL.md", PROMPT]


def test_a_deleted_file_and_an_earlier_content_are_restored(root: Client, workspace: Workspace) -> None:
    files.write(workspace.id, PROMPT, b"Later\n", actor=ACTOR)
    answer = opened(root, workspace, path=PROMPT)
    [kept] = answer.context["file"]["revisions"]
    compared = root.get(kept["url"]).context["file"]
    assert compared["of_revision"]
    assert ("added", "+Later") in compared["differences"]["lines"]
    root.post(url_of("files", workspace), {"verb": "restore", "path": PROMPT, "revision": kept["id"]})
    assert text_of(workspace) == "File it.\nSay why.\n"
    root.post(url_of("files", workspace), {"verb": "delete", "path": PROMPT})
    [deleted] = opened(root, workspace).context["deleted"]
    root.post(url_of("files", workspace), {"verb": "restore", "revision": deleted["id"]})
    assert text_of(workspace) == "File it.\nSay why.\n"


@pytest.mark.parametrize("verb", ["save", "compare", "create", "upload", "delete", "restore", "", "context"])
def test_viewers_read_and_change_nothing(viewer: Client, workspace: Workspace, verb: str) -> None:
    html = opened(viewer, workspace, path=PROMPT).content.decode()
    assert "readonly" in html
    assert 'name="verb"' not in html
    before = files.listing(workspace.id)
    form = {"verb": verb, "path": PROMPT, "text": "x", "begun_with": files.entry(workspace.id, PROMPT)["sha256"]}
    assert viewer.post(url_of("files", workspace), form).status_code == 403
    assert files.listing(workspace.id) == before


def test_a_removed_workspace_has_no_files(root: Client, workspace: Workspace) -> None:
    removal.remove(workspace.id, actor=ACTOR, confirm=True)
    assert opened(root, workspace).context["folders"] == []
    assert root.post(url_of("files", workspace), {"verb": "create", "path": "x"}).status_code == 403
