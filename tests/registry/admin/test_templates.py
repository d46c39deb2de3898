"""Templates in the admin: the list, what is in one, what would be created, and creating it."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from registry.config import files, templates
from registry.config.contents import Content
from registry.models import Agent, AgentTemplate, Transfer, Workspace
from registry.organisation import rebuild
from registry.secrets import store
from tests.registry.admin.pages import shown_messages, url_of

pytestmark = pytest.mark.django_db
ACTOR = "operator:ada#1"
LISTING = "/admin/templates/"


def template_url(template_id: str) -> str:
    return reverse("admin:template", args=[template_id])


def organisation_url(folder: str) -> str:
    return reverse("admin:org_template", args=[folder])


@pytest.fixture
def folders(tmp_path: Path, settings: Any) -> Path:
    """Folders of agents and of organisations, empty."""
    settings.AGENT_TEMPLATES_DIR, settings.ORG_TEMPLATES_DIR = str(tmp_path / "agents"), str(tmp_path / "orgs")
    return tmp_path


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def test_templates_of_agents_and_organisations_are_listed(root: Client, viewer: Client) -> None:
    templates.import_files("Mine", {"config.yaml": Content(b"{name: Mine <b>, runtime: crewai}")}, actor=ACTOR)
    html = viewer.get(LISTING).content.decode()
    for shown in (template_url("mine"), "Mine &lt;b&gt;", "crewai", "Imported", "Code reviewer", "review-change"):
        assert shown in html
    assert organisation_url("company") in html
    assert url_of("import") not in html
    assert url_of("import") in root.get(LISTING).content.decode()


def test_what_cannot_be_read_says_why(root: Client, folders: Path) -> None:
    write(folders, "agents/bad/config.yaml", "name: [a")
    write(folders, "agents/linked/config.yaml", "name: Linked")
    (folders / "agents/linked/out").symlink_to("/etc/passwd")
    write(folders, "orgs/bad/org.yaml", "name: o\nworkspaces: [!include ../../x]")
    assert root.get(LISTING).content.decode().count("Cannot be read") == 2
    for url, why in (
        (template_url("bad"), "config.yaml, line"),
        (template_url("linked"), "out: is not a file"),
        (organisation_url("bad"), "outside of the template"),
    ):
        answer = root.get(url)
        assert answer.status_code == 200
        assert why.lower() in answer.content.decode().lower()
        assert "button primary" not in answer.content.decode()
    assert root.post(organisation_url("bad")).status_code == 400
    assert not Workspace.objects.exists()


def test_no_templates(root: Client, folders: Path) -> None:
    html = root.get(LISTING).content.decode()
    assert "There are no templates of agents." in html
    assert "There are no templates of organisations." in html


def test_a_template_shows_its_files_and_its_team(viewer: Client) -> None:
    answer = viewer.get(template_url("product-lead"))
    html = answer.content.decode()
    for shown in ("plan-work, report-progress", "3 workspaces", "Finds out what is known"):
        assert shown in html
    assert (answer.context["file"]["path"], answer.context["shown"].count) == ("config.yaml", 3)
    assert "Create workspace" not in html
    opened = viewer.get(template_url("product-lead"), {"path": "skills/plan-work/SKILL.md"})
    assert "---" in opened.context["file"]["text"]
    assert viewer.get(template_url("product-lead"), {"path": "../../etc/passwd"}).context["file"] is None


def test_a_template_shows_which_secrets_it_needs(viewer: Client) -> None:
    templates.import_files("Needy", {"config.yaml": Content(b"env: {required: [SOME_KEY]}")}, actor=ACTOR)
    html = viewer.get(template_url("needy")).content.decode()
    assert "SOME_KEY" in html
    assert "Not set" in html
    store.set_for_all("SOME_KEY", "x" * 10, actor=ACTOR)
    assert "Set for all workspaces" in viewer.get(template_url("needy")).content.decode()


def test_a_workspace_is_created_from_a_template_with_its_team(root: Client) -> None:
    url = root.get(template_url("product-lead")).context["create_url"]
    form = root.get(url).context["adminform"].form
    assert (form["template"].value(), form["name"].value()) == ("product-lead", "Product lead")
    done = root.post(url_of("add"), {"template": "product-lead", "name": "Ada", "model": "m"}, follow=True)
    ada = Workspace.objects.get(name="Ada")
    assert done.redirect_chain == [(url_of("connect", ada), 302)]
    assert shown_messages(done) == ["Created Ada, with 2 workspaces below it."]
    assert (ada.tier, ada.runtime, Agent.objects.get(workspace=ada).model) == (2, "python", "m")
    assert "system-prompt.md" in files.contents([ada.id])[ada.id]
    assert rebuild._compare(lambda done: None) == []


def test_a_workspace_without_a_template_has_the_default_tier(root: Client) -> None:
    root.post(url_of("add"), {"name": "Plain"})
    assert (Workspace.objects.get().tier, Workspace.objects.get().runtime) == (1, None)
    for fields in ({"template": "nope"}, {"tier": "5"}):
        assert root.post(url_of("add"), {"name": "x", **fields}).status_code == 200
    assert Workspace.objects.count() == 1


def test_an_imported_template_is_deleted_and_a_folder_is_not(root: Client, viewer: Client) -> None:
    templates.import_files("Mine", {"a": Content(b"\0")}, actor=ACTOR)
    html = root.get(template_url("mine"), {"path": "a"}).content.decode()
    for shown in ("imported by ada", "This is not a text.", "Delete this template?"):
        assert shown in html
    assert viewer.post(template_url("mine")).status_code == 403
    done = root.post(template_url("mine"), follow=True)
    assert shown_messages(done) == ["Deleted the template Mine. What was made from it stays."]
    assert not AgentTemplate.objects.exists()
    assert root.get(template_url("mine")).status_code == 404
    kept = root.post(template_url("reviewer"), follow=True)
    assert shown_messages(kept) == ["this template is a folder on the server, and was not imported"]


def test_an_organisation_is_shown_and_then_created(root: Client, viewer: Client) -> None:
    html = viewer.get(organisation_url("company")).content.decode()
    assert "12 workspaces" in html
    assert "Create 12 workspaces" not in html
    assert viewer.post(organisation_url("company")).status_code == 403
    assert not Workspace.objects.exists()
    assert "Create 12 workspaces" in root.get(organisation_url("company")).content.decode()
    done = root.post(organisation_url("company"), follow=True)
    assert done.redirect_chain == [(f"{url_of('changelist')}?view=team", 302)]
    assert shown_messages(done) == [
        "Created 12 workspaces of Company. They have no secrets yet, and await their agents."
    ]
    assert Workspace.objects.count() == 12
    assert Transfer.objects.get().kind == "organisation_imported"


def test_problems_and_ignored_keys_of_an_organisation_are_shown(root: Client, folders: Path) -> None:
    write(folders, "orgs/o/org.yaml", "name: O\nplugins: []\nworkspaces: [{name: '', tier: 9}, {name: a, template: x}]")
    html = root.get(organisation_url("o")).content.decode()
    for shown in ("3 problems", "workspaces[1]", "there is no template", "Ignored", "plugins"):
        assert shown in html
    answer = root.post(organisation_url("o"))
    assert (answer.status_code, Workspace.objects.count()) == (400, 0)


def test_an_unknown_template_is_404(root: Client) -> None:
    for url in (template_url("nope"), organisation_url("nope"), template_url("..")):
        assert root.get(url).status_code == 404


def test_pages_need_the_permission_to_view_workspaces(django_user_model: Any) -> None:
    client = Client()
    client.force_login(django_user_model.objects.create_user("bare", is_staff=True))
    for url in (LISTING, template_url("reviewer"), organisation_url("pair")):
        assert client.get(url).status_code == 403
    assert LISTING not in client.get("/admin/").content.decode()
