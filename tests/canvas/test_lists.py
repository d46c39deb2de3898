"""The lists that canvases load: complete or in pages, compressed, and sent again only after a change."""

import gzip
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from activity.models import StructureEvent
from canvas import layout, snapshot
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.models import Workspace
from registry.organisation import agents, pausing, removal, workspaces
from tests.registry.racing import PATIENCE_SECONDS, together

Make = Callable[..., Workspace]
ACTOR = "operator:test"
LISTS = ["/workspaces", "/workspaces?limit=2", "/canvas/snapshot"]
# Row versions change only when a transaction commits, so these tests need real commits.
committed = pytest.mark.django_db(transaction=True)

CHANGES: dict[str, Callable[[Workspace, Workspace], object]] = {
    "a beat": lambda one, _: heartbeats.flush([Beat(workspace_id=one.id)]),
    "a name": lambda one, _: workspaces.update(one.id, {"name": "other"}, actor=ACTOR),
    "a card": lambda one, _: workspaces.update_card(one.id, {"name": "card"}, actor=ACTOR),
    "a parent": lambda one, other: workspaces.update(one.id, {"parent_id": other.id}, actor=ACTOR),
    "a status": lambda one, _: pausing.pause(one.id, actor=ACTOR),
    "a place": lambda one, _: layout.place(one.id, x=1.0, y=1.0),
    "a fold": lambda one, _: layout.place(one.id, collapsed=True),
    "a new workspace": lambda one, _: workspaces.create(workspaces.NewWorkspace(name="new"), actor=ACTOR),
    "a removal": lambda one, _: removal.remove(one.id, actor=ACTOR, confirm=True),
    "a forward": lambda one, other: removal.remove(one.id, actor=ACTOR, confirm=True, forward_to=other.id),
    "an agent": lambda one, _: agents.assign(one.id, "m", actor=ACTOR),
    "a write by SQL": lambda one, _: Workspace.objects.filter(id=one.id).update(uptime_seconds=5),
}


def revalidate(client: APIClient, path: str, etag: str) -> Any:
    return client.get(path, headers={"If-None-Match": etag})


@pytest.fixture
def pair(make_workspace: Make) -> tuple[Workspace, Workspace]:
    pair = make_workspace("One", status="online"), make_workspace("Two", status="online")
    for workspace in pair:
        layout.place(workspace.id, x=0.0, y=0.0)
    return pair


@committed
@pytest.mark.parametrize("change", CHANGES)
def test_the_etag_changes_with_every_change_and_only_then(
    as_viewer: APIClient, pair: tuple[Workspace, Workspace], change: str
) -> None:
    etags = {path: as_viewer.get(path)["ETag"] for path in LISTS}
    unchanged = [revalidate(as_viewer, path, etags[path]) for path in LISTS]
    assert [(answer.status_code, answer.content) for answer in unchanged] == [(304, b"")] * len(LISTS)
    CHANGES[change](*pair)
    changed = [revalidate(as_viewer, path, etags[path]) for path in LISTS]
    assert [answer.status_code for answer in changed] == [200] * len(LISTS)
    assert not {answer["ETag"] for answer in changed} & set(etags.values())


@committed
def test_the_viewport_changes_the_snapshot_but_not_the_list(as_viewer: APIClient, make_workspace: Make) -> None:
    make_workspace()
    etags = {path: as_viewer.get(path)["ETag"] for path in LISTS}
    layout.save_viewport(x=1, y=1, zoom=1)
    assert [revalidate(as_viewer, path, etags[path]).status_code for path in LISTS] == [304, 304, 200]
    etag = as_viewer.get("/canvas/snapshot")["ETag"]
    layout.save_viewport(x=2, y=1, zoom=1)
    assert revalidate(as_viewer, "/canvas/snapshot", etag).status_code == 200


@committed
@pytest.mark.parametrize("late", ["a beat", "a place"])
def test_a_transaction_that_wrote_first_and_commits_last_is_noticed(
    as_viewer: APIClient, pair: tuple[Workspace, Workspace], late: str
) -> None:
    """Its timestamps are older than those already in the list."""
    one, two = pair
    written, listed, etags = threading.Event(), threading.Event(), []

    def slow() -> None:
        with transaction.atomic():
            CHANGES[late](one, two)
            written.set()
            listed.wait(PATIENCE_SECONDS)

    def quick() -> None:
        written.wait(PATIENCE_SECONDS)
        CHANGES[late](two, one)
        etags.append(as_viewer.get("/workspaces")["ETag"])
        listed.set()

    together(slow, quick)
    assert revalidate(as_viewer, "/workspaces", etags[0]).status_code == 200


@committed
@pytest.mark.parametrize("path", ["/workspaces", "/canvas/snapshot"])
def test_a_change_while_the_list_is_read_gives_a_new_etag(
    as_viewer: APIClient, pair: tuple[Workspace, Workspace], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    read = snapshot.workspaces

    def read_and_change(**page: Any) -> Any:
        found = read(**page)
        CHANGES["a beat"](*pair)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(snapshot, "workspaces", read_and_change)
        etag = as_viewer.get(path)["ETag"]
    assert revalidate(as_viewer, path, etag).status_code == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ('{etag}', 304), ('"x", {etag}', 304), ('"x",{etag},"y"', 304), ("{strong}", 304), ("*", 304), (" * ", 304),
        ('"x"', 200), ("", 200), ("x", 200), ("{bare}", 200), ('W/"x"', 200),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["get", "head"])
def test_if_none_match(as_viewer: APIClient, make_workspace: Make, header: str, status: int, method: str) -> None:
    make_workspace()
    etag = as_viewer.get("/workspaces")["ETag"]
    strong = etag.removeprefix("W/")
    header = header.format(etag=etag, strong=strong, bare=strong.strip('"'))
    answer = getattr(as_viewer, method)("/workspaces", headers={"If-None-Match": header})
    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/workspaces", "/workspaces/{id}", "/canvas/snapshot", "/registry/{id}/peers"])
def test_agent_cards_are_compact_and_complete(as_viewer: APIClient, make_workspace: Make, path: str) -> None:
    card: dict[str, Any] = {"name": "a, b: c", "list": [1, 2.5, None], "quote": 'x \\" y: z'}
    cards = {make_workspace("One").id: card, make_workspace("Other").id: card | {"long": 10**29 + 1}}
    for workspace_id, each in cards.items():
        workspaces.update_card(workspace_id, each, actor=ACTOR)
    for workspace_id in cards:
        answer = as_viewer.get(path.format(id=workspace_id))
        assert b'"list":[1,2.5,null]' in answer.content
        body = answer.json()
        rows = body.get("workspaces", [body]) if isinstance(body, dict) else body
        assert rows
        assert all(row["agent_card"] == cards[UUID(row["id"])] for row in rows)


@pytest.mark.parametrize("path", LISTS)
def test_both_answers_have_cache_headers(as_viewer: APIClient, make_workspace: Make, path: str) -> None:
    make_workspace()
    first = as_viewer.get(path)
    unchanged = revalidate(as_viewer, path, first["ETag"])
    for answer in (first, unchanged):
        assert answer["Cache-Control"] == "private, no-cache"
        assert "Accept-Encoding" in answer["Vary"]
        assert answer["ETag"] == first["ETag"]
    newest = StructureEvent.objects.latest("seq")
    assert first["X-Event-Seq"] == unchanged["X-Event-Seq"] == str(newest.seq)
    assert first["X-Event-ID"] == unchanged["X-Event-ID"] == str(newest.id)


@pytest.mark.parametrize("path", LISTS)
def test_an_empty_list_has_a_position(as_viewer: APIClient, make_workspace: Make, path: str) -> None:
    nothing = as_viewer.get(path)
    assert (nothing["X-Event-Seq"], nothing["X-Event-ID"]) == ("0", "")
    removal.remove(make_workspace().id, actor=ACTOR, confirm=True)
    last = StructureEvent.objects.latest("seq")
    empty = as_viewer.get(path)
    assert (empty["X-Event-Seq"], empty["X-Event-ID"]) == (str(last.seq), str(last.id))
    assert as_viewer.get("/canvas/snapshot").json()["seq"] == last.seq


# --- Compressed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*LISTS, "/canvas/snapshot?at=999999999"])
@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True), ("br, GZIP;q=0.5", True), ("*", True), ("gzip; q=1.0", True), ("deflate, *;q=0.1", True),
        ("", False), ("identity", False), ("gzip;q=0", False), ("gzip;q=0.000, *", False), ("*;q=0", False),
        ("gzip;q=x", False),
    ],
)  # fmt: skip
def test_gzip_is_used_if_the_client_accepts_it(
    as_viewer: APIClient, make_workspace: Make, path: str, accepted: str, compressed: bool
) -> None:
    make_workspace("x" * 200, role="y" * 1000)
    plain = as_viewer.get(path).content
    answer = as_viewer.get(path, headers={"Accept-Encoding": accepted})
    assert answer.get("Content-Encoding") == ("gzip" if compressed else None)
    assert answer["Content-Length"] == str(len(answer.content))
    assert len(gzip.decompress(answer.content) if compressed else answer.content) == len(plain)


@pytest.mark.parametrize("path", ["/settings/secrets", "/workspaces/{id}", "/workspaces/{id}/secrets", "/events", "/"])
def test_nothing_else_is_compressed(as_viewer: APIClient, make_workspace: Make, path: str) -> None:
    """The compressed length of a page could reveal a secret on it."""
    workspace = make_workspace("x" * 200, role="y" * 1000)
    answer = as_viewer.get(path.format(id=workspace.id), headers={"Accept-Encoding": "gzip"})
    assert not answer.has_header("Content-Encoding")


# --- In pages ----------------------------------------------------------------------------------------


def test_the_link_keeps_the_query_and_the_last_page_has_none(as_viewer: APIClient, make_workspace: Make) -> None:
    ids = [str(make_workspace(str(number)).id) for number in range(4)]
    first = as_viewer.get("/workspaces?mine=a%20%26b&limit=2")
    assert first["Link"] == f'</workspaces?mine=a+%26b&limit=2&after={ids[1]}>; rel="next"'
    last = as_viewer.get(f"/workspaces?limit=2&after={ids[1]}")
    assert [row["id"] for row in last.json()] == ids[2:]
    assert not last.has_header("Link")


def test_a_page_can_start_after_a_removed_workspace(as_viewer: APIClient, make_workspace: Make) -> None:
    first, second = make_workspace("1"), make_workspace("2")
    removal.remove(first.id, actor=ACTOR, confirm=True)
    assert [row["id"] for row in as_viewer.get(f"/workspaces?after={first.id}").json()] == [str(second.id)]
    assert as_viewer.get(f"/workspaces?after={second.id}").json() == []
    assert as_viewer.get("/workspaces?after=00000000-0000-4000-8000-000000000000").status_code == 400


@committed
def test_a_row_has_the_model_that_is_assigned_now_and_in_the_past_the_one_of_then(
    as_viewer: APIClient, make_workspace: Make
) -> None:
    one, other, bare = make_workspace("One"), make_workspace("Other"), make_workspace("Bare")
    agents.assign(one.id, "first", actor=ACTOR)
    agents.replace(one.id, "second", actor=ACTOR)
    before = StructureEvent.objects.latest("seq").seq
    agents.move(one.id, other.id, actor=ACTOR)

    def models(path: str) -> list[str]:
        by_id = {row["id"]: row["model"] for row in as_viewer.get(path).json()["workspaces"]}
        return [by_id[str(workspace.id)] for workspace in (one, other, bare)]

    assert models("/canvas/snapshot") == ["", "second", ""]
    assert models(f"/canvas/snapshot?at={before}") == ["second", "", ""]
    assert as_viewer.get(f"/workspaces/{other.id}").json()["model"] == "second"
    agents.remove(other.id, reason=None, actor=ACTOR)
    assert models("/canvas/snapshot") == ["", "", ""]
