"""Expired sessions, old logins, dead tokens and old secret accesses are deleted in small batches; all others stay."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection, models, transaction
from django.utils import timezone

from registry.models import OperatorToken, SecretAccess, TokenKind, Transfer, Workspace, WorkspaceToken
from registry.supervision import leftovers
from registry.supervision.retention import Retention
from tests.registry.racing import another_connection

KEPT = ("LOGIN_RETENTION_DAYS", "TOKEN_RETENTION_DAYS", "SECRET_ACCESS_RETENTION_DAYS", "TRANSFER_RETENTION_DAYS")


@pytest.fixture
def rows(make_workspace: Callable[..., Workspace], make_user: Callable[..., User]) -> dict[type[models.Model], int]:
    """Of each table five rows to delete; how many are to stay."""
    one, user, now = make_workspace(), make_user(), timezone.now()

    def ago(days: float) -> Any:
        return now - timedelta(days=days)

    for number in range(6):
        Session.objects.create(session_key=uuid4().hex, session_data="", expire_date=ago(1 if number < 5 else -1))
        for table in (AccessAttempt, AccessLog, AccessFailureLog):
            given = {"failures_since_start": 1} if table is AccessAttempt else {}
            made = table._default_manager.create(username=str(number), user_agent="x", ip_address="10.0.0.1", **given)
            table._default_manager.filter(pk=made.pk).update(attempt_time=ago(31 if number < 5 else 29))
        SecretAccess.objects.create(actor="x", action="read", keys=[], at=ago(366 if number < 5 else 364))
        Transfer.objects.create(actor="x", kind="bundle_exported", at=ago(366 if number < 5 else 364))
    for dead in ({"revoked_at": ago(91)}, {"expires_at": ago(91)}, {"revoked_at": ago(91), "expires_at": ago(-9)}) * 2:
        for _ in range(1 if len(dead) == 2 else 2):
            for table, of in ((WorkspaceToken, {"workspace": one}), (OperatorToken, {"user": user})):
                kind = {"kind": TokenKind.AGENT} if table is WorkspaceToken else {}
                table._default_manager.create(prefix=uuid4().hex, hash=b"", **of, **kind, **dead)
    for live in ({}, {"revoked_at": ago(89)}, {"expires_at": ago(89)}, {"expires_at": ago(-9)}):
        WorkspaceToken.objects.create(prefix=uuid4().hex, hash=b"", workspace=one, kind=TokenKind.AGENT, **live)
        OperatorToken.objects.create(prefix=uuid4().hex, hash=b"", user=user, **live)
    tables = {Session: 1, AccessAttempt: 1, AccessLog: 1, AccessFailureLog: 1, SecretAccess: 1, Transfer: 1}
    return {**tables, WorkspaceToken: 4, OperatorToken: 4}


def left(rows: dict[type[models.Model], int]) -> dict[type[models.Model], int]:
    return {table: table._default_manager.count() for table in rows}


def steps(count: int) -> list[bool]:
    retention = Retention(rest=lambda seconds: None)
    return [retention.step() for _ in range(count)]


def test_the_retention_job_deletes_them_in_batches(rows: dict[Any, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "BATCH", 3)
    before = sum(left(rows).values())
    assert steps(1) == [True]
    assert sum(left(rows).values()) == before - 3
    assert steps(40)[-1] is False
    assert left(rows) == rows


def test_the_next_search_is_an_hour_later(rows: dict[Any, int]) -> None:
    retention = Retention(rest=lambda seconds: None)
    while retention.step():
        pass
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))
    assert not retention.step()
    assert Session.objects.exists()


@pytest.mark.parametrize("setting", KEPT)
def test_zero_days_keep_rows_forever(rows: dict[Any, int], settings: Any, setting: str) -> None:
    before = left(rows)
    setattr(settings, setting, 0.0)
    steps(20)
    kept = {table for table in rows if leftovers.LEFTOVERS[table._meta.db_table][0] == setting}
    assert kept
    assert left(rows) == {table: before[table] if table in kept else count for table, count in rows.items()}


def test_an_attempt_stays_for_as_long_as_it_locks(rows: dict[Any, int], settings: Any) -> None:
    settings.LOGIN_RETENTION_DAYS, settings.LOGIN_LOCK_MINUTES = 1.0, 30 * 24 * 60
    steps(20)
    assert AccessAttempt.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_locked_row_is_left_for_later() -> None:
    past = timezone.now() - timedelta(days=1)
    for key in ("held", "free"):
        Session.objects.create(session_key=key, session_data="", expire_date=past)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT FROM django_session WHERE session_key = 'held' FOR UPDATE")
        with another_connection():
            assert steps(2) == [True, False]
    assert Session.objects.get().session_key == "held"
