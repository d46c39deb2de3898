"""Import with its dry run, Export and Duplicate in the admin: what they show, create, refuse, and to whom."""

import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from activity import strict_json
from activity.models import StructureEvent
from registry.config import bundles, files
from registry.models import Agent, Transfer, Workspace
from registry.organisation import rebuild, removal
from registry.secrets import store
from tests.registry.admin.pages import CANARY, Make, shown_messages, url_of

pytestmark = pytest.mark.django_db
ACTOR = "operator:ada#1"
BUNDLE: dict[str, Any] = {
    "schema": "1.0",
    "name": "Lead",
    "role": "Leads <b>",
    "prompts": {"config.yaml": "env: {required: [KNOWN_KEY, NEW_KEY]}", "notes/a.md": "a"},
    "sub_workspaces": [{"name": "Clerk", "runtime": "langgraph", "sub_workspaces": [{"name": "Intern"}]}],
}


def upload(bundle: Any, **fields: Any) -> dict[str, Any]:
    text = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return {"file": SimpleUploadedFile("x.bundle.json", text), **fields}


def second_step(answer: Any) -> dict[str, str]:
    """The hidden fields of the form that imports."""
    html = answer.content.decode()
    return {
        name: answer.context["checked"].text if name == "file" else value
        for name, value in re.findall(r'type="hidden" name="(checked|file|parent)" value="([^"]*)"', html)
    }


def test_a_file_is_checked_before_anything_is_created(root: Client) -> None:
    store.set_for_all("KNOWN_KEY", "x" * 10, actor=ACTOR)
    answer = root.post(url_of("import"), upload(BUNDLE))
    assert answer.status_code == 200
    html = answer.content.decode()
    for shown in ("3 workspaces, 2 files", "Leads &lt;b&gt;", "Intern", "langgraph", "Import 3 workspaces"):
        assert shown in html
    assert [(one.name, one.count, one.is_set) for one in answer.context["checked"].shown.variables] == [
        ("KNOWN_KEY", 1, True),
        ("NEW_KEY", 1, False),
    ]
    assert not Workspace.objects.exists()
    assert not Transfer.objects.exists()


def test_what_was_checked_is_imported_in_one_transaction(root: Client, make_workspace: Make) -> None:
    boss = make_workspace("Boss")
    checked = root.post(url_of("import"), upload(BUNDLE, parent=boss.id))
    assert "In the team of Boss" in checked.content.decode()
    fields = second_step(checked)
    assert fields["parent"] == str(boss.id)
    done = root.post(url_of("import"), fields, follow=True)
    lead = Workspace.objects.get(name="Lead")
    assert done.redirect_chain == [(url_of("change", lead), 302)]
    assert shown_messages(done) == [
        "Imported Lead, with 2 workspaces below it. They have no secrets yet, and await their agents."
    ]
    assert lead.parent_id == boss.id
    assert set(files.contents([lead.id])[lead.id]) == {"config.yaml", "notes/a.md"}
    made = StructureEvent.objects.exclude(workspace_id=boss.id)
    assert len(set(made.values_list("transaction_id", flat=True))) == 1
    assert Transfer.objects.get().kind == "bundle_imported"
    assert rebuild._compare(lambda done: None) == []


def test_a_team_can_be_chosen_by_a_link(root: Client, make_workspace: Make) -> None:
    boss = make_workspace("Boss")
    link = f"{url_of('import')}?parent={boss.id}"
    assert link in root.get(url_of("team", boss)).content.decode()
    assert "Boss</option>" in root.get(link).content.decode()
    for unknown in ("x", "", "\0", str(Workspace().id)):
        assert root.get(url_of("import"), {"parent": unknown}).status_code == 200


def test_an_export_is_a_file_that_can_be_imported(root: Client, viewer: Client, make_workspace: Make) -> None:
    lead = make_workspace("Lead & sons", role="leads")
    make_workspace("Clerk", parent_id=lead.id)
    files.write(lead.id, "notes/a.md", b"\xff\n", actor=ACTOR)
    answer = viewer.get(url_of("bundle", lead))
    assert answer["Content-Disposition"] == 'attachment; filename="lead-sons.bundle.json"'
    assert json.loads(answer.content) == bundles.export(lead.id, actor=ACTOR)
    fields = second_step(root.post(url_of("import"), upload(answer.content)))
    root.post(url_of("import"), fields)
    copy = Workspace.objects.exclude(id=lead.id).get(name="Lead & sons")
    assert bundles.export(copy.id, actor=ACTOR) == json.loads(answer.content)


def test_a_secret_stops_the_export_and_the_copy_and_the_file_is_named(root: Client, make_workspace: Make) -> None:
    one = make_workspace("Clerk")
    store.set_for_workspace(one.id, "API_KEY", CANARY, actor=ACTOR)
    files.write(one.id, "skills/a/notes.md", f"key: {CANARY}".encode(), actor=ACTOR)
    answer = root.get(url_of("bundle", one), follow=True)
    assert answer.redirect_chain == [(url_of("change", one), 302)]
    assert shown_messages(answer) == [
        "Not exported: skills/a/notes.md of Clerk contains a secret: remove it, then export."
    ]
    copied = root.post(url_of("duplicate", one), {"name": "Copy"})
    assert copied.status_code == 400
    assert "skills/a/notes.md of Clerk contains a secret" in copied.content.decode()
    for shown in (answer, copied):
        assert CANARY not in shown.content.decode()
    assert Workspace.objects.count() == 1
    assert not Transfer.objects.exists()


BAD: list[tuple[Any, int, str]] = [
    (b"", 400, "schema: must be"),
    (b"{", 400, "this is no bundle: malformed JSON"),
    (b"\xff", 400, "this is no bundle: body is not UTF-8"),
    (b"[" * 100_000, 400, "this is no bundle"),
    (b'{"a":' * 70 + b"1" + b"}" * 70, 400, "nested deeper"),
    (b"[" + b"1," * 200_000 + b"1]", 413, "more than 200000 values"),
    ({"bundle": BUNDLE}, 400, "send the bundle itself"),
    ([], 400, "must be a bundle"),
    ({**BUNDLE, "schema": "2"}, 400, "this is not a bundle, or one of another version"),
]


@pytest.mark.parametrize(("given", "status", "error"), BAD)
def test_what_is_no_bundle_is_refused_in_words(root: Client, given: Any, status: int, error: str) -> None:
    answer = root.post(url_of("import"), upload(given))
    assert answer.status_code == status
    [shown] = answer.context["errors"]
    assert error in shown
    assert not Workspace.objects.exists()


def test_all_problems_are_shown_and_nothing_is_offered(root: Client) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
    )
    bundle = {
        **BUNDLE,
        "tier": 9,
        "prompts": {"../up": "", "/etc/passwd": "", "config.yaml": bomb},
        "id": "x",
        "sub_workspaces": [{"name": "", "id": "x"}],
    }
    answer = root.post(url_of("import"), upload(bundle))
    assert answer.status_code == 200
    shown = answer.content.decode()
    assert "6 problems" in shown
    for part in ("../up", "/etc/passwd", "config.yaml", "tier: must be 1, 2, 3 or 4", "is there twice", "name"):
        assert part in shown
    assert 'name="checked"' not in shown
    again = root.post(url_of("import"), {"checked": "1", "file": json.dumps(bundle)})
    assert (again.status_code, len(again.context["checked"].shown.problems)) == (400, 6)
    assert not Workspace.objects.exists()


def test_many_problems_are_counted(root: Client) -> None:
    bundle = {**BUNDLE, "prompts": {f"../{n}": "" for n in range(150)}}
    assert "And 50 more." in root.post(url_of("import"), upload(bundle)).content.decode()


def test_a_file_that_is_too_large_is_not_parsed(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_BYTES", 10)
    monkeypatch.setattr(strict_json, "parse", lambda content, **options: pytest.fail("was parsed"))
    answer = root.post(url_of("import"), {"file": SimpleUploadedFile("x.json", b"x" * 11)})
    assert (answer.status_code, answer.context["errors"]) == (413, ["a bundle has at most 32 MiB, not 11 bytes"])
    assert root.post(url_of("import"), {"checked": "1", "file": "x" * 11}).status_code == 413


def test_no_file_and_a_team_that_is_gone(root: Client, make_workspace: Make) -> None:
    assert root.post(url_of("import")).context["errors"] == ["Choose a file."]
    gone = make_workspace("Gone")
    removal.remove(gone.id, actor=ACTOR, confirm=True)
    for fields in (upload(BUNDLE, parent=gone.id), {"checked": "1", "file": json.dumps(BUNDLE), "parent": gone.id}):
        answer = root.post(url_of("import"), fields)
        assert (answer.status_code, len(answer.context["errors"])) == (400, 1)
    assert not Workspace.objects.active().exists()


def test_a_copy_is_named_and_placed(root: Client, make_workspace: Make) -> None:
    boss, lead = make_workspace("Boss"), make_workspace("Lead", model="m")
    make_workspace("Clerk", parent_id=lead.id)
    form = root.get(url_of("duplicate", lead)).context["form"]
    assert (form["name"].value(), form["parent"].value(), form["with_team"].value()) == ("Lead (copy)", None, True)
    done = root.post(url_of("duplicate", lead), {"name": "Second", "parent": boss.id, "with_team": "on"}, follow=True)
    second = Workspace.objects.get(name="Second")
    assert done.redirect_chain == [(url_of("change", second), 302)]
    assert shown_messages(done) == [
        "Created Second, with 1 workspace below it. They have no secrets yet, and await their agents."
    ]
    assert (second.parent_id, second.children.count()) == (boss.id, 1)
    alone = root.post(url_of("duplicate", lead), {"name": "Alone"}, follow=True)
    third = Workspace.objects.get(name="Alone")
    assert shown_messages(alone) == ["Created Alone. It has no secrets yet."]
    assert (third.parent_id, third.children.count(), Agent.objects.get(workspace=third).model) == (None, 0, "m")
    assert rebuild._compare(lambda done: None) == []


@pytest.mark.parametrize("fields", [{}, {"name": "a\nb"}, {"name": "x" * 256}, {"name": "x", "parent": "y"}])
def test_a_copy_that_cannot_be_is_refused(root: Client, make_workspace: Make, fields: dict[str, str]) -> None:
    assert root.post(url_of("duplicate", make_workspace("One")), fields).status_code == 400
    assert Workspace.objects.count() == 1


def test_who_may_do_what(viewer: Client, operator: Client, make_workspace: Make) -> None:
    one, gone = make_workspace("One"), make_workspace("Gone")
    removal.remove(gone.id, actor=ACTOR, confirm=True)
    list_page = reverse("admin:registry_workspace_changelist")
    assert url_of("import") in operator.get(list_page).content.decode()
    assert url_of("import") not in viewer.get(list_page).content.decode()
    for url in (url_of("import"), url_of("duplicate", one)):
        assert (viewer.get(url).status_code, viewer.post(url).status_code) == (403, 403)
        assert operator.get(url).status_code == 200
    assert operator.get(url_of("duplicate", gone)).status_code == 403
    assert shown_messages(operator.get(url_of("bundle", gone), follow=True)) == ["Not exported: workspace removed."]
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    for url in (url_of("import"), url_of("duplicate", one)):
        assert strict.post(url, {"name": "x"}).status_code == 403
    assert Workspace.objects.count() == 2
