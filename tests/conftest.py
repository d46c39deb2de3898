"""Fixtures for every test: workspaces and clients as plain factories, on real PostgreSQL and Redis."""

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.models.signals import post_migrate  # the product has no signals of its own
from rest_framework.test import APIClient

from activity import redis
from activity.bus import BROADCAST_CHANNEL
from molecule import platform_status
from registry.admin.lists import filters
from registry.identity import logins, rate_limits, tokens
from registry.models import LoopTick, Workspace
from registry.organisation import attention, workspaces
from registry.organisation.workspaces import NewWorkspace
from registry.supervision import jobs

ACTOR = "operator:test"
# Files with few tests that take long: begun last, one of them would be all that still runs.
FIRST = ("tests/e2e/", "tests/hostile/", "tests/chaos/", "tests/molecule/test_run.py")
APPEND_ONLY = "structure_events_append_only"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@pytest.fixture(autouse=True, scope="session")
def let_flush_empty_the_log() -> Iterator[None]:
    """Tests empty the tables, structure_events too, which its trigger refuses in the product."""
    flush = DatabaseOperations.execute_sql_flush

    def flush_with_trigger_off(self: DatabaseOperations, sql_list: list[str]) -> None:
        off = f"ALTER TABLE structure_events DISABLE TRIGGER {APPEND_ONLY}"
        on = f"ALTER TABLE structure_events ENABLE ALWAYS TRIGGER {APPEND_ONLY}"
        flush(self, [off, *sql_list, on])

    DatabaseOperations.execute_sql_flush = flush_with_trigger_off  # type: ignore[method-assign, assignment]
    yield
    DatabaseOperations.execute_sql_flush = flush  # type: ignore[method-assign]


@pytest.fixture(autouse=True, scope="session")
def hash_passwords_quickly() -> Iterator[None]:
    """With the product's hasher; a million iterations are half a second for each user that a test creates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logins.SerialPBKDF2PasswordHasher, "iterations", 1)
        yield


@pytest.fixture(autouse=True, scope="session")
def keep_groups() -> Iterator[None]:
    """Emptying the tables deletes the groups of the migration. Django recreates only permissions."""

    def create_groups(**kwargs: Any) -> None:
        import_module("molecule.migrations.0001_groups").create_groups(apps)
        import_module("molecule.migrations.0002_reveal_secrets").grant(apps)

    # The last application with models: the permissions of all others exist by then.
    last = apps.get_app_config("canvas")
    post_migrate.connect(create_groups, sender=last)
    yield
    post_migrate.disconnect(create_groups, sender=last)


@pytest.fixture(autouse=True)
def _empty_redis() -> None:
    redis.client().flushall()
    rate_limits.STRANGERS.counts.clear()


@pytest.fixture(autouse=True)
def _one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rate limits are per minute; none ends between the requests of a test."""
    window = rate_limits.this_window()
    monkeypatch.setattr(rate_limits, "this_window", lambda: window)


@pytest.fixture(autouse=True)
def _forget_short_caches() -> None:
    attention.recent_counts.forget()
    filters.runtimes.forget()
    platform_status.recent.forget()


@pytest.fixture
def make_workspace(db: None) -> Callable[..., Workspace]:
    def make(name: str = "Workspace", *, status: str | None = None, **fields: Any) -> Workspace:
        workspace = workspaces.create(NewWorkspace(name=name, **fields), actor=ACTOR)
        if status is not None:
            Workspace.objects.filter(id=workspace.id).update(status=status)
            workspace.refresh_from_db()
        return workspace

    return make


@pytest.fixture
def serving(db: None) -> None:
    """A web process that has served for long, so an agent without heartbeats is offline."""
    jobs.tick(jobs.WEB)
    LoopTick.objects.filter(name=jobs.WEB).update(since="2000-01-01T00:00:00Z")


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    """An operator; `level` is viewer, operator or administrator."""
    permissions = {
        "ungrouped": [],
        "viewer": ["view_workspace"],
        "operator": ["view_workspace", "change_workspace"],
        "administrator": ["view_workspace", "change_workspace", "change_workspacesecret", "reveal_secrets"],
    }

    def make(level: str = "operator") -> User:
        user = User.objects.create_user(f"{level}-{uuid4().hex[:8]}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions[level]))
        return user

    return make


@pytest.fixture
def as_operator(make_user: Callable[..., User]) -> APIClient:
    return bearer(tokens.issue_operator_token(make_user("operator")))


@pytest.fixture
def as_administrator(make_user: Callable[..., User]) -> APIClient:
    return bearer(tokens.issue_operator_token(make_user("administrator")))


@pytest.fixture
def as_viewer(make_user: Callable[..., User]) -> APIClient:
    return bearer(tokens.issue_operator_token(make_user("viewer")))


@pytest.fixture
def as_workspace() -> Callable[[Workspace], APIClient]:
    """A client with a fresh token of that workspace."""
    return lambda workspace: bearer(tokens.issue_workspace_token(workspace.id, may_reveal=True).text)


def bearer(token: str) -> APIClient:
    client = JSONClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


class JSONClient(APIClient):
    """Sends JSON unless told otherwise."""

    default_format = "json"


@pytest.fixture
def anonymous(db: None) -> APIClient:
    return JSONClient()


@pytest.fixture
def broadcasts() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Messages on the Redis channel events:broadcast since the test began."""
    with redis.client().pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(BROADCAST_CHANNEL)
        pubsub.get_message(timeout=1)

        def heard() -> list[dict[str, Any]]:
            messages = []
            while (message := pubsub.get_message(timeout=0.2)) is not None:
                messages.append(json.loads(message["data"]))
            return messages

        yield heard


@pytest.fixture
def unreachable_redis(settings: Any) -> Iterator[None]:
    """Redis at an address where nothing listens."""
    settings.REDIS_URL = "unix:///nonexistent/redis.sock"
    redis.client.cache_clear()
    yield
    redis.client.cache_clear()
