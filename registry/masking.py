"""Known secret values do not get into the activity log, whatever agents report."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from activity.log import BODIES, Entry
from registry import secrets

# Shorter values are words that stand everywhere; hiding them would hide the report.
SHORTEST_MASKED = 6
TEXTS = ("method", "summary", "error_detail")


def mask(reported: Sequence[tuple[UUID, Entry]]) -> list[tuple[UUID, Entry]]:
    """The same entries with every known value replaced by the name of its key."""
    versions = secrets.versions_for({workspace_id for workspace_id, _ in reported})
    return [(i, _masked(entry, _known(i, versions[i])) if versions[i][1] else entry) for i, entry in reported]


@lru_cache(maxsize=512)
def _known(workspace_id: UUID, version: tuple[datetime | None, int]) -> tuple[tuple[str, str], ...]:
    """(value, what to show), kept in memory until any secret changes."""
    values = secrets.values_to_mask(workspace_id)
    return tuple((value, f"[secret {key}]") for value, key in values.items() if len(value) >= SHORTEST_MASKED)


def _masked(entry: Entry, known: tuple[tuple[str, str], ...]) -> Entry:
    if not known:
        return entry
    return replace(entry, **{name: _walk(getattr(entry, name), known) for name in (*TEXTS, *BODIES)})


def _walk(value: Any, known: tuple[tuple[str, str], ...]) -> Any:
    if isinstance(value, str):
        for secret, shown in known:
            value = value.replace(secret, shown)
        return value
    if isinstance(value, dict):
        return {_walk(key, known): _walk(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, known) for item in value]
    return value
