"""Discovery from memory: correct at once after a change by any process, without queries between changes."""

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
    """A small team with a token for each workspace, and the directories of two processes."""

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
        lookup = Lookup(self.ids[target], self.presented(caller), claimed)
        [match] = self.processes[process].resolve([lookup])
        return match.url if match else None

    def all_pairs(self) -> dict[tuple[str, str], str | None]:
        """The URL that each caller gets for each target, which must be the same in both processes."""
        pairs = [(a, b) for a in self.ids for b in self.ids]
        first, second = ({pair: self.ask(*pair, process) for pair in pairs} for process in (0, 1))
        assert first == second
        return first

    def by_the_database(self) -> dict[tuple[str, str], str | None]:
        """The same by discovery.discover(), which reads the database."""
        return {(a, b): self._by_the_database(a, b) for a in self.ids for b in self.ids}

    def _by_the_database(self, caller: str, target: str) -> str | None:
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


def test_it_agrees_with_the_database_and_makes_no_queries_without_changes(world: World) -> None:
    found = world.all_pairs()
    assert found == world.by_the_database()
    assert len([url for url in found.values() if url]) > 4
    assert None in found.values()
    with CaptureQueriesContext(connection) as queries:
        assert world.all_pairs() == found
    assert len(queries) == 0


@pytest.mark.parametrize("name", CHANGES)
def test_correct_at_once_after_a_change(world: World, committed: Callable[[Post], None], name: str) -> None:
    before = world.all_pairs()
    committed(lambda: CHANGES[name](world))
    after = world.all_pairs()
    assert after == world.by_the_database()
    assert after != before


@pytest.mark.parametrize("name", CHANGES)
def test_correct_after_the_commit_and_before_the_on_commit_callbacks(world: World, name: str) -> None:
    """As if the process had been killed between the commit and its callbacks."""
    before = world.all_pairs()
    CHANGES[name](world)
    assert world.all_pairs() == world.by_the_database() != before


def _flush(world: World) -> None:
    redis.client().flushall()


def _lose_versions(world: World) -> None:
    """They expired: the time between invalidation and commit was longer than OPEN_SECONDS."""
    redis.client().delete(cache_versions.LOG.key, cache_versions.TOKENS.key)


@pytest.mark.parametrize("lose", [_flush, _lose_versions])
@pytest.mark.parametrize("name", CHANGES)
def test_lost_cache_versions_cost_only_a_query(
    world: World, committed: Callable[[Post], None], name: str, lose: Callable[[World], None]
) -> None:
    world.all_pairs()
    lose(world)
    committed(lambda: CHANGES[name](world))
    lose(world)
    assert world.all_pairs() == world.by_the_database()
    with CaptureQueriesContext(connection) as queries:
        world.ask("top", "top")
    assert len(queries) == 0, "the versions are set again"


@contextmanager
def unreachable_redis_url(settings: Any) -> Iterator[None]:
    there = settings.REDIS_URL
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    redis.client.cache_clear()
    yield
    settings.REDIS_URL = there
    redis.client.cache_clear()


@pytest.mark.parametrize("name", CHANGES)
def test_without_redis_it_reads_the_database(world: World, name: str, settings: Any) -> None:
    world.all_pairs()
    with unreachable_redis_url(settings):
        CHANGES[name](world)
        assert world.all_pairs() == world.by_the_database()


def test_an_expired_token_is_refused_at_its_time(world: World) -> None:
    WorkspaceToken.objects.filter(id=world.tokens["left"].id).update(expires_at=timezone.now() + timedelta(seconds=0.3))
    assert world.ask("left", "top")
    until(lambda: not world.ask("left", "top"), "the token to expire")


def test_a_claimed_id_must_be_the_tokens_workspace(world: World) -> None:
    assert world.ask("left", "top", claimed=world.ids["left"])
    assert world.ask("left", "top", claimed=world.ids["right"]) is None


def test_random_histories(world: World, committed: Callable[[Post], None], make_workspace: Make) -> None:
    """Changes in random order, half of them without their on-commit callbacks, and some with Redis emptied."""
    chance = random.Random(7)
    names = list(world.ids)
    for _ in range(60):
        one, other = chance.sample(names, 2)
        operations: list[Callable[[], Any]] = [
            partial(workspaces.update, world.ids[one], {"parent_id": world.ids[other]}, actor="test"),
            partial(workspaces.update, world.ids[one], {"parent_id": None}, actor="test"),
            partial(pausing.pause, world.ids[one], actor="test"),
            partial(pausing.resume, world.ids[one], actor="test"),
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
        assert world.all_pairs() == world.by_the_database()


@pytest.mark.parametrize("name", CHANGES)
def test_after_the_longest_trust_it_reads_the_database_even_if_the_version_is_unchanged(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world.all_pairs()
    monkeypatch.setattr(cache_versions.CacheVersion, "invalidate", lambda self: None)
    CHANGES[name](world)
    monkeypatch.setattr(directory, "LONGEST_TRUST_SECONDS", 0.0)
    assert world.all_pairs() == world.by_the_database()


def test_late_on_commit_callbacks_do_not_hide_a_later_change(world: World) -> None:
    """One process commits, another one makes a later change, and then the callbacks of the first one run."""
    with TestCase.captureOnCommitCallbacks() as late:
        CHANGES["move"](world)
    world.all_pairs()
    with TestCase.captureOnCommitCallbacks(execute=True):
        CHANGES["remove"](world)
    for post in late:
        post()
    assert world.all_pairs() == world.by_the_database()


@pytest.mark.parametrize("name", CHANGES)
def test_an_old_version_that_returns_after_a_redis_outage_is_not_trusted(
    world: World, name: str, settings: Any
) -> None:
    """As after a failover to a replica without the change."""
    world.all_pairs()
    versions = (cache_versions.LOG, cache_versions.TOKENS)
    before = {version.key: str(redis.client().get(version.key)) for version in versions}
    with unreachable_redis_url(settings):
        CHANGES[name](world)
        world.all_pairs()
    redis.client().mset(before)
    assert world.all_pairs() == world.by_the_database()


@pytest.mark.parametrize("name", CHANGES)
def test_a_version_that_could_not_be_invalidated_is_invalidated_after_the_commit(
    world: World, name: str, settings: Any
) -> None:
    world.all_pairs()
    with TestCase.captureOnCommitCallbacks(execute=True), unreachable_redis_url(settings):
        CHANGES[name](world)
    assert world.all_pairs() == world.by_the_database()


def test_an_event_of_an_unknown_workspace_creates_no_entry(world: World) -> None:
    """Such an entry would be a root, which every other root may talk to."""
    world.all_pairs()
    world.ids["unknown"] = uuid4()
    payload = {"from": "offline", "url": "http://unknown:1"}
    event = NewEvent(event_type=EventType.WORKSPACE_ONLINE, workspace_id=world.ids["unknown"], payload=payload)
    with transaction.atomic():
        record([event], actor="test")
    assert world.ask("top", "unknown") is None


@pytest.mark.django_db(transaction=True)
def test_a_load_that_fails_halfway_leaves_no_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL closes the connection between the query for the position and that for the rows."""

    def terminate_after_reading() -> int:
        seq = latest_seq()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [own] = cursor.fetchone()
        with another_connection(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [own])
        return seq

    monkeypatch.setattr(events, "latest_seq", terminate_after_reading)
    with pytest.raises(OperationalError):
        world.ask("left", "right")
    monkeypatch.undo()
    connection.close()
    CHANGES["move"](world)
    assert world.ask("top", "right") is None
    assert world.all_pairs() == world.by_the_database()


@pytest.mark.django_db(transaction=True)
def test_two_concurrent_revocations_of_which_the_first_runs_no_callbacks(world: World) -> None:
    def revoke() -> None:
        tokens.revoke_token(world.ids["right"], world.tokens["right"].id)
        connection.close()

    world.all_pairs()
    other = threading.Thread(target=revoke)
    with transaction.atomic():
        tokens.revoke_token(world.ids["leaf"], world.tokens["leaf"].id)
        other.start()
        until(lambda: not other.is_alive() or waiting(), "the second revocation to be done, or to wait for the first")
        with another_connection():
            assert world.ask("leaf", "left"), "not committed yet"
        connection.run_on_commit.clear()
    other.join()
    assert world.ask("leaf", "left") is None
    assert world.all_pairs() == world.by_the_database()
