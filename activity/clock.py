"""The time by the database's clock, which judges every expiry: that of this process may be wrong."""

from datetime import datetime, timedelta

from django.utils import timezone

_ahead: timedelta | None = None


def now() -> datetime:
    """The time, as the database's clock was when it was last heard."""
    return timezone.now() + (_ahead or timedelta())


def hear(database_time: datetime) -> None:
    """Remember how far the database's clock is from this process's. Call it right after PostgreSQL said the time."""
    global _ahead
    _ahead = database_time - timezone.now()


def was_heard() -> bool:
    """Whether this process has heard the database's clock; until then its own counts."""
    return _ahead is not None


def seconds_ahead() -> float:
    """How many seconds the database's clock is ahead of this process's; 0 before it was heard."""
    return (_ahead or timedelta()).total_seconds()
