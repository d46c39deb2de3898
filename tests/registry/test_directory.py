"""Discovery from memory: right at once after every change, whichever process made it, and without queries meanwhile."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from activity import marks, redis
from registry import credentials, directory, discovery, lifecycle, pausing, removal
from registry.credentials import Proof
from registry.directory import Directory, Question
from registry.exceptions import RegistryError
from registry.models import Workspace, WorkspaceToken
from tests.e2e.stack import until

Make = Callable[..., Workspace]
Post = Callable[[], None]


class World:
    """A small team, a proof for each, and two processes' directories."""

    def __init__(self, make_workspace: Make) -> None:
        top = make_workspace("top", external=True, url="http://top:1")
        left = make_workspace("left", external=True, url="http://left:1", parent_id=top.id)
        right = make_workspace("right", external=True, url="http://right:1", parent_id=top.id)
        leaf = make_workspace("leaf", external=True, url="http://leaf:1", parent_id=left.id)
        self.ids = {row.name: row.id for row in (top, left, right, leaf)}
        self.tokens = {name: credentials.issue_workspace_token(i) for name, i in self.ids.items()}
        self.processes = [Directory(), Directory()]

    def proof(self, name: str) -> Proof:
        proof = credentials.agent_proof(self.tokens[name].text)
        assert proof is not None
        return proof

    def ask(self, caller: str, target: str, process: int = 0, claimed: UUID | None = None) -> str | None:
        question = Question(self.ids[target], self.proof(caller), claimed)
        [answer] = self.processes[process].answer([question])
        return answer.url if answer else None

    def everybody(self) -> dict[tuple[str, str], str | None]:
        """What each learns of each, which must be the same in both processes."""
        pairs = [(a, b) for a in self.ids for b in self.ids]
        first, second = ({pair: self.ask(*pair, process) for pair in pairs} for process in (0, 1))
        assert first == second
        return first

    def by_the_rows(self) -> dict[tuple[str, str], str | None]:
        """The same by discovery.discover(), which asks the database."""
        return {(a, b): self._by_the_rows(a, b) for a in self.ids for b in self.ids}

    def _by_the_rows(self, caller: str, target: str) -> str | None:
        if not credentials.callers({self.proof(caller)}):
            return None
        try:
            return discovery.discover(self.ids[target], caller_id=self.ids[caller])[1]
        except RegistryError:
            return None


@pytest.fixture
def world(make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks) -> World:
    with django_capture_on_commit_callbacks(execute=True):
        return World(make_workspace)


@pytest.fixture
def committed(django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks) -> Callable[[Post], None]:
    """Run an operation as if in a transaction of its own."""

    def run(operation: Post) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            operation()

    return run


CHANGES: dict[str, Callable[[World], Any]] = {
    "move": lambda w: lifecycle.update(w.ids["right"], {"parent_id": w.ids["leaf"]}, actor="test"),
    "remove": lambda w: removal.remove(w.ids["left"], actor="test", confirm=True),
    "revoke": lambda w: credentials.revoke_token(w.ids["leaf"], w.tokens["leaf"].id),
    "pause": lambda w: pausing.pause(w.ids["right"], actor="test"),
    "new address": lambda w: lifecycle.register(
        w.ids["leaf"], url="http://leaf:2", agent_card={"name": "leaf"}, held=True, enrolment_id=None
    ),
}


def test_it_says_what_the_rows_say_and_asks_nothing_meanwhile(world: World) -> None:
    told = world.everybody()
    assert told == world.by_the_rows()
    assert len([url for url in told.values() if url]) > 4
    assert None in told.values()
    with CaptureQueriesContext(connection) as queries:
        assert world.everybody() == told
    assert len(queries) == 0


@pytest.mark.parametrize("name", CHANGES)
def test_right_at_once_after(world: World, committed: Callable[[Post], None], name: str) -> None:
    before = world.everybody()
    committed(lambda: CHANGES[name](world))
    after = world.everybody()
    assert after == world.by_the_rows()
    assert after != before


@pytest.mark.parametrize("name", CHANGES)
def test_right_while_the_change_is_committed_and_not_yet_announced(world: World, name: str) -> None:
    """Without its on-commit part: as if the process had died between the two."""
    before = world.everybody()
    CHANGES[name](world)
    assert world.everybody() == world.by_the_rows() != before


def _flush(world: World) -> None:
    redis.client().flushall()


def _lose_marks(world: World) -> None:
    """They expired: longer than OPEN_SECONDS between opening and commit."""
    redis.client().delete(marks.LOG.key, marks.TOKENS.key)


@pytest.mark.parametrize("lose", [_flush, _lose_marks])
@pytest.mark.parametrize("name", CHANGES)
def test_marks_that_are_lost_cost_a_query_and_nothing_else(
    world: World, committed: Callable[[Post], None], name: str, lose: Callable[[World], None]
) -> None:
    world.everybody()
    lose(world)
    committed(lambda: CHANGES[name](world))
    lose(world)
    assert world.everybody() == world.by_the_rows()
    with CaptureQueriesContext(connection) as queries:
        world.ask("top", "top")
    assert len(queries) == 0, "they are there again"


@pytest.mark.parametrize("name", CHANGES)
def test_without_redis_the_database_is_asked(world: World, name: str, settings: Any) -> None:
    world.everybody()
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    redis.client.cache_clear()
    try:
        CHANGES[name](world)
        assert world.everybody() == world.by_the_rows()
    finally:
        redis.client.cache_clear()


def test_a_token_ends_in_time(world: World) -> None:
    WorkspaceToken.objects.filter(id=world.tokens["left"].id).update(expires_at=timezone.now() + timedelta(seconds=0.3))
    assert world.ask("left", "top")
    until(lambda: not world.ask("left", "top"), "the token to end")


def test_a_header_narrows(world: World) -> None:
    assert world.ask("left", "top", claimed=world.ids["left"])
    assert world.ask("left", "top", claimed=world.ids["right"]) is None


def test_random_histories(world: World, committed: Callable[[Post], None], make_workspace: Make) -> None:
    """Moves and the rest in any order, some announced and some not, some with Redis emptied on the way."""
    chance = random.Random(7)
    names = list(world.ids)
    for _ in range(60):
        who, whom = chance.sample(names, 2)
        operations: list[Callable[[], Any]] = [
            partial(lifecycle.update, world.ids[who], {"parent_id": world.ids[whom]}, actor="test"),
            partial(lifecycle.update, world.ids[who], {"parent_id": None}, actor="test"),
            partial(pausing.pause, world.ids[who], actor="test"),
            partial(pausing.resume, world.ids[who], actor="test"),
            partial(_flush, world),
        ]
        operation = chance.choice(operations)
        try:
            if chance.random() < 0.5:
                committed(operation)
            else:
                operation()
        except RegistryError:
            continue
        assert world.everybody() == world.by_the_rows()


def test_beyond_the_longest_trust_the_log_is_read_whatever_the_mark_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.everybody()
    silent: Iterator[None] = iter(())
    monkeypatch.setattr(marks.Mark, "open", lambda self: next(silent, ""))
    CHANGES["move"](world)
    monkeypatch.setattr(directory, "LONGEST_TRUST_SECONDS", 0.0)
    assert world.everybody() == world.by_the_rows()


class Step:
    """A writer, one step at a time: opens the mark, commits, closes the mark; or dies on the way."""

    def __init__(self, number: int) -> None:
        self.number, self.opened, self.state = number, "", "new"


def test_a_mark_that_is_settled_and_known_says_that_nothing_was_missed() -> None:
    """Writers in every order, dying anywhere, against one reader that keeps what it read under the mark it saw."""
    chance = random.Random(11)
    for _ in range(400):
        mark = marks.Mark("mark:test")
        redis.client().delete(mark.key)
        truth = 0
        kept: tuple[str | None, int] = (None, -1)
        unanswered: set[int] = set()
        writers = [Step(number) for number in range(1, 4)]
        for _ in range(14):
            if chance.random() < 0.4:
                [value] = marks.read(mark)
                if marks.is_settled(value) and value == kept[0]:
                    # A change whose writer has not answered yet may still be on its way to us.
                    assert kept[1] == truth or unanswered, (kept, truth)
                else:
                    if value is None:
                        mark.begin(f"begun {chance.random()}")
                    kept = (value, truth)
                continue
            writer = chance.choice(writers)
            if writer.state == "new":
                writer.opened, writer.state = mark.open(), "open"
            elif writer.state == "open":
                truth, writer.state = truth + 1, "committed"
                if chance.random() < 0.8:
                    unanswered.add(writer.number)
                else:
                    writer.state = "dead"
            elif writer.state == "committed":
                mark.close(writer.opened, f"{writer.number} {chance.random()}")
                unanswered.discard(writer.number)
                writer.state = "done"
