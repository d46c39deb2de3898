"""Templates: folders and imported ones, what they add to a workspace, teams, limits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from activity.models import StructureEvent
from registry.config import agent_config, files, templates
from registry.config.blueprints import Blueprint
from registry.config.contents import Content
from registry.exceptions import Conflict, Invalid, ManyProblems, NotFound, RegistryError
from registry.models import Agent, AgentTemplate, AgentTemplateFile, Transfer, Workspace
from registry.organisation import rebuild

pytestmark = pytest.mark.django_db
Make = Callable[..., Workspace]
Write = Callable[..., None]
ACTOR = "operator:ada#1"
SHIPPED = ("agent", "product-lead", "researcher", "reviewer")


@pytest.fixture
def template(tmp_path: Path, settings: Any) -> Write:
    """Writes a template's folder; the files are texts by path."""
    settings.AGENT_TEMPLATES_DIR = str(tmp_path)

    def write(name: str, config: str, **others: str) -> None:
        for path, text in {"config.yaml": config, **others}.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


def names(parent: Workspace) -> list[str]:
    return list(Workspace.objects.filter(parent=parent).order_by("created_at", "id").values_list("name", flat=True))


def test_the_shipped_templates_can_be_used(make_workspace: Make) -> None:
    assert [one["id"] for one in templates.listing()] == list(SHIPPED)
    for one in templates.listing():
        assert "problem" not in one
        assert one["skill_count"] == len(one["skills"]) == len(templates.skills_of(templates.read(one["id"])))
        assert agent_config.PROMPT in templates.read(one["id"])


def test_a_listed_template_says_what_its_config_says(template: Write) -> None:
    template("b", "name: B\ndescription: Does b\ntier: 3\nruntime: r\nruntime_config: {model: m}\nskills: [x, y]")
    template("a", "# nothing")
    template("broken", "tier: 9")
    assert templates.listing() == [
        {
            "id": "a",
            "name": "a",
            "description": "",
            "tier": 1,
            "runtime": "",
            "model": "",
            "skills": [],
            "skill_count": 0,
            "imported": False,
        },
        {
            "id": "b",
            "name": "B",
            "description": "Does b",
            "tier": 3,
            "runtime": "r",
            "model": "m",
            "skills": ["x", "y"],
            "skill_count": 2,
            "imported": False,
        },
        {
            "id": "broken",
            "name": "broken",
            "description": "",
            "tier": 1,
            "runtime": "",
            "model": "",
            "skills": [],
            "skill_count": 0,
            "imported": False,
            "problem": "config.yaml, line 1, column 7: tier must be 1, 2, 3 or 4",
        },
    ]


def test_the_shipped_templates_can_be_run() -> None:
    for template_id in SHIPPED:
        for one in templates.blueprint(template_id).walk():
            assert (one.runtime, one.tier) == ("python", 2)
            assert {"agent.py", "requirements.txt"} <= one.files.keys()
            assert agent_config.read(one.files[agent_config.NAME].data).required_env == ()


def test_a_template_has_the_files_of_the_one_that_it_extends_under_its_own(template: Write) -> None:
    template("a", "name: A", **{"agent.py": "a", "prompt": "a"})
    template("b", "name: B\nextends: a", **{"prompt": "b", "more": "b"})
    template("c", "name: C\nextends: b\ntier: 2", more="c")
    texts = {path: content.text for path, content in templates.read("c").items()}
    assert texts == {"config.yaml": "name: C\nextends: b\ntier: 2", "agent.py": "a", "prompt": "b", "more": "c"}
    assert (templates.blueprint("c").name, templates.blueprint("c").tier) == ("C", 2)


@pytest.mark.parametrize(
    ("extended", "problem"),
    [
        ("a", "extends: template a, extends a: in a circle"),
        ("b", "extends: template a, which extends b, extends a: in a circle"),
        ("nope", "there is no template 'nope'; known ones: a, b"),
    ],
)
def test_what_cannot_be_extended_says_why(template: Write, extended: str, problem: str) -> None:
    template("a", f"extends: {extended}")
    template("b", "extends: a")
    with pytest.raises(Invalid, match=problem):
        templates.blueprint("a")


def test_a_path_cannot_be_a_file_here_and_a_folder_there(template: Write) -> None:
    template("a", "name: A", **{"x/y": "a"})
    template("b", "extends: a", x="b")
    with pytest.raises(Invalid, match="x"):
        templates.read("b")


def test_no_folder_means_no_templates(settings: Any, tmp_path: Path) -> None:
    settings.AGENT_TEMPLATES_DIR = str(tmp_path / "missing")
    assert templates.listing() == []


def create(**body: Any) -> Workspace:
    made = templates.create(Blueprint(**{"name": "New", **body}), parent_id=None, actor=ACTOR)
    return Workspace.objects.get(id=made.workspace_id)


def test_a_workspace_takes_files_and_what_the_request_does_not_say(template: Write) -> None:
    template("t", "name: T\ntier: 3\nruntime: r\nmodel: m", **{"system-prompt.md": "hello", "skills/x/SKILL.md": "x"})
    one = create(template="t")
    assert (one.name, one.tier, one.runtime) == ("New", 3, "r")
    assert Agent.objects.get(workspace=one).model == "m"
    assert [entry["path"] for entry in files.listing(one.id)] == [
        "config.yaml",
        "skills/x/SKILL.md",
        "system-prompt.md",
    ]
    assert files.read(one.id, "system-prompt.md").text == "hello"
    created = StructureEvent.objects.get(workspace_id=one.id, event_type="WORKSPACE_PROVISIONING")
    assert (created.payload or {})["template"] == "t"
    other = create(template="t", tier=1, runtime="own", model="own")
    assert (other.tier, other.runtime, Agent.objects.get(workspace=other).model) == (1, "own", "own")
    assert (create().tier, create().runtime) == (1, None)
    assert rebuild._compare(lambda done: None) == []


def test_the_team_is_created_in_the_same_transaction(template: Write) -> None:
    template("lead", "sub_workspaces: [{config: member, name: Ann, role: Tests}, {name: Bob, role: Writes}]")
    template("member", "tier: 2\nsub_workspaces: [{config: leaf}]", **{"a.md": "a"})
    template("leaf", "name: Leaf")
    one = create(template="lead")
    assert names(one) == ["Ann", "Bob"]
    ann = Workspace.objects.get(name="Ann")
    assert (ann.role, ann.tier, names(ann)) == ("Tests", 2, ["leaf"])
    assert [entry["path"] for entry in files.listing(ann.id)] == ["a.md", "config.yaml"]
    assert len(set(StructureEvent.objects.values_list("transaction_id", flat=True))) == 1


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("sub_workspaces: [{config: t}]", "the team of template t contains itself"),
        ("sub_workspaces: [{config: other}]", "the team of template t contains itself"),
        ("sub_workspaces: [{config: unknown}]", "there is no template 'unknown'; known ones: other, t"),
        ("sub_workspaces: [" + "{name: x}," * 501 + "]", "at most 500 workspaces at once"),
        ('sub_workspaces: [{name: "\\u200b"}]', "must have a visible|must not contain"),
        ("tier: [", "did not find"),
    ],
)
def test_a_team_that_cannot_be_is_refused_and_creates_nothing(template: Write, config: str, problem: str) -> None:
    template("t", config)
    template("other", "sub_workspaces: [{config: t}]")
    with pytest.raises(RegistryError, match=problem):
        create(template="t")
    assert not Workspace.objects.exists()


def test_teams_that_multiply_are_refused_without_work(template: Write) -> None:
    for number in range(15):
        template(f"t{number}", f"sub_workspaces: [{f'{{config: t{number + 1}}},' * 10}]")
    template("t15", "# a leaf")
    with pytest.raises(Invalid, match="at most 500 workspaces"):
        create(template="t0")


def test_links_out_of_the_folder_are_refused(template: Write, tmp_path: Path) -> None:
    template("t", "name: T")
    (tmp_path / "t" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match="passwd: is not a file"):
        create(template="t")
    template("linked", "name: L")
    (tmp_path / "linked" / "config.yaml").unlink()
    (tmp_path / "linked" / "config.yaml").symlink_to("/etc/passwd")
    assert [one.get("problem") for one in templates.listing()] == ["config.yaml: is not a file", None]


def test_expand_without_members_creates_the_own_team(
    make_workspace: Make, as_operator: APIClient, template: Write
) -> None:
    template("member", "tier: 3")
    lead = make_workspace("Lead")
    path = f"/workspaces/{lead.id}/expand"
    refused = as_operator.post(path)
    assert (refused.status_code, refused.json()["field"]) == (400, "members")
    files.write(lead.id, "config.yaml", b"sub_workspaces: [{config: member, name: Ann, role: Tests}]", actor=ACTOR)
    answer = as_operator.post(path)
    assert (answer.status_code, answer.json()["status"]) == (200, "expanded")
    [child] = answer.json()["children"]
    assert (child["name"], child["role"], Workspace.objects.get(id=child["id"]).tier) == ("Ann", "Tests", 3)
    assert StructureEvent.objects.filter(workspace_id=lead.id, event_type="WORKSPACE_EXPANDED").count() == 1
    assert rebuild._compare(lambda done: None) == []


def test_an_imported_template_is_used_like_a_folder(template: Write, as_operator: APIClient) -> None:
    body = {
        "name": "My Agent",
        "files": {
            "system-prompt.md": "hi",
            "skills/x/SKILL.md": "x",
            "run": {"content": "AA==", "encoding": "base64", "executable": True},
        },
    }
    answer = as_operator.post("/templates/import", body)
    assert (answer.status_code, answer.json()) == (201, {"id": "my-agent", "name": "My Agent", "status": "imported"})
    [listed] = as_operator.get("/templates").json()
    assert (listed["id"], listed["name"], listed["skills"], listed["imported"]) == ("my-agent", "My Agent", ["x"], True)
    made = as_operator.post("/workspaces", {"name": "One", "template": "my-agent"})
    assert made.status_code == 201
    entries = {entry["path"]: entry["executable"] for entry in files.listing(made.json()["id"])}
    assert entries == {"config.yaml": False, "run": True, "skills/x/SKILL.md": False, "system-prompt.md": False}
    shown = as_operator.get("/templates/my-agent").json()
    assert [file["path"] for file in shown["files"]] == list(entries)
    assert as_operator.delete("/templates/my-agent").json() == {"status": "deleted", "id": "my-agent"}
    assert not AgentTemplateFile.objects.exists()
    assert as_operator.get("/templates/my-agent").status_code == 404
    assert as_operator.delete("/templates/my-agent").status_code == 404
    assert list(Transfer.objects.order_by("id").values_list("kind", "name")) == [
        ("template_imported", "my-agent"),
        ("template_deleted", "my-agent"),
    ]


def test_an_id_is_taken_once_by_a_folder_or_an_import(template: Write, as_operator: APIClient) -> None:
    template("folder", "name: F")
    body = {"files": {"a": "a"}}
    assert as_operator.post("/templates/import", {"name": "one", **body}).status_code == 201
    for name in ("One", "folder"):
        assert as_operator.post("/templates/import", {"name": name, **body}).status_code == 409
    assert list(AgentTemplate.objects.values_list("id", flat=True)) == ["one"]
    with pytest.raises(Conflict, match="is a folder on the server"):
        templates.delete("folder", actor=ACTOR)
    with pytest.raises(NotFound):
        templates.delete("unknown", actor=ACTOR)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x"},
        {"name": "x", "files": {}},
        {"name": "…", "files": {"a": ""}},
        {"name": "x", "files": {"../a": ""}},
        {"name": "x", "files": {"config.yaml": "tier: 9"}},
        {"name": "x", "files": {"a": 1}},
        {"name": "x", "files": []},
    ],
)
def test_a_bad_template_is_refused(as_operator: APIClient, template: Write, body: dict[str, Any]) -> None:
    assert as_operator.post("/templates/import", body).status_code == 400
    assert not AgentTemplate.objects.exists()


def test_there_are_only_so_many_imported_templates(monkeypatch: pytest.MonkeyPatch, template: Write) -> None:
    monkeypatch.setattr(templates, "MAX_IMPORTED", 1)
    templates.import_files("one", {"a": Content(b"")}, actor=ACTOR)
    with pytest.raises(Conflict, match="at most 1 templates"):
        templates.import_files("two", {"a": Content(b"")}, actor=ACTOR)


def test_an_unknown_template_is_400_with_the_known_ones(as_operator: APIClient) -> None:
    answer = as_operator.post("/workspaces", {"name": "One", "template": "nope"})
    assert (answer.status_code, answer.json()["field"]) == (400, "template")
    assert answer.json()["error"] == f"template: there is no template 'nope'; known ones: {', '.join(SHIPPED)}"
    assert not Workspace.objects.exists()


def test_a_workspace_with_a_url_keeps_its_own_runtime(as_operator: APIClient) -> None:
    body = {"name": "One", "template": "reviewer", "external": True, "url": "http://a:1", "tier": 0}
    answer = as_operator.post("/workspaces", body)
    assert (answer.status_code, answer.json()["external"]) == (201, True)
    one = Workspace.objects.get(id=answer.json()["id"])
    assert (one.runtime, one.status, one.tier) == ("external", "online", 2)


def test_a_url_without_external_is_ignored_as_before(as_operator: APIClient) -> None:
    assert as_operator.post("/workspaces", {"name": "One", "url": "http://a:1"}).status_code == 201
    assert Workspace.objects.get().url is None


def test_problems_of_several_workspaces_are_told_at_once(template: Write) -> None:
    template("t", "runtime: " + "r" * 101)
    with pytest.raises(ManyProblems) as refused:
        create(name="\u200b", template="t")
    assert len(refused.value.problems) == 2
