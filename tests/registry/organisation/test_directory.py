"""Discovery from memory: right at once after every change, whichever process made it, and without queries meanwhile."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from activity import cache_versions, events, redis
from activity.events import NewEvent, latest_seq, record
from activity.models import EventType
from registry.exceptions import RegistryError
from registry.identity import tokens
from registry.identity.tokens import PresentedToken
from registry.models import Workspace, WorkspaceToken
from registry.organisation import directory, discovery, pausing, removal, workspaces
from registry.organisation.directory import Directory, Lookup
from tests.e2e.stack import until
from tests.registry.racing import another_connection, waiting

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
        self.tokens = {name: tokens.issue_workspace_token(i) for name, i in self.ids.items()}
        self.processes = [Directory(), Directory()]

    def presented(self, name: str) -> PresentedToken:
        presented = tokens.presented_token(self.tokens[name].text)
        assert presented is not None
        return presented

    def ask(self, caller: str, target: str, process: int = 0, claimed: UUID | None = None) -> str | None:
        question = Lookup(self.ids[target], self.presented(caller), claimed)
        [answer] = self.processes[process].resolve([question])
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
        if not tokens.callers({self.presented(caller)}):
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
    "move": lambda w: workspaces.update(w.ids["right"], {"parent_id": w.ids["leaf"]}, actor="test"),
    "remove": lambda w: removal.remove(w.ids["left"], actor="test", confirm=True),
    "revoke": lambda w: tokens.revoke_token(w.ids["leaf"], w.tokens["leaf"].id),
    "pause": lambda w: pausing.pause(w.ids["right"], actor="test"),
    "new address": lambda w: workspaces.register(
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
    redis.client().delete(cache_versions.LOG.key, cache_versions.TOKENS.key)


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


@contextmanager
def redis_away(settings: Any) -> Iterator[None]:
    there = settings.REDIS_URL
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    redis.client.cache_clear()
    yield
    settings.REDIS_URL = there
    redis.client.cache_clear()


@pytest.mark.parametrize("name", CHANGES)
def test_without_redis_the_database_is_asked(world: World, name: str, settings: Any) -> None:
    world.everybody()
    with redis_away(settings):
        CHANGES[name](world)
        assert world.everybody() == world.by_the_rows()


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
            partial(workspaces.update, world.ids[who], {"parent_id": world.ids[whom]}, actor="test"),
            partial(workspaces.update, world.ids[who], {"parent_id": None}, actor="test"),
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


@pytest.mark.parametrize("name", CHANGES)
def test_beyond_the_longest_trust_the_database_is_asked_whatever_the_mark_says(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world.everybody()
    monkeypatch.setattr(cache_versions.CacheVersion, "invalidate", lambda self: None)
    CHANGES[name](world)
    monkeypatch.setattr(directory, "LONGEST_TRUST_SECONDS", 0.0)
    assert world.everybody() == world.by_the_rows()


def test_a_process_that_announces_late_hides_no_later_change(world: World) -> None:
    """It has committed, goes on after another one that came later is all done, and dies not."""
    with TestCase.captureOnCommitCallbacks() as late:
        CHANGES["move"](world)
    world.everybody()
    with TestCase.captureOnCommitCallbacks(execute=True):
        CHANGES["remove"](world)
    for post in late:
        post()
    assert world.everybody() == world.by_the_rows()


@pytest.mark.parametrize("name", CHANGES)
def test_a_mark_from_before_redis_was_away_revives_nothing(world: World, name: str, settings: Any) -> None:
    """As after a failover to a replica that had not heard of the change."""
    world.everybody()
    before = {mark.key: str(redis.client().get(mark.key)) for mark in (cache_versions.LOG, cache_versions.TOKENS)}
    with redis_away(settings):
        CHANGES[name](world)
        world.everybody()
    redis.client().mset(before)
    assert world.everybody() == world.by_the_rows()


@pytest.mark.parametrize("name", CHANGES)
def test_a_mark_that_could_not_be_opened_is_opened_after_the_commit(world: World, name: str, settings: Any) -> None:
    world.everybody()
    with TestCase.captureOnCommitCallbacks(execute=True), redis_away(settings):
        CHANGES[name](world)
    assert world.everybody() == world.by_the_rows()


def test_an_event_about_nobody_makes_nobody(world: World) -> None:
    """Least of all a root, which every other root may talk to."""
    world.everybody()
    world.ids["nobody"] = uuid4()
    payload = {"from": "offline", "url": "http://nobody:1"}
    event = NewEvent(event_type=EventType.WORKSPACE_ONLINE, workspace_id=world.ids["nobody"], payload=payload)
    with transaction.atomic():
        record([event], actor="test")
    assert world.ask("top", "nobody") is None


@pytest.mark.django_db(transaction=True)
def test_a_load_that_fails_halfway_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL goes away between the position and the rows."""

    def then_the_end() -> int:
        seq = latest_seq()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [own] = cursor.fetchone()
        with another_connection(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [own])
        return seq

    monkeypatch.setattr(events, "latest_seq", then_the_end)
    with pytest.raises(OperationalError):
        world.ask("left", "right")
    monkeypatch.undo()
    connection.close()
    CHANGES["move"](world)
    assert world.ask("top", "right") is None
    assert world.everybody() == world.by_the_rows()


@pytest.mark.django_db(transaction=True)
def test_two_revocations_at_a_time_and_the_first_never_announces_itself(world: World) -> None:
    def revoke() -> None:
        tokens.revoke_token(world.ids["right"], world.tokens["right"].id)
        connection.close()

    world.everybody()
    other = threading.Thread(target=revoke)
    with transaction.atomic():
        tokens.revoke_token(world.ids["leaf"], world.tokens["leaf"].id)
        other.start()
        until(lambda: not other.is_alive() or waiting(), "the second one to be done, or to wait for the first")
        with another_connection():
            assert world.ask("leaf", "left"), "not committed yet"
        connection.run_on_commit.clear()
    other.join()
    assert world.ask("leaf", "left") is None
    assert world.everybody() == world.by_the_rows()
