"""Operations on several workspaces lock their rows in one order, so that real load never deadlocks.

Batches of heartbeats and reports skip rows that others hold: they wait for no row and are part of no deadlock, in
whichever order they lock. What waits for rows (moves, removals, single requests) locks them in the order of their ids.
"""

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction
from psycopg.errors import LockNotAvailable

from activity.log import Entry
from registry.config import bundles
from registry.exceptions import RegistryError
from registry.identity import tokens
from registry.identity.tokens import PresentedToken
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat
from registry.messaging import reports
from registry.messaging.reports import Report
from registry.models import Workspace
from registry.organisation import removal, workspaces
from registry.structure import hierarchy
from registry.structure.rows import lock
from tests.registry.racing import PATIENCE_SECONDS, STRESS, together
from tests.registry.test_races import until_waiting

pytestmark = pytest.mark.django_db(transaction=True)
Make = Callable[..., Workspace]
ACTOR = "operator:test"
ROUNDS = 400 if STRESS else 60


def test_rows_are_locked_in_the_order_of_their_ids(make_workspace: Make) -> None:
    """The row of the lowest id is held, and stored behind the others: who waits for it holds none of them."""
    first, *others = sorted(make_workspace(f"{n}").id for n in range(4))
    Workspace.objects.filter(id=first).update(name="a new version of its row, stored last")
    held = threading.Event()

    def wait_for_the_first() -> None:
        held.wait(PATIENCE_SECONDS)
        with transaction.atomic():
            assert list(lock([*others, first])) == [first, *others]

    def hold_the_first() -> None:
        with transaction.atomic():
            lock([first])
            held.set()
            until_waiting(1)
            assert not any(is_locked(each) for each in others)

    together(wait_for_the_first, hold_the_first)


def test_a_duplicate_waits_for_the_hierarchy_and_holds_no_row(make_workspace: Make) -> None:
    """A move that holds the hierarchy may wait for its row."""
    original = make_workspace("Original", parent_id=make_workspace("Lead").id).id
    held = threading.Event()

    def duplicate() -> None:
        held.wait(PATIENCE_SECONDS)
        bundles.duplicate(original, actor=ACTOR)

    def hold_the_hierarchy() -> None:
        with transaction.atomic():
            hierarchy.lock()
            held.set()
            until_waiting(1)
            assert not is_locked(original)

    together(duplicate, hold_the_hierarchy)
    assert Workspace.objects.filter(name="Original (copy)").count() == 1


def is_locked(workspace_id: UUID) -> bool:
    with psycopg.connect(**connection.get_connection_params()) as looking:
        try:
            looking.execute("SELECT FROM workspaces WHERE id = %s FOR NO KEY UPDATE NOWAIT", [workspace_id])
        except LockNotAvailable:
            return True
    return False


def test_batches_moves_removals_and_reports_never_deadlock(make_workspace: Make) -> None:
    """Under load, each on rows in an order of its own. A deadlock, as any other error of the database, is raised."""
    tops = [make_workspace(f"top {n}").id for n in range(3)]
    moving = [make_workspace(f"moving {n}", parent_id=tops[n % 3]).id for n in range(6)]
    doomed = [make_workspace(f"doomed {n}", parent_id=moving[n % 6]).id for n in range(ROUNDS)]
    steady = [*tops, *moving]
    good = {each: presented(each) for each in [*steady, *doomed]}

    def beat(choice: random.Random) -> None:
        ids = choice.sample(steady, 6) + choice.sample(doomed, 3)
        heartbeats.commit([Beat(workspace_id=i, token=good[i], error_rate=choice.choice([0.0, 0.9])) for i in ids])

    def report(choice: random.Random) -> None:
        ids = choice.sample(steady, 6) + choice.sample(doomed, 3)
        reports.commit([Report(i, good[i], [Entry(activity_type="agent_log")]) for i in ids])

    def move(choice: random.Random) -> None:
        workspaces.update(choice.choice(moving), {"parent_id": choice.choice(tops)}, actor=ACTOR)

    def remove(choice: random.Random) -> None:
        removal.remove(doomed[choice.randrange(len(doomed))], actor=ACTOR, confirm=True)

    def lock_many(choice: random.Random) -> None:
        with transaction.atomic():
            lock(choice.sample(steady, 5))

    def single_beat(choice: random.Random) -> None:
        heartbeats.flush([Beat(workspace_id=i, error_rate=choice.choice([0.0, 0.9])) for i in choice.sample(steady, 4)])

    def repeatedly(operation: Callable[[random.Random], None], seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(ROUNDS):
            with suppress(RegistryError):
                operation(choice)

    operations = [beat, beat, report, report, move, remove, lock_many, lock_many, single_beat]
    together(*(partial(repeatedly, operation, seed) for seed, operation in enumerate(operations)))


def presented(workspace_id: UUID) -> PresentedToken:
    token = tokens.presented_token(tokens.issue_workspace_token(workspace_id).text)
    assert token is not None
    return token
