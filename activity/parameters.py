"""Query parameters that filter a list: several values, flags, and times, also relative ones such as `24h`."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.utils.dateparse import parse_datetime

from activity import clock

Parameters = Mapping[str, Sequence[str]]
"""The values of each parameter, as in QueryDict.lists()."""
LONGEST_TEXT = 200
MOST_VALUES = 100
# A space that follows a time of day, not the one between date and time.
SPACE_BEFORE_OFFSET = re.compile(r"(:\d\d(?:[.,]\d+)?|[Tt ]\d+) (\d\d(?::?\d\d)?)?$")
SPAN = re.compile(r"(\d{1,6})([mhdw])")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
NOT_A_TIME = "must be an ISO 8601 time, or how long ago: 30m, 24h, 7d, 2w"


class BadParameter(ValueError):
    """A parameter has a value that the list cannot be filtered by; `field` names it, `message` says what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.message = field, message


def text(parameters: Parameters, name: str) -> str:
    """The last value without the spaces around it, "" if there is none. Raises BadParameter."""
    values = parameters.get(name) or [""]
    value = values[-1].strip()
    if "\x00" in value or len(value) > LONGEST_TEXT:
        raise BadParameter(name, f"must be at most {LONGEST_TEXT} characters, without NUL")
    return value


def several(parameters: Parameters, name: str, allowed: Collection[str] | None = None) -> tuple[str, ...]:
    """All values, repeated or separated by commas, each once. Raises BadParameter for one that is not `allowed`."""
    parts = (part.strip() for value in parameters.get(name, ()) for part in value.split(","))
    values = tuple(dict.fromkeys(part for part in parts if part))
    if len(values) > MOST_VALUES or any("\x00" in value or len(value) > LONGEST_TEXT for value in values):
        raise BadParameter(name, f"must be at most {MOST_VALUES} values of at most {LONGEST_TEXT} characters")
    for value in values:
        if allowed is not None and value not in allowed:
            raise BadParameter(name, f"“{value}” is not one of {', '.join(allowed)}")
    return values


def choice(parameters: Parameters, name: str, allowed: Collection[str]) -> str:
    """One of `allowed`, or "". Raises BadParameter."""
    value = text(parameters, name)
    if value and value not in allowed:
        raise BadParameter(name, f"“{value}” is not one of {', '.join(allowed)}")
    return value


def flag(parameters: Parameters, name: str) -> bool:
    """Whether it is 1 or true. Raises BadParameter for anything but these, 0, false and nothing."""
    return choice(parameters, name, ("1", "true", "0", "false")) in ("1", "true")


def identifier(parameters: Parameters, name: str) -> UUID | None:
    """An id, None if it is not given. Raises BadParameter."""
    value = text(parameters, name)
    try:
        return UUID(value) if value else None
    except ValueError:
        raise BadParameter(name, "must be an id") from None


def moment(parameters: Parameters, name: str) -> datetime | None:
    """A time, None if it is not given. Raises BadParameter."""
    if not (value := text(parameters, name)):
        return None
    # A space at the end may be the "+" of an offset.
    found = _ago(value) or query_time(parameters[name][-1])
    if found is None:
        raise BadParameter(name, NOT_A_TIME)
    return found


def query_time(value: str) -> datetime | None:
    """The ISO 8601 time of a query parameter, in UTC, which is also assumed without an offset; None for other text.

    The "+" of an offset that a client did not encode arrives as a space.
    """
    try:
        found = parse_datetime(SPACE_BEFORE_OFFSET.sub(r"\1+\2", value))
        # In UTC: PostgreSQL refuses offsets from 16 hours on.
        return found and (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _ago(value: str) -> datetime | None:
    """The time as long ago as a span such as "24h" says; None for other text, and for spans of millenia."""
    span = SPAN.fullmatch(value)
    if span is None:
        return None
    try:
        return clock.now() - timedelta(**{UNITS[span[2]]: int(span[1])})
    except OverflowError:
        return None
