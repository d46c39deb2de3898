"""Discovery from memory is right at once after every change by any process, and costs no queries meanwhile."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction
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
from registry.structure import projection
from tests.e2e.stack import until
from tests.registry.racing import another_connection, waiting

Make = Callable[..., Workspace]
Post = Callable[[], None]


class Organisation:
    """Four workspaces, a token for each, and the directories of two processes."""

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

    def resolve_all(self) -> dict[tuple[str, str], str | None]:
        """The URL that each caller gets for each target, which must be the same in both processes."""
        pairs = [(a, b) for a in self.ids for b in self.ids]
        first, second = ({pair: self.ask(*pair, process) for pair in pairs} for process in (0, 1))
        assert first == second
        return first

    def from_database(self) -> dict[tuple[str, str], str | None]:
        """The same by discovery.discover(), which queries the database."""
        return {(a, b): self._from_database(a, b) for a in self.ids for b in self.ids}

    def _from_database(self, caller: str, target: str) -> str | None:
        if not tokens.callers({self.presented(caller)}):
            return None
        try:
            return discovery.discover(self.ids[target], caller_id=self.ids[caller])[1]
        except RegistryError:
            return None


@pytest.fixture
def organisation(
    make_workspace: Make, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> Organisation:
    with django_capture_on_commit_callbacks(execute=True):
        return Organisation(make_workspace)


@pytest.fixture
def committed(django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks) -> Callable[[Post], None]:
    """Run an operation as if in its own transaction."""

    def run(operation: Post) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            operation()

    return run


CHANGES: dict[str, Callable[[Organisation], Any]] = {
    "move": lambda w: workspaces.update(w.ids["right"], {"parent_id": w.ids["leaf"]}, actor="test"),
    "remove": lambda w: removal.remove(w.ids["left"], actor="test", confirm=True),
    "revoke": lambda w: tokens.revoke_token(w.ids["leaf"], w.tokens["leaf"].id),
    "pause": lambda w: pausing.pause(w.ids["right"], actor="test"),
    "new address": lambda w: workspaces.register(
        w.ids["leaf"], url="http://leaf:2", agent_card={"name": "leaf"}, held=True, enrolment_id=None
    ),
}


def test_it_agrees_with_the_database_and_costs_no_queries(organisation: Organisation) -> None:
    urls = organisation.resolve_all()
    assert urls == organisation.from_database()
    assert len([url for url in urls.values() if url]) > 4
    assert None in urls.values()
    with CaptureQueriesContext(connection) as queries:
        assert organisation.resolve_all() == urls
    assert len(queries) == 0


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_right_at_once_after_a_change(
    organisation: Organisation, committed: Callable[[Post], None], name: str
) -> None:
    before = organisation.resolve_all()
    committed(lambda: CHANGES[name](organisation))
    after = organisation.resolve_all()
    assert after == organisation.from_database()
    assert after != before


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_right_between_a_commit_and_its_announcement(organisation: Organisation, name: str) -> None:
    """The on-commit callbacks do not run, as if the process had died after its commit."""
    before = organisation.resolve_all()
    CHANGES[name](organisation)
    assert organisation.resolve_all() == organisation.from_database() != before


def _flush(organisation: Organisation) -> None:
    redis.client().flushall()


def _lose_versions(organisation: Organisation) -> None:
    """They expired, because too long passed between invalidation and commit."""
    redis.client().delete(cache_versions.LOG.key, cache_versions.TOKENS.key)


@pytest.mark.parametrize("lose", [_flush, _lose_versions])
@pytest.mark.parametrize("name", CHANGES)
def test_lost_cache_versions_cost_a_query_and_nothing_else(
    organisation: Organisation, committed: Callable[[Post], None], name: str, lose: Callable[[Organisation], None]
) -> None:
    organisation.resolve_all()
    lose(organisation)
    committed(lambda: CHANGES[name](organisation))
    lose(organisation)
    assert organisation.resolve_all() == organisation.from_database()
    with CaptureQueriesContext(connection) as queries:
        organisation.ask("top", "top")
    assert len(queries) == 0, "the versions have been restored"


@contextmanager
def redis_away(settings: Any) -> Iterator[None]:
    address = settings.REDIS_URL
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    redis.client.cache_clear()
    yield
    settings.REDIS_URL = address
    redis.client.cache_clear()


@pytest.mark.parametrize("name", CHANGES)
def test_without_redis_every_lookup_reads_the_database(organisation: Organisation, name: str, settings: Any) -> None:
    organisation.resolve_all()
    with redis_away(settings):
        CHANGES[name](organisation)
        assert organisation.resolve_all() == organisation.from_database()


def test_an_expired_token_is_not_trusted_from_memory(organisation: Organisation) -> None:
    WorkspaceToken.objects.filter(id=organisation.tokens["left"].id).update(
        expires_at=timezone.now() + timedelta(seconds=3)
    )
    assert organisation.ask("left", "top")
    until(lambda: not organisation.ask("left", "top"), "the token to expire")


def test_x_workspace_id_must_be_the_callers_workspace(organisation: Organisation) -> None:
    assert organisation.ask("left", "top", claimed=organisation.ids["left"])
    assert organisation.ask("left", "top", claimed=organisation.ids["right"]) is None


def test_random_histories(organisation: Organisation, committed: Callable[[Post], None], make_workspace: Make) -> None:
    """Changes in any order, some announced and some not, sometimes with Redis emptied in between."""
    chance = random.Random(7)
    names = list(organisation.ids)
    for _ in range(60):
        who, whom = chance.sample(names, 2)
        operations: list[Callable[[], Any]] = [
            partial(workspaces.update, organisation.ids[who], {"parent_id": organisation.ids[whom]}, actor="test"),
            partial(workspaces.update, organisation.ids[who], {"parent_id": None}, actor="test"),
            partial(pausing.pause, organisation.ids[who], actor="test"),
            partial(pausing.resume, organisation.ids[who], actor="test"),
            partial(_flush, organisation),
        ]
        operation = chance.choice(operations)
        try:
            if chance.random() < 0.5:
                committed(operation)
            else:
                operation()
        except RegistryError:
            continue
        assert organisation.resolve_all() == organisation.from_database()


@pytest.mark.parametrize("name", CHANGES)
def test_after_the_longest_trust_the_database_is_read_whatever_the_cache_version(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    organisation.resolve_all()
    monkeypatch.setattr(cache_versions.CacheVersion, "invalidate", lambda self: None)
    CHANGES[name](organisation)
    monkeypatch.setattr(directory, "LONGEST_TRUST_SECONDS", 0.0)
    assert organisation.resolve_all() == organisation.from_database()


def test_a_late_announcement_hides_no_later_change(organisation: Organisation) -> None:
    """A process announces its commit only after a later change of another process is committed and announced."""
    with TestCase.captureOnCommitCallbacks() as late:
        CHANGES["move"](organisation)
    organisation.resolve_all()
    with TestCase.captureOnCommitCallbacks(execute=True):
        CHANGES["remove"](organisation)
    for post in late:
        post()
    assert organisation.resolve_all() == organisation.from_database()


@pytest.mark.parametrize("name", CHANGES)
def test_a_cache_version_from_before_a_redis_outage_is_not_trusted(
    organisation: Organisation, name: str, settings: Any
) -> None:
    """As after a failover to a replica that lacks the change."""
    organisation.resolve_all()
    before = {
        version.key: str(redis.client().get(version.key)) for version in (cache_versions.LOG, cache_versions.TOKENS)
    }
    with redis_away(settings):
        CHANGES[name](organisation)
        organisation.resolve_all()
    redis.client().mset(before)
    assert organisation.resolve_all() == organisation.from_database()


@pytest.mark.parametrize("name", CHANGES)
def test_an_invalidation_that_failed_before_the_commit_is_made_after_it(
    organisation: Organisation, name: str, settings: Any
) -> None:
    organisation.resolve_all()
    with TestCase.captureOnCommitCallbacks(execute=True), redis_away(settings):
        CHANGES[name](organisation)
    assert organisation.resolve_all() == organisation.from_database()


def test_an_event_of_an_unknown_workspace_adds_none(organisation: Organisation) -> None:
    """It would be a root, which every other root may talk to."""
    organisation.resolve_all()
    organisation.ids["unknown"] = uuid4()
    payload = {"from": "offline", "url": "http://unknown:1"}
    event = NewEvent(event_type=EventType.WORKSPACE_ONLINE, workspace_id=organisation.ids["unknown"], payload=payload)
    with transaction.atomic():
        record([event], actor="test")
    assert organisation.ask("top", "unknown") is None


@pytest.mark.django_db(transaction=True)
def test_what_was_removed_is_not_kept(organisation: Organisation, make_workspace: Make) -> None:
    """Neither by a process that saw the removal nor by one that starts later."""
    organisation.resolve_all()
    removal.remove(organisation.ids["left"], actor="test", confirm=True)
    organisation.processes.append(Directory())
    kept = {organisation.ids[name] for name in ("top", "right")}
    for process, known in enumerate(organisation.processes):
        assert organisation.ask("top", "right", process)
        assert organisation.ask("right", "left", process) is None
        assert set(known.rows) == kept


@pytest.mark.django_db(transaction=True)
def test_cards_are_not_read(organisation: Organisation) -> None:
    """They are the most of the log's bytes, and no directory has them."""
    organisation.resolve_all()
    for number in range(3):
        workspaces.update_card(organisation.ids["left"], {"name": f"card {number}"}, actor="test")
    with CaptureQueriesContext(connection) as captured:
        organisation.resolve_all()
    (replay, *_) = [query["sql"] for query in captured if "structure_events" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(replay)
        assert "card 2" not in str(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
def test_a_load_that_fails_halfway_is_discarded(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL goes away between the position and the rows."""

    def disconnect() -> int:
        seq = latest_seq()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [own] = cursor.fetchone()
        with another_connection(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [own])
        return seq

    monkeypatch.setattr(events, "latest_seq", disconnect)
    with pytest.raises(OperationalError):
        organisation.ask("left", "right")
    monkeypatch.undo()
    connection.close()
    CHANGES["move"](organisation)
    assert organisation.ask("top", "right") is None
    assert organisation.resolve_all() == organisation.from_database()


@pytest.mark.django_db(transaction=True)
def test_of_two_concurrent_revocations_the_first_is_never_announced(organisation: Organisation) -> None:
    def revoke() -> None:
        tokens.revoke_token(organisation.ids["right"], organisation.tokens["right"].id)
        connection.close()

    organisation.resolve_all()
    other = threading.Thread(target=revoke)
    with transaction.atomic():
        tokens.revoke_token(organisation.ids["leaf"], organisation.tokens["leaf"].id)
        other.start()
        until(lambda: not other.is_alive() or waiting(), "the second revocation to finish, or to wait for the first")
        with another_connection():
            assert organisation.ask("leaf", "left"), "not committed yet"
        connection.run_on_commit.clear()
    other.join()
    assert organisation.ask("leaf", "left") is None
    assert organisation.resolve_all() == organisation.from_database()


@pytest.mark.parametrize(
    "since", [(), ("pause",), ("pause", "new address", "remove")], ids=lambda names: f"{len(names)}"
)
def test_after_a_failover_that_lost_events_everything_is_loaded_again(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch, since: tuple[str, ...]
) -> None:
    """Whether the log that is left is shorter than what this process knows, or has other events at these positions."""
    kept = dict(Workspace.objects.values_list("id", "parent_id"))
    position = events.latest_seq()
    CHANGES["move"](organisation)
    before = organisation.resolve_all()
    lose_events(position)
    for own, parent in kept.items():
        Workspace.objects.filter(id=own).update(parent_id=parent)
    for name in since:
        CHANGES[name](organisation)
    monkeypatch.setattr(directory, "LONGEST_TRUST_SECONDS", 0.0)
    assert organisation.resolve_all() == organisation.from_database() != before


def lose_events(after: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE structure_events DISABLE TRIGGER USER")
        cursor.execute("DELETE FROM structure_events WHERE seq > %s", [after])
        cursor.execute("ALTER TABLE structure_events ENABLE TRIGGER USER")
        cursor.execute("SELECT setval('structure_events_seq_seq', %s)", [after])


def test_an_update_that_fails_is_made_again(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not count as made, nor what was there before as current: Redis may have lost the last invalidation."""
    assert organisation.ask("top", "right")
    known = str(redis.client().get(cache_versions.LOG.key))
    CHANGES["move"](organisation)
    with monkeypatch.context() as failing:
        failing.setattr(projection, "apply_change", disconnect)
        with pytest.raises(DatabaseError):
            organisation.ask("top", "right")
    redis.client().set(cache_versions.LOG.key, known)
    assert organisation.ask("top", "right") is None


def disconnect(*_: object) -> None:
    raise DatabaseError("the connection is lost")
