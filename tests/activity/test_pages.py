"""Pages of events and activity have a limit in bytes; a client that follows the links gets every row once."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from activity import hub, log, pages
from activity.log import Entry
from activity.models import EventType, StructureEvent
from activity.serializers import ActivityRow, EventRow
from registry.models import Workspace

Make = Callable[..., Workspace]
KIB = 1024
COLUMNS = ("seq", "payload", "actor")


def record_cards(workspace_id: UUID, *sizes: int, letter: str = "é") -> list[int]:
    """Events with cards of about so many bytes, as text; their positions."""
    return [
        StructureEvent.objects.create(
            event_type=EventType.AGENT_CARD_UPDATED,
            workspace_id=workspace_id,
            payload={"agent_card": {"name": letter * (size // len(letter.encode()))}, "old_agent_card": None},
            actor="test",
        ).seq
        for size in sizes
    ]


def positions() -> list[int]:
    return list(StructureEvent.objects.order_by("seq").values_list("seq", flat=True))


def followed(client: Any, url: str) -> list[list[dict[str, Any]]]:
    """All pages from that address on."""
    found = []
    for _ in range(1000):
        answer = client.get(url)
        assert answer.status_code == 200, answer.content
        found.append(answer.json())
        links = relations(answer)
        if "next" not in links:
            return found
        url = links["next"]
    raise AssertionError("the pages have no end")


def relations(answer: Any) -> dict[str, str]:
    """The addresses in a Link header, by relation."""
    parts = [part.split(">; rel=") for part in answer.headers.get("Link", "").split(", ") if part]
    return {relation.strip('"'): address.removeprefix("<") for address, relation in parts}


@pytest.mark.parametrize("letter", ["é", "x"], ids=["two bytes", "compressible"])
def test_a_page_has_a_limit_in_bytes(make_workspace: Make, letter: str) -> None:
    own = make_workspace().id
    record_cards(own, *[100 * KIB] * 10, letter=letter)
    events = StructureEvent.objects.order_by("seq")
    page = pages.read(events, COLUMNS, limit=50, max_bytes=512 * KIB)
    assert len(page.rows) == 6  # the creation and five cards
    assert page.more
    assert sum(len(row["payload"].encode()) for row in page.rows) <= 512 * KIB


def test_a_page_has_at_least_one_row(make_workspace: Make) -> None:
    record_cards(make_workspace().id, 300 * KIB, 300 * KIB)
    page = pages.read(StructureEvent.objects.order_by("-seq"), COLUMNS, limit=50, max_bytes=KIB)
    assert ([row["seq"] for row in page.rows], page.more) == (positions()[-1:], True)


def test_a_page_ends_at_its_limit_and_says_whether_there_is_more(make_workspace: Make) -> None:
    record_cards(make_workspace().id, 10, 10)
    for limit, more in ((1, True), (2, True), (3, False), (4, False)):
        page = pages.read(StructureEvent.objects.order_by("seq"), COLUMNS, limit=limit, max_bytes=KIB * KIB)
        assert ([row["seq"] for row in page.rows], page.more) == (positions()[:limit], more)
    empty = pages.read(StructureEvent.objects.filter(seq=0), COLUMNS, limit=1, max_bytes=1)
    assert (empty.rows, empty.more) == ([], False)
    assert empty.snapshot.count(":") == 2


@pytest.mark.parametrize("path", ["/events", "/events/{id}"])
@pytest.mark.parametrize("query", ["limit=1000", "after=0&limit=1000", "limit=3&type=AGENT_CARD_UPDATED"])
def test_the_pages_of_a_heavy_log_are_small_and_complete(
    as_operator: APIClient, make_workspace: Make, settings: Any, path: str, query: str
) -> None:
    settings.MAX_PAGE_BYTES = 512 * KIB
    own = make_workspace().id
    record_cards(own, *[60 * KIB] * 20, 600 * KIB, 10)
    url = f"{path.format(id=own)}?{query}"
    found = followed(as_operator, url)
    seqs = [row["seq"] for page in found for row in page]
    wanted = [seq for seq in positions() if "type" not in query or seq != positions()[0]]
    assert seqs == (wanted if "after" in query else wanted[::-1])
    assert len(found) > 3
    sizes = [sum(len(str(row["payload"]).encode()) for row in page) for page in found]
    assert all(size <= 512 * KIB or len(page) == 1 for size, page in zip(sizes, found, strict=True))


def test_stored_json_is_passed_on_unchanged(as_operator: APIClient, make_workspace: Make) -> None:
    own = make_workspace().id
    card = {"name": "é☃", "big": 10**30, "exact": 0.1, "empty": {}, "list": [None, True, '\\"\n']}
    StructureEvent.objects.create(
        event_type=EventType.AGENT_CARD_UPDATED, workspace_id=own, payload={"agent_card": card}, actor="test"
    )
    log.write(own, [Entry(activity_type="agent_log", request_body=card), Entry(activity_type="agent_log")])
    row = as_operator.get("/events?limit=1").json()[0]
    assert set(row) == set(EventRow.Meta.fields)
    assert row["payload"] == {"agent_card": card}
    assert row["created_at"] == StructureEvent.objects.latest("seq").created_at.isoformat().replace("+00:00", "Z")
    empty, full = as_operator.get("/activity").json()
    assert full["request_body"] == card
    assert set(full) == {field for field in ActivityRow.Meta.fields if field != "response_body"}
    assert "request_body" not in empty
    assert empty["summary"] is None


def test_the_pages_of_heavy_activity_are_small_and_complete(
    as_operator: APIClient, make_workspace: Make, settings: Any
) -> None:
    settings.MAX_PAGE_BYTES = 256 * KIB
    own = make_workspace().id
    text = "é" * (20 * KIB)
    for number in range(10):
        entry = Entry(activity_type="agent_log", method=str(number), request_body=text, error_detail=text)
        log.write(own, [entry])
    for path in ("/activity", f"/workspaces/{own}/activity"):
        found = followed(as_operator, f"{path}?limit=500")
        assert [row["method"] for page in found for row in page] == [str(number) for number in reversed(range(10))]
        assert [len(page) for page in found] == [3, 3, 3, 1]


def test_replays_and_the_hub_read_a_bounded_part_of_the_log(make_workspace: Make, settings: Any) -> None:
    settings.MAX_REPLAY_BYTES = 256 * KIB
    own = make_workspace().id
    record_cards(own, *[100 * KIB] * 5, 400 * KIB)
    position, seen, lengths = 0, [], []
    more = True
    while more:
        frames, more = hub.read_page(StructureEvent.objects.filter(seq__gt=position))
        seen += [frame.seq for frame in frames]
        position = frames[-1].seq or 0
        lengths.append(len(frames))
    assert seen == positions()
    assert lengths == [3, 2, 1, 1]
