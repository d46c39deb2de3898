"""Bundles: the round trip, what never leaves, what is refused, one transaction."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from rest_framework.test import APIClient

from activity.models import StructureEvent
from canvas import layout
from canvas.models import CanvasLayout
from registry.config import agent_config, blueprints, bundle_reader, bundles, files, layouts
from registry.config.contents import Content
from registry.exceptions import Conflict, Invalid, ManyProblems, NotFound, Removed, TooLarge
from registry.identity import tokens
from registry.models import Agent, GlobalSecret, Transfer, Workspace, WorkspaceFile
from registry.organisation import rebuild, removal, workspaces
from registry.secrets import store
from tests.registry.racing import another_connection, together

pytestmark = pytest.mark.django_db
Make = Callable[..., Workspace]
ACTOR = "operator:ada#1"
CANARY = "canary-4711-secret"
SMALLEST = {"schema": "1.0", "name": "One"}


def imported(bundle: Any, **options: Any) -> Workspace:
    made = bundles.import_bundle(bundle, **{"parent_id": None, "actor": ACTOR} | options)
    return Workspace.objects.get(id=made.workspace_id)


def exported(workspace: Workspace) -> dict[str, Any]:
    return bundles.export(workspace.id, actor=ACTOR)


def nested(depth: int) -> dict[str, Any]:
    bundle: dict[str, Any] = {"name": "leaf"}
    for _ in range(depth - 1):
        bundle = {"name": "node", "sub_workspaces": [bundle]}
    return {"schema": "1.0", **bundle}


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAME = st.text("abcÄ✓ -", min_size=1, max_size=12).map(lambda text: f"x{text.strip()}")
CONTENT = st.one_of(TEXT.map(str.encode), st.binary(max_size=12))
PATHS = st.sampled_from(
    [
        "system-prompt.md",
        "skills/a/SKILL.md",
        "skills/a/run.sh",
        "skills/b/deep/er.txt",
        "skills/loose.md",
        "prompts/x.md",
        "notes/ä.md",
        "data.bin",
        "skills/c/SKILL.md",
    ]
)
SKILL = st.builds("---\nname: {}\ndescription: {}\n---\n{}".format, NAME, NAME, TEXT).map(str.encode)
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "name": NAME,
        "description": NAME,
        "version": st.sampled_from(["1.0", "x"]),
        "author": NAME,
        "tools": st.lists(st.sampled_from(["grep", "search"]), max_size=2),
        "kept": st.integers(0, 9),
    },
).map(agent_config.write)
FILES = st.dictionaries(PATHS, st.tuples(st.one_of(CONTENT, SKILL), st.booleans()), max_size=5)
CARD = st.fixed_dictionaries(
    {"name": NAME}, optional={"version": NAME, "skills": st.just([{"id": "a"}]), "n": st.floats(0, 1e6)}
)
NODE = st.fixed_dictionaries(
    {
        "name": NAME,
        "role": st.none() | NAME,
        "tier": st.integers(1, 4),
        "runtime": st.sampled_from(["", "langgraph", "external"]),
        "model": st.none() | NAME,
        "files": FILES,
        "config": st.none() | CONFIG,
        "card": st.none() | CARD,
        "place": st.none() | st.tuples(st.integers(-99, 99), st.floats(-1e6, 1e6), st.booleans()),
    }
)
TREE: st.SearchStrategy[Any] = st.recursive(
    st.tuples(NODE, st.just([])), lambda below: st.tuples(NODE, st.lists(below, max_size=3)), max_leaves=5
)


def build(make: Make, tree: Any, parent: Workspace | None = None) -> Workspace:
    node, children = tree
    fields = {name: node[name] for name in ("name", "role", "tier", "runtime", "model")}
    one = make(**fields, parent_id=parent and parent.id)
    if node["card"]:
        workspaces.update_card(one.id, node["card"] | {"url": "http://internal:1"}, actor=ACTOR)
    wanted = {path: Content(data, executable) for path, (data, executable) in node["files"].items()}
    if node["config"]:
        wanted["config.yaml"] = Content(node["config"])
    files.replace_all(one.id, wanted, actor=ACTOR)
    if node["place"]:
        x, y, collapsed = node["place"]
        layout.place(one.id, x=x, y=y, collapsed=collapsed)
    for child in children:
        build(make, child, one)
    return one


@given(tree=TREE)
@bounded(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_round_trip_changes_nothing(make_workspace: Make, tree: Any) -> None:
    first = exported(build(make_workspace, tree))
    through_json = json.loads(json.dumps(first))
    copy = imported(through_json)
    second = exported(copy)
    assert second == first
    assert exported(imported(second)) == first
    assert rebuild._compare(lambda done: None) == []


def test_every_file_comes_back_as_it_was(make_workspace: Make) -> None:
    one = make_workspace()
    wanted = {
        "config.yaml": Content(b"# comment\nname: A\n"),
        "system-prompt.md": Content(b""),
        "skills/a/SKILL.md": Content(b"\xff"),
        "skills/loose": Content(b"x", True),
        "b.bin": Content(b"\x00"),
        "skills/a/run": Content(b"#!", True),
    }
    files.replace_all(one.id, wanted, actor=ACTOR)
    copy = imported(exported(one))
    assert files.contents([copy.id])[copy.id] == wanted


def test_a_thousand_files_come_back(make_workspace: Make, django_assert_max_num_queries: Any) -> None:
    one = make_workspace()
    wanted = {f"skills/{n % 7}/{n}.md": Content(b"%d" % n * 50, n % 3 == 0) for n in range(1000)}
    files.replace_all(one.id, wanted, actor=ACTOR)
    with django_assert_max_num_queries(40):
        copy = imported(exported(one))
    assert files.contents([copy.id])[copy.id] == wanted
    assert rebuild._compare(lambda done: None) == []


@pytest.mark.django_db(transaction=True)
def test_an_export_is_of_one_moment(make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever removes a member meanwhile does not make half of it leave."""
    lead = make_workspace("Lead")
    member = make_workspace("Member", parent_id=lead.id)
    files.write(member.id, "a", b"a", actor=ACTOR)
    read = files.contents

    def removed_meanwhile(*arguments: Any) -> Any:
        with another_connection():
            removal.remove(member.id, actor=ACTOR, confirm=True)
        return read(*arguments)

    monkeypatch.setattr(files, "contents", removed_meanwhile)
    [found] = exported(lead)["sub_workspaces"]
    assert (found["name"], found["prompts"]) == ("Member", {"a": "a"})
    monkeypatch.setattr(files, "contents", read)
    assert exported(lead)["sub_workspaces"] == []


def test_ids_are_new_and_the_source_is_kept(make_workspace: Make) -> None:
    one = make_workspace("One")
    child = make_workspace("Child", parent_id=one.id)
    bundle = exported(one)
    assert (bundle["id"], bundle["sub_workspaces"][0]["id"]) == (str(one.id), str(child.id))
    copy = imported(bundle)
    assert copy.id != one.id
    assert copy.source_bundle_id == str(one.id)
    again = imported(exported(copy))
    assert again.source_bundle_id == str(one.id)


def test_a_copy_inside_of_its_team_gets_an_id_of_its_own(make_workspace: Make) -> None:
    lead = make_workspace("Lead")
    one = make_workspace("One", parent_id=lead.id)
    bundles.duplicate(one.id, actor=ACTOR)
    bundle = exported(lead)
    ids = [child["id"] for child in bundle["sub_workspaces"]]
    assert len(set(ids)) == 2
    assert exported(imported(bundle)) == bundle


def test_no_address_token_secret_or_memory_is_in_a_bundle(make_workspace: Make) -> None:
    one = make_workspace(external=True, url="http://internal.example:1")
    card = {
        "name": "A",
        "url": "http://internal.example:1",
        "supportedInterfaces": [{"url": "http://internal.example:2"}],
    }
    workspaces.update_card(one.id, card, actor=ACTOR)
    store.set_for_workspace(one.id, "API_KEY", CANARY, actor=ACTOR)
    token = tokens.issue_workspace_token(one.id).text
    text = json.dumps(exported(one))
    for leaked in (CANARY, "API_KEY", "internal.example", token[:19]):
        assert leaked not in text


@pytest.mark.parametrize("scope", ["own", "of a child", "global"])
@pytest.mark.parametrize(
    "content", [f"key: {CANARY}".encode(), b"\x00\xff" + CANARY.encode(), json.dumps({"a": CANARY + '"'}).encode()]
)
def test_a_secret_in_a_file_stops_the_export(make_workspace: Make, scope: str, content: bytes) -> None:
    one = make_workspace("One")
    child = make_workspace("Child", parent_id=one.id)
    owner = child if scope == "of a child" else one
    if scope == "global":
        store.set_for_all("API_KEY", CANARY, actor=ACTOR)
    else:
        store.set_for_workspace(owner.id, "API_KEY", CANARY, actor=ACTOR)
    assert exported(one)
    files.write(owner.id, "skills/a/notes.md", content, actor=ACTOR)
    for action in (bundles.export, bundles.duplicate):
        with pytest.raises(Conflict) as refused:
            action(one.id, actor=ACTOR)
        assert refused.value.message.startswith(f"skills/a/notes.md of {owner.name} contains a secret")
        assert CANARY not in refused.value.message
    assert Transfer.objects.count() == 1


def test_a_secret_in_a_role_or_a_card_and_a_token_in_a_file_stop_it_too(make_workspace: Make) -> None:
    by_role, by_card, by_token = make_workspace(role=f"uses {CANARY}"), make_workspace(), make_workspace()
    workspaces.update_card(by_card.id, {"name": "A", "description": CANARY}, actor=ACTOR)
    token = tokens.issue_workspace_token(make_workspace().id).text
    files.write(by_token.id, "a", f"token={token}".encode(), actor=ACTOR)
    store.set_for_all("API_KEY", CANARY, actor=ACTOR)
    for one in (by_role, by_card, by_token):
        with pytest.raises(Conflict, match="contains a secret") as refused:
            exported(one)
        assert CANARY not in refused.value.message
        assert token not in refused.value.message


def test_what_cannot_be_checked_does_not_leave(make_workspace: Make, settings: Any) -> None:
    one = make_workspace()
    store.set_for_all("API_KEY", CANARY, actor=ACTOR)
    GlobalSecret.objects.update(encrypted_value=b"broken")
    with pytest.raises(Conflict, match=r"cannot be checked for secrets: .*API_KEY"):
        exported(one)
    settings.SECRETS_ENCRYPTION_KEY = ""
    with pytest.raises(Conflict, match="cannot be checked for secrets"):
        exported(one)


BAD: list[tuple[Any, str]] = [
    ({}, 'schema: must be "1.0"'),
    ({"bundle": SMALLEST}, "send the bundle itself"),
    ([], "must be a bundle"),
    ({**SMALLEST, "schema": "2.0"}, 'schema: must be "1.0"'),
    ({**SMALLEST, "schema": 1.0}, 'schema: must be "1.0"'),
    ({"schema": "1.0"}, "name"),
    ({**SMALLEST, "tier": 5}, "tier: must be 1, 2, 3 or 4"),
    ({**SMALLEST, "tier": "2"}, "tier: must be a whole number"),
    ({**SMALLEST, "tier": True}, "tier: must be a whole number"),
    ({**SMALLEST, "skills": {}}, "skills: must be a list"),
    ({**SMALLEST, "skills": [{}]}, r"skills\[0\]: must be an object with an id"),
    ({**SMALLEST, "skills": [{"id": "../..", "files": {"etc": ""}}]}, r"skills\[0\].files: path"),
    ({**SMALLEST, "skills": [{"id": "a", "files": {"../../etc": ""}}]}, r"skills\[0\].files: path"),
    ({**SMALLEST, "skills": [{"id": "a", "files": []}, {"id": "b", "files": 1}]}, "files: must be an object"),
    ({**SMALLEST, "skills": [{"id": "a", "files": {"x": ""}}] * 2}, "skills/a/x: is there twice"),
    ({**SMALLEST, "system_prompt": "a", "prompts": {"system-prompt.md": "b"}}, "system-prompt.md: is there twice"),
    ({**SMALLEST, "prompts": {"/etc/passwd": ""}}, "must be relative"),
    ({**SMALLEST, "prompts": {"C:\\x": ""}}, "backslashes"),
    ({**SMALLEST, "prompts": {".auth_token": ""}}, "is reserved"),
    ({**SMALLEST, "prompts": {"a": "", "a/b": ""}}, "is a file, not a folder"),
    ({**SMALLEST, "prompts": {"a": {"base64": "!"}}}, "a: is not base64"),
    ({**SMALLEST, "prompts": {"a": "x" * (1024 * 1024 + 1)}}, "a: must not be larger than 1 MiB"),
    ({**SMALLEST, "prompts": {str(n): "" for n in range(1001)}}, "at most 1,000 files"),
    ({**SMALLEST, "prompts": {"config.yaml": "a: &a [*a]"}}, "config.yaml, line 1"),
    ({**SMALLEST, "layout": {"x": 1e9, "y": 0}}, "layout: must have x and y"),
    ({**SMALLEST, "agent_card": {"name": "x" * 70_000}}, "agent_card"),
    ({**SMALLEST, "model": "x" * 101}, "model: must be one line"),
    (
        {**SMALLEST, "id": "same", "sub_workspaces": [{"name": "a", "id": "same"}]},
        r"sub_workspaces\[0\].id: 'same' is there twice",
    ),
    ({**SMALLEST, "sub_workspaces": [1]}, r"sub_workspaces\[0\]: must be an object"),
    ({**SMALLEST, "sub_workspaces": [{"name": "a"}] * 500}, "at most 500 workspaces"),
    (
        {**SMALLEST, "sub_workspaces": [{"name": "a", "prompts": {"config.yaml": f"a: [{'1,' * 9_000}]"}}] * 23},
        "config.yaml: at most 200,000 values in all of them",
    ),
    (nested(17), "at most 16 levels"),
]


@pytest.mark.parametrize(("bundle", "problem"), BAD, ids=[why for _, why in BAD])
def test_a_bad_bundle_is_refused_and_creates_nothing(as_operator: APIClient, bundle: Any, problem: str) -> None:
    with pytest.raises((Invalid, TooLarge), match=problem):
        imported(bundle)
    answer = as_operator.post("/bundles/import", bundle)
    assert answer.status_code in (400, 413), answer.content
    assert answer.json()["error"]
    assert not Workspace.objects.exists()
    assert not StructureEvent.objects.exists()


def test_all_problems_are_told_at_once(as_operator: APIClient) -> None:
    bundle = {
        **SMALLEST,
        "name": "",
        "tier": 9,
        "sub_workspaces": [{"name": "ok"}, {"name": "a\nb", "prompts": {"../x": "", "y": 1}}],
    }
    answer = as_operator.post("/bundles/import", bundle)
    assert answer.status_code == 400
    problems = answer.json()["problems"]
    assert [problem["where"] for problem in problems] == [
        "sub_workspaces[1].prompts",
        "sub_workspaces[1].prompts",
        "",
        "",
        "sub_workspaces[1]",
    ]
    assert answer.json()["error"].endswith("and 4 more problems")
    preview = as_operator.post("/bundles/import?dry_run=true", bundle)
    assert (preview.status_code, preview.json()["problems"], preview.json()["count"]) == (200, problems, 3)
    for bad in ({}, {"bundle": SMALLEST}):
        assert as_operator.post("/bundles/import?dry_run=true", bad).status_code == 400
    assert not Workspace.objects.exists()


def test_a_dry_run_shows_the_tree_and_creates_nothing(as_operator: APIClient, make_workspace: Make) -> None:
    lead = make_workspace("Lead", role="leads", model="m")
    files.write(lead.id, "a", b"", actor=ACTOR)
    make_workspace("Child", parent_id=lead.id, tier=2)
    bundle = as_operator.get(f"/bundles/export/{lead.id}").json()
    count = StructureEvent.objects.count()
    preview = as_operator.post("/bundles/import?dry_run=true", bundle).json()
    child: dict[str, Any] = {
        "name": "Child",
        "role": None,
        "tier": 2,
        "runtime": "",
        "model": None,
        "template": None,
        "files": 0,
        "children": [],
    }
    root = child | {"name": "Lead", "role": "leads", "tier": 1, "model": "m", "files": 1, "children": [child]}
    assert preview == {"dry_run": True, "count": 2, "workspaces": [root], "problems": []}
    assert (Workspace.objects.count(), StructureEvent.objects.count()) == (2, count)


def test_a_bundle_of_another_program_is_made_into_files() -> None:
    bundle = {
        **SMALLEST,
        "description": "Does things",
        "tools": [{"name": "search"}],
        "version": "2",
        "system_prompt": "Be kind",
        "skills": [{"id": "a", "name": "Skill A", "description": "Does a", "files": {"run.py": "1"}}],
        "prompts": {"prompts/x.md": "x"},
        "unknown": 1,
    }
    one = imported(bundle)
    assert one.role == "Does things"
    found = {path: content.text for path, content in files.contents([one.id])[one.id].items()}
    assert set(found) == {"config.yaml", "prompts/x.md", "skills/a/SKILL.md", "skills/a/run.py", "system-prompt.md"}
    config = agent_config.read((found["config.yaml"] or "").encode())
    assert (config.description, config.version, config.tools, config.skills) == (
        "Does things",
        "2",
        ({"name": "search"},),
        ("a",),
    )
    again = exported(one)
    assert (again["skills"][0]["name"], again["skills"][0]["description"]) == ("Skill A", "Does a")
    assert exported(imported(again)) == again


def test_optional_fields_may_be_empty() -> None:
    assert imported(SMALLEST | dict.fromkeys(set(bundle_reader.TYPES) - {"name"}, None)).name == "One"
    assert imported(SMALLEST | dict.fromkeys(set(bundle_reader.TYPES) - {"name"}, "")).tier == 1


def test_the_routes_have_their_shapes(as_operator: APIClient, make_workspace: Make) -> None:
    lead = make_workspace("Grüße: the lead!")
    make_workspace("Child", parent_id=lead.id)
    answer = as_operator.get(f"/bundles/export/{lead.id}")
    assert answer["Content-Disposition"] == 'attachment; filename="grue-the-lead.bundle.json"'
    assert set(answer.json()) >= {
        "schema",
        "id",
        "name",
        "description",
        "tier",
        "runtime",
        "model",
        "system_prompt",
        "skills",
        "tools",
        "prompts",
        "sub_workspaces",
        "agent_card",
        "author",
        "version",
    }
    created = as_operator.post(f"/bundles/import?parent_id={lead.id}", answer.json())
    assert created.status_code == 201
    assert created.json().keys() == {"workspace_id", "name", "status", "children"}
    assert [child["name"] for child in created.json()["children"]] == ["Child"]
    assert str(Workspace.objects.get(id=created.json()["workspace_id"]).parent_id) == str(lead.id)
    copied = as_operator.post(f"/workspaces/{lead.id}/duplicate")
    assert (copied.status_code, copied.json()["name"]) == (201, "Grüße: the lead! (copy)")
    kinds = Transfer.objects.order_by("id").values_list("kind", "workspaces")
    assert list(kinds) == [("bundle_exported", 2), ("bundle_imported", 2), ("workspace_duplicated", 4)]
    assert Transfer.objects.filter(actor__startswith="operator:operator-").count() == 3


def test_a_duplicate_stands_beside_its_original(make_workspace: Make) -> None:
    lead = make_workspace("Lead")
    one = make_workspace("x" * 255, parent_id=lead.id, model="m")
    make_workspace("Child", parent_id=one.id)
    layout.place(one.id, x=10.0, y=20.0, collapsed=True)
    files.write(one.id, "a", b"a", actor=ACTOR)
    store.set_for_workspace(one.id, "KEY_OF_ONE", CANARY, actor=ACTOR)
    made = bundles.duplicate(one.id, actor=ACTOR)
    copy = Workspace.objects.get(id=made.workspace_id)
    assert (copy.parent_id, copy.name) == (lead.id, f"{'x' * 248} (copy)")
    assert (Agent.objects.get(workspace=copy).model, len(made.children)) == ("m", 1)
    assert WorkspaceFile.objects.get(workspace=copy).path == "a"
    place = CanvasLayout.objects.get(workspace=copy)
    assert (place.x, place.y, place.collapsed) == (50.0, 60.0, True)
    assert not copy.secrets.exists()


def test_a_copy_may_have_another_name_and_team_and_no_team_of_its_own(
    as_operator: APIClient, make_workspace: Make
) -> None:
    boss = make_workspace("Boss")
    lead = make_workspace("Lead", parent_id=boss.id)
    make_workspace("Child", parent_id=lead.id)

    def copied(**body: Any) -> tuple[str, Any, int]:
        answer = as_operator.post(f"/workspaces/{lead.id}/duplicate", body)
        assert answer.status_code == 201, answer.content
        copy = Workspace.objects.get(id=answer.json()["workspace_id"])
        return copy.name, copy.parent_id, len(answer.json()["children"])

    assert copied() == ("Lead (copy)", boss.id, 1)
    assert copied(name="Second", parent_id=None, with_team=False) == ("Second", None, 0)
    assert copied(name="", parent_id=str(lead.id)) == ("Lead (copy)", lead.id, 1)
    count = Workspace.objects.count()
    unknown = str(Workspace().id)
    bodies: list[Any] = [{"name": "a\nb"}, {"name": "x" * 256}, {"parent_id": "x"}, {"parent_id": unknown}, []]
    for body in bodies:
        assert as_operator.post(f"/workspaces/{lead.id}/duplicate", body).status_code == 400
    assert Workspace.objects.count() == count


def test_an_unknown_or_removed_workspace_is_not_exported(make_workspace: Make, as_operator: APIClient) -> None:
    gone = make_workspace()
    removal.remove(gone.id, actor=ACTOR, confirm=True)
    for action in (bundles.export, bundles.duplicate):
        with pytest.raises(Removed):
            action(gone.id, actor=ACTOR)
    with pytest.raises(NotFound):
        bundles.export(Workspace().id, actor=ACTOR)
    for parent_id in (gone.id, Workspace().id):
        with pytest.raises(Invalid, match="parent_id"):
            imported(SMALLEST, parent_id=parent_id)
        preview = as_operator.post(f"/bundles/import?dry_run=1&parent_id={parent_id}", SMALLEST).json()
        assert [problem["where"] for problem in preview["problems"]] == ["parent_id"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("at", ["files", "layouts", "transfers"])
def test_a_crash_in_the_middle_leaves_nothing(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def crash(*arguments: Any, **options: Any) -> None:
        raise DatabaseError("the server closed the connection")

    target = {
        "files": ("files", "add_to_new"),
        "layouts": ("layouts", "place_all"),
        "transfers": ("transfers", "note"),
    }[at]
    module: Any = blueprints if at != "transfers" else bundles
    monkeypatch.setattr(getattr(module, target[0]), target[1], crash)
    bundle = {**SMALLEST, "prompts": {"a": "a"}, "layout": {"x": 1, "y": 1}, "sub_workspaces": [{"name": "Child"}]}
    with pytest.raises(DatabaseError):
        imported(bundle)
    for table in (Workspace, WorkspaceFile, CanvasLayout, StructureEvent, Transfer):
        assert not table._default_manager.exists()


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_is_lost_in_the_middle_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    place_all = layouts.place_all

    def lose_the_connection(places: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [(pid,)] = cursor.fetchall()
        with another_connection(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        place_all(places)

    monkeypatch.setattr(layouts, "place_all", lose_the_connection)
    with pytest.raises(OperationalError):
        imported({**SMALLEST, "prompts": {"a": "a"}, "layout": {"x": 1, "y": 1}, "sub_workspaces": [{"name": "Child"}]})
    for table in (Workspace, WorkspaceFile, CanvasLayout, StructureEvent, Transfer):
        assert not table._default_manager.exists()


@pytest.mark.django_db(transaction=True)
def test_an_import_into_a_team_that_is_removed_meanwhile(make_workspace: Make) -> None:
    """Whichever is first: nothing active is below what was removed."""
    for _ in range(5):
        lead = make_workspace("Lead")

        def into_it(lead: Workspace = lead) -> None:
            with suppress(Invalid):
                imported({**SMALLEST, "sub_workspaces": [{"name": "Child"}]}, parent_id=lead.id)

        together(into_it, partial(removal.remove, lead.id, actor=ACTOR, confirm=True))
        assert not Workspace.objects.active().exists()
    assert rebuild._compare(lambda done: None) == []


def test_five_hundred_workspaces_are_one_transaction_and_few_statements(django_assert_max_num_queries: Any) -> None:
    teams: list[dict[str, Any]] = [
        {"name": f"Team {t}", "sub_workspaces": [_member(f"{t}.{n}") for n in range(24)]} | {"layout": {"x": t, "y": 0}}
        for t in range(20)
    ]
    bundle = {
        **SMALLEST,
        "sub_workspaces": [*teams[:19], {**teams[19], "sub_workspaces": teams[19]["sub_workspaces"][:23]}],
    }
    with django_assert_max_num_queries(40):
        made = bundles.import_bundle(bundle, parent_id=None, actor=ACTOR)
    assert sum(1 for _ in made.walk()) == Workspace.objects.count() == 500
    assert len(set(StructureEvent.objects.values_list("transaction_id", flat=True))) == 1
    assert rebuild._compare(lambda done: None) == []
    again = exported(Workspace.objects.get(id=made.workspace_id))
    assert [team["name"] for team in again["sub_workspaces"]] == [team["name"] for team in teams]
    imported({**again, "id": "x"})
    workspaces.create(workspaces.NewWorkspace(name="one more", parent_id=made.workspace_id), actor=ACTOR)
    with pytest.raises(Conflict, match="at most 500 workspaces, this team has 501"):
        bundles.export(made.workspace_id, actor=ACTOR)


def _member(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": "m",
        "system_prompt": "You are a member.",
        "skills": [{"id": "a", "files": {"SKILL.md": "# A"}}],
    }


def test_what_could_not_be_imported_is_not_exported(make_workspace: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_workspace()
    monkeypatch.setattr(bundles, "MAX_BYTES", 100)
    with pytest.raises(TooLarge, match="the bundle would have"):
        exported(one)
    monkeypatch.setattr(bundles, "MAX_BYTES", 10_000)
    monkeypatch.setattr(bundles, "MAX_VALUES", 5)
    with pytest.raises(TooLarge, match="more than 5 values"):
        exported(one)


def test_a_team_that_is_too_deep_is_not_exported(make_workspace: Make) -> None:
    top = one = make_workspace()
    for _ in range(15):
        one = make_workspace(parent_id=one.id)
    assert exported(top)
    make_workspace(parent_id=one.id)
    with pytest.raises(Conflict, match="at most 16 levels"):
        exported(top)


def test_many_problems_count_themselves() -> None:
    with pytest.raises(ManyProblems) as refused:
        imported({**SMALLEST, "tier": 9, "name": ""})
    assert len(refused.value.problems) == 2
