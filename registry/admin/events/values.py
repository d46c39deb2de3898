"""Old and new values of an event, as the admin writes them. Without queries: names of workspaces are passed in."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from registry.models import Status

Names = Mapping[UUID, str]
MAX_TEXT = 120
SHOWN_HASH = 12


@dataclass(frozen=True, kw_only=True)
class Value:
    """`workspace_id`: the workspace to link to, if it is one. `absent`: the text stands for a missing value."""

    text: str
    workspace_id: UUID | None = None
    absent: bool = False


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`before` is None where the event does not record it; a value that was empty is an absent Value."""

    field: str
    before: Value | None = None
    after: Value


def to_status(payload: dict[str, Any], status: Status) -> tuple[Difference, ...]:
    """Returns the change of status; empty when it did not change."""
    if payload.get("from") == status:
        return ()
    before = value(payload["from"]) if payload.get("from") else None
    return (Difference(field="status", before=before, after=value(status)),)


def agent(before: Any, after: Any) -> Difference:
    """Returns the change of the assigned model."""
    return Difference(field="agent", before=value(before), after=value(after))


def file(path: str, before: Any, after: Any) -> Difference:
    """Returns the change of a file, with the beginnings of its hashes; a file that is missing has none."""
    old, new = (text(one)[:SHOWN_HASH] if one else None for one in (before, after))
    return Difference(field=path, before=value(old), after=value(new))


def differences(name: str, before: Any, after: Any, names: Names) -> Iterator[Difference]:
    """Yields one difference for a plain value; for a JSON object, one for each top-level key that differs."""
    if name == "forwarded_to":
        yield Difference(field="forwarded to", before=workspace(before, names), after=workspace(after, names))
    elif isinstance(before, dict) or isinstance(after, dict):
        old, new = (side if isinstance(side, dict) else {} for side in (before, after))
        for key in sorted({*old, *new}, key=str):
            if old.get(key) != new.get(key):
                field = f"{name.replace('_', ' ')}: {text(key)}"
                yield Difference(field=field, before=value(old.get(key)), after=value(new.get(key)))
    else:
        yield Difference(field=name.replace("_", " "), before=value(before), after=value(after))


def value(raw: Any) -> Value:
    """Returns a changed value as the timeline shows it."""
    return Value(text="none", absent=True) if raw in (None, "") else Value(text=text(raw))


def workspace(raw: Any, names: Names) -> Value:
    """A workspace whose name is not known is written as its id, without a link."""
    known = as_uuid(raw)
    if known is None or known not in names:
        return value(raw)
    return Value(text=names[known], workspace_id=known)


def parent(raw: Any, names: Names) -> Value:
    """Returns a link to a parent, or the word for the top level."""
    return Value(text="top level", absent=True) if raw is None else workspace(raw, names)


def text(raw: Any) -> str:
    """Returns a value as text, JSON where it is none, cut at MAX_TEXT characters."""
    if raw is None:
        return ""
    whole = raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)
    return whole if len(whole) <= MAX_TEXT else f"{whole[: MAX_TEXT - 1]}…"


def as_uuid(raw: Any) -> UUID | None:
    """Returns the id, None for text that is none."""
    try:
        return UUID(raw)
    except (TypeError, ValueError, AttributeError):
        return None
