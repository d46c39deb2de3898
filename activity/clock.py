"""The time by the database's clock, which judges every expiry: that of this process may be wrong."""

from datetime import datetime, timedelta

from django.utils import timezone

_ahead: timedelta | None = None


def now() -> datetime:
    """The time, by the database's clock as it was last read."""
    return timezone.now() + (_ahead or timedelta())


def set_database_time(database_time: datetime) -> None:
    """Remember how far the database's clock is from this process's. Call it right after PostgreSQL said the time."""
    global _ahead
    _ahead = database_time - timezone.now()


def is_set() -> bool:
    """Whether this process has read the database's clock; until then its own counts."""
    return _ahead is not None


def seconds_ahead() -> float:
    """How many seconds the database's clock is ahead of this process's; 0 before it was read."""
    return (_ahead or timedelta()).total_seconds()
