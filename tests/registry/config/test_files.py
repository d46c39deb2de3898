"""Files of workspaces: operations, limits, events, revisions, races."""

import io
import zipfile
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from activity.models import StructureEvent
from registry.config import agent_settings, context, files, revisions
from registry.config.contents import Content
from registry.exceptions import (
    Invalid,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    RegistryError,
    Removed,
    TooLarge,
    TooOften,
)
from registry.models import AgentSettings, Workspace, WorkspaceFile, WorkspaceFileRevision
from registry.organisation import rebuild, removal
from registry.secrets import store
from tests.registry.racing import together

Make = Callable[..., Workspace]
ADA, BOB = "operator:ada#1", "operator:bob#2"
KIB = 1024


def put(workspace: Workspace, path: str, text: str, **options: Any) -> str:
    return files.write(workspace.id, path, text.encode(), **{"actor": ADA} | options)["sha256"]


def text_of(workspace: Workspace, path: str) -> str | None:
    return files.read(workspace.id, path).text


def events(workspace: Workspace) -> list[StructureEvent]:
    return list(
        StructureEvent.objects.filter(workspace_id=workspace.id, event_type="WORKSPACE_UPDATED").order_by("seq")
    )


def files_of(event: StructureEvent) -> dict[str, Any]:
    assert event.payload is not None
    changed: dict[str, Any] = event.payload["files"]
    return changed


def test_a_file_is_written_read_listed_and_deleted(make_workspace: Make) -> None:
    one = make_workspace()
    put(one, "a.md", "first")
    put(one, "a.md", "second", actor=BOB)
    [entry] = files.listing(one.id)
    assert (entry["path"], entry["size"], entry["updated_by"], entry["executable"]) == ("a.md", 6, BOB, False)
    assert entry["sha256"] == Content(b"second").sha256
    assert text_of(one, "a.md") == "second"
    files.delete(one.id, "a.md", actor=ADA)
    assert files.listing(one.id) == []
    for action in (files.read, files.entry):
        with pytest.raises(NotFound, match="no such file"):
            action(one.id, "a.md")
    with pytest.raises(NotFound, match="no such file"):
        files.delete(one.id, "a.md", actor=ADA)


def test_events_have_hashes_and_the_actor_but_no_contents(make_workspace: Make) -> None:
    one = make_workspace()
    first, second = put(one, "a.md", "canary one"), put(one, "a.md", "canary two", actor=BOB)
    put(one, "a.md", "canary two", actor=BOB)
    files.delete(one.id, "a.md", actor=ADA)
    assert [(event.payload, event.actor) for event in events(one)] == [
        ({"changes": {}, "files": {"a.md": [None, first]}}, ADA),
        ({"changes": {}, "files": {"a.md": [first, second]}}, BOB),
        ({"changes": {}, "files": {"a.md": [second, None]}}, ADA),
    ]
    assert not StructureEvent.objects.filter(payload__icontains="canary").exists()
    one.refresh_from_db()
    assert one.updated_at == events(one)[-1].created_at


def test_no_path_has_the_value_of_a_secret(make_workspace: Make) -> None:
    one = make_workspace()
    store.set_for_workspace(one.id, "KEY", "sk-own-value", actor=ADA)
    before = StructureEvent.objects.count()
    for path in ("sk-own-value.md", "notes/sk-own-value/a.md"):
        with pytest.raises(Invalid) as refused:
            files.write(one.id, path, b"plain", actor=ADA)
        assert "sk-own-value" not in str(refused.value)
        with pytest.raises(Invalid):
            files.replace_all(one.id, {"a.md": Content(b"plain"), path: Content(b"plain")}, actor=ADA)
    assert files.listing(one.id) == []
    assert StructureEvent.objects.count() == before


def test_replacing_all_is_one_change(make_workspace: Make) -> None:
    one = make_workspace()
    for path in ("kept", "changed", "gone"):
        put(one, path, path)
    written = files.replace_all(
        one.id, {"kept": Content(b"kept"), "changed": Content(b"new"), "added": Content(b"x", True)}, actor=BOB
    )
    assert [(entry["path"], entry["executable"]) for entry in written] == [
        ("added", True),
        ("changed", False),
        ("kept", False),
    ]
    assert sorted(files_of(events(one)[-1])) == ["added", "changed", "gone"]
    assert len(events(one)) == 4


def test_nothing_of_a_refused_replacement_is_written(make_workspace: Make) -> None:
    one = make_workspace()
    put(one, "a", "a")
    refused: list[tuple[dict[str, Content], type[RegistryError]]] = [
        ({"b": Content(b""), "../b": Content(b"")}, Invalid),
        ({"b": Content(b""), "b/c": Content(b"")}, Invalid),
        ({"caf\u00e9": Content(b""), "cafe\u0301": Content(b"")}, Invalid),
        ({"b": Content(b"x" * (KIB * KIB + 1))}, TooLarge),
        ({f"{n}": Content(b"x" * KIB * KIB) for n in range(17)}, TooLarge),
        ({f"{n}": Content(b"") for n in range(1001)}, TooLarge),
        ({"b": Content(b""), "config.yaml": Content(b"tier: 9")}, Invalid),
    ]
    for wanted, error in refused:
        with pytest.raises(error):
            files.replace_all(one.id, wanted, actor=ADA)
    assert [entry["path"] for entry in files.listing(one.id)] == ["a"]
    assert (len(events(one)), WorkspaceFileRevision.objects.count()) == (1, 0)


def test_a_single_file_has_the_same_limits(make_workspace: Make) -> None:
    one = make_workspace()
    files.replace_all(one.id, {f"{n}": Content(b"x" * KIB * KIB) for n in range(16)}, actor=ADA)
    for path, data, error in [("16", b"x", TooLarge), ("0/a", b"", Invalid), ("config.yaml", b"a: [", Invalid)]:
        with pytest.raises(error):
            files.write(one.id, path, data, actor=ADA)
    files.write(one.id, "0", b"", actor=ADA)
    files.write(one.id, "16", b"x" * KIB * KIB, actor=ADA)
    with pytest.raises(TooLarge, match=r"^17: must not be larger than 1 MiB"):
        files.write(one.id, "17", b"x" * (KIB * KIB + 1), actor=ADA)


def test_a_thousand_files_are_events_of_a_hundred(make_workspace: Make) -> None:
    one = make_workspace()
    files.replace_all(one.id, {f"d/{n:04}": Content(b"%d" % n) for n in range(1000)}, actor=ADA)
    assert [len(files_of(event)) for event in events(one)] == [100] * 10
    with pytest.raises(TooLarge, match="at most 1,000 files, not 1,001"):
        put(one, "one more", "")
    assert len(files.listing(one.id)) == 1000
    assert len({event.transaction_id for event in events(one)}) == 1


def test_the_database_refuses_what_no_code_may_store(make_workspace: Make) -> None:
    one = make_workspace()
    for fields in (
        {"path": "../x"},
        {"path": "a/.auth_token"},
        {"path": ""},
        {"mode": 0o777},
        {"content": b"x" * (KIB * KIB + 1)},
    ):
        values = {"path": "a", "content": b"", "sha256": "", "updated_by": ADA} | fields
        with pytest.raises(IntegrityError), transaction.atomic():
            WorkspaceFile.objects.create(workspace=one, **values)


@pytest.mark.parametrize(
    ("existing", "expected", "allowed"),
    [
        (True, "hash", True), (True, "0" * 64, False), (True, files.ANY, True), (True, files.MISSING, False),
        (False, "0" * 64, False), (False, files.ANY, False), (False, files.MISSING, True),
    ],
)  # fmt: skip
def test_a_write_may_say_what_must_be_there(make_workspace: Make, existing: bool, expected: str, allowed: bool) -> None:
    one = make_workspace()
    sha256 = put(one, "a", "old") if existing else None
    expected = sha256 if expected == "hash" else expected  # type: ignore[assignment]
    if allowed:
        put(one, "a", "new", expected=expected)
        assert text_of(one, "a") == "new"
    else:
        with pytest.raises(PreconditionFailed) as refused:
            put(one, "a", "new", expected=expected)
        assert refused.value.current == sha256
        with pytest.raises(PreconditionFailed):
            files.delete(one.id, "a", actor=ADA, expected=expected)


def test_a_replacement_may_say_which_files_must_be_there(make_workspace: Make) -> None:
    one = make_workspace()
    put(one, "a", "1")
    seen = files.digest(files.listing(one.id))
    put(one, "b", "2", actor=BOB)
    with pytest.raises(PreconditionFailed):
        files.replace_all(one.id, {}, actor=ADA, expected=seen)
    assert files.replace_all(one.id, {}, actor=ADA, expected=files.digest(files.listing(one.id))) == []


@pytest.mark.django_db(transaction=True)
def test_of_two_editors_of_one_version_only_one_writes(make_workspace: Make) -> None:
    one = make_workspace()
    seen = put(one, "a", "0")
    results: list[str] = []

    def edit(name: str) -> Callable[[], None]:
        def write() -> None:
            try:
                put(one, "a", name, expected=seen)
                results.append("written")
            except PreconditionFailed:
                results.append("refused")

        return write

    together(edit("1"), edit("2"), edit("3"))
    assert sorted(results) == ["refused", "refused", "written"]
    assert len(events(one)) == 2


def test_the_last_twenty_contents_are_kept_with_author_and_time(make_workspace: Make) -> None:
    one = make_workspace()
    for number in range(25):
        put(one, "a", f"{number}", actor=f"operator:{number}")
    put(one, "b", "other")
    put(one, "b", "another")
    kept = revisions.listing(one.id, "a")
    assert [revision["updated_by"] for revision in kept] == [f"operator:{n}" for n in range(23, 3, -1)]
    assert {revision["replaced_by"] for revision in kept} == {f"operator:{n}" for n in range(24, 4, -1)}
    assert revisions.read(one.id, kept[0]["id"]) == ("a", Content(b"23"))
    assert WorkspaceFileRevision.objects.filter(path="a").count() == 20
    assert [revision["path"] for revision in revisions.listing(one.id)][:2] == ["b", "a"]


def test_a_deleted_file_can_be_restored(make_workspace: Make) -> None:
    one = make_workspace()
    files.write(one.id, "run.sh", b"#!/bin/sh", executable=True, actor=ADA)
    files.delete(one.id, "run.sh", actor=BOB)
    [revision] = revisions.listing(one.id, "run.sh")
    assert (revision["updated_by"], revision["replaced_by"]) == (ADA, BOB)
    entry = files.restore(one.id, revision["id"], actor=ADA)
    assert (entry["executable"], text_of(one, "run.sh")) == (True, "#!/bin/sh")
    with pytest.raises(NotFound, match="no such revision"):
        files.restore(make_workspace().id, revision["id"], actor=ADA)


@pytest.mark.parametrize(("most", "bytes_"), [(3, 1000), (1000, 9)])
def test_earlier_contents_of_many_deleted_files_are_bounded(
    make_workspace: Make, monkeypatch: pytest.MonkeyPatch, most: int, bytes_: int
) -> None:
    one, other = make_workspace(), make_workspace()
    bounded_by = revisions.PRUNE.replace("> 20000", f"> {most}").replace(f"> {320 * KIB * KIB}", f"> {bytes_}")
    assert bounded_by.count(f"> {most}") == bounded_by.count(f"> {bytes_}") == 1
    monkeypatch.setattr(revisions, "PRUNE", bounded_by)
    for number in range(8):
        for workspace in (other, one):
            put(workspace, f"{number}", "xxx")
            files.delete(workspace.id, f"{number}", actor=ADA)
    for workspace in (other, one):
        assert [revision["path"] for revision in revisions.listing(workspace.id)] == ["7", "6", "5"]


def test_an_existing_file_stays_executable_unless_it_is_said(make_workspace: Make) -> None:
    one = make_workspace()
    files.write(one.id, "a", b"1", executable=True, actor=ADA)
    assert files.write(one.id, "a", b"2", actor=ADA)["executable"]
    assert not files.write(one.id, "a", b"2", executable=False, actor=ADA)["executable"]
    assert revisions.listing(one.id, "a")[0]["sha256"] == Content(b"2").sha256


def test_files_of_an_unknown_or_removed_workspace(make_workspace: Make) -> None:
    gone = make_workspace()
    put(gone, "a", "1")
    put(gone, "a", "2")
    agent_settings.merge(gone.id, {"a": 1})
    removal.remove(gone.id, actor=ADA, confirm=True)
    assert not WorkspaceFile.objects.exists()
    assert not WorkspaceFileRevision.objects.exists()
    assert not AgentSettings.objects.exists()
    for workspace_id, error in ((gone.id, Removed), (uuid4(), NotFound)):
        for action in (
            lambda i: files.listing(i),
            lambda i: files.read(i, "a"),
            lambda i: files.write(i, "a", b"", actor=ADA),
            lambda i: files.replace_all(i, {}, actor=ADA),
            lambda i: revisions.listing(i),
            lambda i: files.archive(i),
            lambda i: agent_settings.read(i),
            lambda i: agent_settings.merge(i, {}),
            lambda i: context.shared(i),
        ):
            with pytest.raises(error):
                action(workspace_id)


def test_an_agent_may_not_change_its_tier_or_runtime(make_workspace: Make) -> None:
    one = make_workspace()
    itself = f"workspace:{one.id}"
    for text in ("tier: 1", "runtime: x"):
        with pytest.raises(NotAllowed, match="only an operator may change"):
            put(one, "config.yaml", text, actor=itself)
    put(one, "config.yaml", "name: A\ntier: 2\nruntime: x")
    put(one, "config.yaml", "name: B\nruntime: x\ntier: 2", actor=itself)
    for action in (
        lambda: put(one, "config.yaml", "tier: 3\nruntime: x", actor=itself),
        lambda: files.delete(one.id, "config.yaml", actor=itself),
        lambda: files.replace_all(one.id, {}, actor=itself),
    ):
        with pytest.raises(NotAllowed, match="only an operator may change"):
            action()
    assert text_of(one, "config.yaml") == "name: B\nruntime: x\ntier: 2"
    put(one, "config.yaml", "tier: 3")


def test_an_agent_may_change_its_files_a_few_times_a_minute(make_workspace: Make, settings: Any) -> None:
    settings.RATE_LIMIT_CHANGES = 3
    one = make_workspace()
    for number in range(3):
        put(one, "a", f"{number}", actor=f"workspace:{one.id}")
    with pytest.raises(TooOften, match="changed its card, URL or files too often"):
        put(one, "a", "10", actor=f"workspace:{one.id}")
    put(one, "a", "2", actor=f"workspace:{one.id}")
    put(one, "a", "10")


def test_an_archive_has_every_file_with_its_mode(make_workspace: Make) -> None:
    one, two = make_workspace(), make_workspace()
    for workspace in (one, two):
        files.write(workspace.id, "skills/a/run.sh", b"#!", executable=True, actor=ADA)
        files.write(workspace.id, "b.bin", b"\x00\xff", actor=ADA)
    archive = files.archive(one.id)
    assert archive == files.archive(two.id)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert {info.filename: info.external_attr >> 16 for info in opened.infolist()} == {
            "b.bin": 0o644,
            "skills/a/run.sh": 0o755,
        }
        assert opened.read("b.bin") == b"\x00\xff"


def test_children_read_what_their_parent_shares(make_workspace: Make) -> None:
    parent = make_workspace()
    child = make_workspace(parent_id=parent.id)
    assert context.shared(child.id) == {}
    put(parent, "guide.md", "be kind")
    put(parent, "private.md", "not shared")
    put(parent, "config.yaml", "shared_context: [missing.md, guide.md]")
    assert context.shared(child.id) == {"guide.md": Content(b"be kind")}
    assert context.shared(parent.id) == {}
    removal.remove(parent.id, actor=ADA, confirm=True)


def test_missing_environment_is_what_no_secret_gives(make_workspace: Make) -> None:
    one = make_workspace()
    assert context.missing_environment(one.id) == []
    put(one, "config.yaml", "env: {required: [OWN, SHARED, MISSING]}\nruntime_config: {required_env: [ALSO]}")
    store.set_for_workspace(one.id, "OWN", "x", actor=ADA)
    store.set_for_all("SHARED", "x", actor=ADA)
    store.set_for_workspace(make_workspace().id, "MISSING", "of another", actor=ADA)
    assert context.missing_environment(one.id) == ["MISSING", "ALSO"]


def test_settings_have_no_value_of_a_secret(make_workspace: Make) -> None:
    one = make_workspace()
    store.set_for_workspace(one.id, "KEY", "sk-own-value", actor=ADA)
    agent_settings.merge(one.id, {"url": "http://sk-own-value@a", "deep": [{"sk-own-value": 1}]})
    assert agent_settings.read(one.id) == {"url": "http://[secret KEY]@a", "deep": [{"[secret KEY]": 1}]}


def test_settings_are_merged_key_by_key(make_workspace: Make) -> None:
    one = make_workspace()
    assert agent_settings.read(one.id) == {}
    agent_settings.merge(one.id, {"a": {"x": 1}, "b": 2})
    agent_settings.merge(one.id, {"a": {"y": 1}, "c": None})
    assert agent_settings.read(one.id) == {"a": {"y": 1}, "b": 2, "c": None}
    with pytest.raises(TooLarge):
        agent_settings.merge(one.id, {"d": "x" * 256 * KIB})
    assert "d" not in agent_settings.read(one.id)


PATHS = st.sampled_from(["a", "b", "a/c", "d/e", "config.yaml"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, st.binary(max_size=8)),
        st.tuples(st.just("delete"), PATHS, st.just(b"")),
        st.tuples(st.just("replace"), PATHS, st.binary(max_size=8)),
        st.tuples(st.just("restore"), PATHS, st.just(b"")),
    ),
    max_size=15,
)


@given(steps=STEPS)
@bounded(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_log_says_which_files_there_are(make_workspace: Make, steps: list[tuple[str, str, bytes]]) -> None:
    """The hashes of all events, one after the other, give the hashes of the table; a replay gives the tables."""
    one = make_workspace()
    for verb, path, data in steps:
        try:
            with transaction.atomic():
                _step(one, verb, path, data)
        except RegistryError:
            continue
    replayed: dict[str, str | None] = {}
    for event in events(one):
        for path, (old, new) in files_of(event).items():
            assert replayed.get(path) == old
            replayed[path] = new
    assert {path: new for path, new in replayed.items() if new} == {
        entry["path"]: entry["sha256"] for entry in files.listing(one.id)
    }
    connection.check_constraints()
    assert rebuild._compare(lambda done: None) == []


def _step(one: Workspace, verb: str, path: str, data: bytes) -> None:
    if verb == "write":
        files.write(one.id, path, data, actor=ADA)
    elif verb == "delete":
        files.delete(one.id, path, actor=ADA)
    elif verb == "replace":
        files.replace_all(one.id, {path: Content(data), "z": Content(b"z")}, actor=ADA)
    elif kept := revisions.listing(one.id, path):
        files.restore(one.id, kept[-1]["id"], actor=ADA)
