"""Org templates: the shipped ones, public ones as they are written, includes, limits, what is ignored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from activity.models import StructureEvent
from canvas.models import CanvasLayout
from registry.config import agent_config, files, org_templates
from registry.exceptions import Invalid
from registry.models import Agent, Transfer, Workspace
from registry.organisation import rebuild

pytestmark = pytest.mark.django_db
Write = Callable[[dict[str, str]], None]
PUBLIC = """
name: Startup
description: As public templates are written
template_schema_version: 1
category_routing: {bug: [dev]}
defaults:
  runtime: langgraph
  tier: 2
  model: m
  required_env: [API_KEY]
  idle_interval_seconds: 60
  initial_prompt: Say hello
workspaces:
  - name: CEO
    role: |
      Leads.
      Decides.
    template: reviewer
    canvas: {x: 400, y: 50}
    schedules: [{name: daily, cron: "0 9 * * *"}]
    children:
      - !include teams/dev.yaml
      - name: Remote
        external: true
        url: https://agents.example/remote
        plugins: [x]
"""
DEV = """
name: Dev
tier: 3
files_dir: dev
initial_prompt_file: dev/first.md
channels: [slack]
children:
  - !include more/tester.yaml
"""


@pytest.fixture
def write(tmp_path: Path, settings: Any) -> Write:
    settings.ORG_TEMPLATES_DIR = str(tmp_path)

    def files_of(texts: dict[str, str]) -> None:
        for path, text in texts.items():
            file = tmp_path / "org" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return files_of


def text_of(name: str, path: str) -> str:
    return files.read(Workspace.objects.get(name=name).id, path).text or ""


def config_of(name: str) -> agent_config.AgentConfig:
    return agent_config.read(text_of(name, "config.yaml").encode())


@pytest.mark.parametrize(("folder", "count"), [("pair", 2), ("company", 12), ("hundred", 100)])
def test_the_shipped_organisations_are_created(as_operator: APIClient, folder: str, count: int) -> None:
    listed = {row["dir"]: row for row in as_operator.get("/org/templates").json()}
    assert set(listed) == {"pair", "company", "hundred"}
    assert listed[folder].keys() == {"dir", "name", "description", "workspaces"}
    assert listed[folder]["workspaces"] == count
    answer = as_operator.post("/org/import", {"dir": folder})
    assert (answer.status_code, answer.json().keys()) == (201, {"org", "workspaces", "count"})
    assert answer.json()["count"] == len(answer.json()["workspaces"]) == Workspace.objects.count() == count
    assert answer.json()["workspaces"][0].keys() == {"id", "name"}
    assert len(set(StructureEvent.objects.values_list("transaction_id", flat=True))) == 1
    assert Transfer.objects.get().kind == "organisation_imported"
    assert rebuild._compare(lambda done: None) == []


@pytest.mark.parametrize("folder", ["pair", "company"])
def test_the_shipped_organisations_can_be_run(folder: str) -> None:
    for one in org_templates.of_folder(folder).workspaces[0].walk():
        assert (one.runtime, one.tier) == ("python", 2)
        assert {"agent.py", "requirements.txt", "system-prompt.md"} <= one.files.keys()
        assert agent_config.read(one.files["config.yaml"].data).required_env == ()


def test_defaults_name_the_template_of_those_that_name_none() -> None:
    items: list[dict[str, Any]] = [{"name": "A"}, {"name": "B", "template": "reviewer"}, {"name": "C", "template": ""}]
    items += [{"name": "D", "external": True, "url": "https://agents.example/d"}]
    found = org_templates.read({"name": "O", "defaults": {"template": "agent"}, "workspaces": items})
    assert (found.problems, found.ignored) == ([], [])
    assert [one.template for one in found.workspaces] == ["agent", "reviewer", None, None]
    assert "agent.py" in found.workspaces[0].files
    found = org_templates.read({"name": "O", "defaults": {"template": ["agent"]}, "workspaces": items})
    assert found.problems[0].where == "defaults.template"
    found = org_templates.read({"name": "O", "defaults": {"template": "nope"}, "workspaces": items[:1]})
    assert "there is no template 'nope'" in found.problems[0].error


def test_a_public_template_is_understood_and_says_what_it_ignores(as_operator: APIClient, write: Write) -> None:
    write(
        {
            "org.yaml": PUBLIC,
            "teams/dev.yaml": DEV,
            "teams/more/tester.yaml": "name: Tester\nsystem_prompt: Test it",
            "dev/system-prompt.md": "You are a developer",
            "dev/workspace.yaml": "x: 1",
            "dev/first.md": "Read the code",
        }
    )
    answer = as_operator.post("/org/import", {"dir": "org"}).json()
    assert [one["name"] for one in answer["workspaces"]] == ["CEO", "Dev", "Tester", "Remote"]
    assert answer["ignored"] == [
        "template_schema_version",
        "category_routing",
        "defaults.idle_interval_seconds",
        "workspaces[0].schedules",
        "workspaces[0].children[0].channels",
        "workspaces[0].children[1].plugins",
    ]
    rows = {row.name: row for row in Workspace.objects.all()}
    assert (rows["CEO"].role, rows["CEO"].tier, rows["Dev"].tier, rows["Tester"].tier) == ("Leads.\nDecides.", 2, 3, 2)
    assert rows["Tester"].parent_id == rows["Dev"].id
    assert (rows["Dev"].runtime, Agent.objects.get(workspace=rows["Dev"]).model) == ("langgraph", "m")
    assert (rows["Remote"].runtime, rows["Remote"].status, rows["Remote"].url) == (
        "external",
        "online",
        "https://agents.example/remote",
    )
    assert (text_of("Dev", "system-prompt.md"), text_of("Dev", "workspace.yaml")) == ("You are a developer", "x: 1")
    assert (text_of("Tester", "system-prompt.md"), config_of("Tester").values["initial_prompt"]) == (
        "Test it",
        "Say hello",
    )
    assert config_of("Dev").values["initial_prompt"] == "Read the code"
    assert config_of("CEO").required_env == ("API_KEY",)
    assert config_of("CEO").values["env"]["optional"] == ["OPENAI_API_KEY", "OPENAI_BASE_URL"]
    place = CanvasLayout.objects.get(workspace=rows["CEO"])
    assert (place.x, place.y) == (400.0, 50.0)


def test_what_a_template_requires_by_objects_stays_and_more_is_added(as_operator: APIClient) -> None:
    config = "env: {required: [{name: GIVEN}, BOTH], optional: [MORE]}"
    template = as_operator.post("/templates/import", {"name": "t", "files": {"config.yaml": config}}).json()["id"]
    workspaces = [
        {"name": "A", "template": template},
        {"name": "B", "template": template, "required_env": ["BOTH", "OWN"]},
    ]
    answer = as_operator.post("/org/import", {"template": {"name": "O", "workspaces": workspaces}})
    assert answer.status_code == 201, answer.content
    assert text_of("A", "config.yaml") == config
    assert config_of("B").required_env == ("GIVEN", "BOTH", "OWN")
    assert config_of("B").values["env"]["optional"] == ["MORE"]


def test_an_organisation_may_be_sent_as_json(as_operator: APIClient) -> None:
    template = {"name": "Sent", "workspaces": [{"name": "A", "children": [{"name": "B", "role": "r" * 2000}]}]}
    preview = as_operator.post("/org/import?dry_run=true", {"template": template}).json()
    assert (preview["count"], preview["problems"], preview["ignored"]) == (2, [], [])
    assert preview["workspaces"][0]["children"][0]["role"] == "r" * 2000
    assert not Workspace.objects.exists()
    answer = as_operator.post("/org/import", {"template": template})
    assert (answer.status_code, answer.json()["org"], answer.json()["count"]) == (201, "Sent", 2)


BAD: list[tuple[str, dict[str, str]]] = [
    (
        r"x.yaml: includes itself",
        {"org.yaml": "name: o\nworkspaces: [!include x.yaml]", "x.yaml": "name: a\nchildren: [!include x.yaml]"},
    ),
    (r"outside of the template's folder", {"org.yaml": "name: o\nworkspaces: [!include ../../etc/passwd]"}),
    (r"outside of the template's folder", {"org.yaml": "name: o\nworkspaces: [!include /etc/passwd]"}),
    (r"y.yaml: is not a file", {"org.yaml": "name: o\nworkspaces: [!include y.yaml]"}),
    (r"x.yaml, line 2, column 1", {"org.yaml": "name: o\nworkspaces: [!include x.yaml]", "x.yaml": "name: [a"}),
    (r"tag .* is not supported", {"org.yaml": "name: !!python/name:os.system x"}),
    (
        r"at most 16 levels",
        {
            "org.yaml": "name: o\nworkspaces: [!include 0.yaml]",
            **{f"{n}.yaml": f"name: a\nchildren: [!include {n + 1}.yaml]" for n in range(20)},
        },
    ),
    (r"at most .* 500 files", {"org.yaml": f"name: o\nworkspaces: [{'!include x.yaml, ' * 501}]", "x.yaml": "name: a"}),
]


@pytest.mark.parametrize(("problem", "texts"), BAD, ids=[why for why, _ in BAD])
def test_a_bad_include_is_refused(as_operator: APIClient, write: Write, problem: str, texts: dict[str, str]) -> None:
    write(texts)
    with pytest.raises(Invalid, match=problem):
        org_templates.of_folder("org")
    assert as_operator.post("/org/import", {"dir": "org"}).status_code == 400
    [listed] = as_operator.get("/org/templates").json()
    assert listed["problem"]


def test_a_link_out_of_the_folder_is_refused(write: Write, tmp_path: Path) -> None:
    write({"org.yaml": "name: o\nworkspaces: [{name: a, files_dir: linked}, !include link.yaml]"})
    (tmp_path / "org" / "link.yaml").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match="outside"):
        org_templates.of_folder("org")
    write({"org.yaml": "name: o\nworkspaces: [{name: a, files_dir: linked}]"})
    (tmp_path / "org" / "linked").symlink_to("/etc")
    assert [str(problem) for problem in org_templates.of_folder("org").problems] == [
        "workspaces[0]: linked: is outside of the template's folder"
    ]


def test_all_problems_are_told_at_once(as_operator: APIClient) -> None:
    template = {
        "defaults": [],
        "workspaces": [
            {"name": "", "tier": "x"},
            {"name": "a", "template": "nope", "canvas": {"x": "1"}},
            {"name": "b", "url": "http://a:1"},
            {"name": "c", "files_dir": "d"},
            {"name": "d", "children": {}},
            {"name": "e", "initial_prompt_file": "f"},
            7,
        ],
    }
    answer = as_operator.post("/org/import", {"template": template})
    assert answer.status_code == 400
    assert {problem["where"] for problem in answer.json()["problems"]} == {
        "name",
        "defaults",
        "workspaces[0]",
        "workspaces[0].tier",
        "workspaces[1]",
        "workspaces[1].canvas",
        "workspaces[2]",
        "workspaces[3]",
        "workspaces[4].children",
        "workspaces[5]",
        "workspaces[6]",
    }
    preview = as_operator.post("/org/import?dry_run=true", {"template": template})
    assert (preview.status_code, preview.json()["problems"]) == (200, answer.json()["problems"])
    assert not Workspace.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"dir": "nope"},
        {"dir": "../org-templates"},
        {"dir": "pair", "template": {}},
        {"template": {}},
        {"template": []},
        {"template": {"name": "x", "workspaces": []}},
        {"template": {"name": "x", "workspaces": [{"name": "a"}] * 501}},
    ],
)
def test_a_bad_request_is_refused(as_operator: APIClient, body: dict[str, Any]) -> None:
    answer = as_operator.post("/org/import", body)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)
    assert not Workspace.objects.exists()
