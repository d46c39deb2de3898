"""Keeps known secret values out of the activity log, whatever agents report."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from activity.log import BODIES, Entry
from registry.secrets import store

# Shorter values occur in ordinary text; masking them would make reports unreadable.
SHORTEST_MASKED = 6
TEXTS = ("method", "summary", "error_detail")
MOST_OWNERS = 20_000


@dataclass(frozen=True, slots=True)
class MaskedValue:
    """A secret's value and what is shown in its place."""

    value: str = field(repr=False)
    shown: str


Values = tuple[MaskedValue, ...]


class KnownValues:
    """Cache of each owner's values, until one of them changes. The owner None stands for global secrets."""

    def __init__(self) -> None:
        self.kept: dict[UUID | None, tuple[int, Values]] = {}

    def of(self, workspace_ids: Collection[UUID]) -> dict[UUID | None, Values]:
        """The values of these workspaces and, under None, the global ones; owners without secrets are missing.

        One small query while no secret changes.
        """
        versions = store.versions(workspace_ids)
        found = {i: kept for i, version in versions.items() if (kept := self.kept.get(i)) and kept[0] == version}
        if changed := versions.keys() - found.keys():
            opened = store.values_to_mask(changed)
            found |= {i: (versions[i], _masked_values(opened[i])) for i in changed}
            if len(self.kept) > MOST_OWNERS:
                self.kept = {}
            self.kept |= found
        return {i: values for i, (_, values) in found.items()}


KNOWN = KnownValues()


def mask(reported: Sequence[tuple[UUID, Entry]]) -> list[tuple[UUID, Entry]]:
    """The same entries with every known value replaced by the name of its key."""
    known = KNOWN.of({workspace_id for workspace_id, _ in reported})
    shared = known.pop(None, ())
    by_owner = {owner: _longest_first((*own, *shared)) for owner, own in known.items()}
    return [(i, _masked(entry, by_owner.get(i, shared))) for i, entry in reported]


def _masked_values(values: dict[str, str]) -> Values:
    masked = [MaskedValue(value, f"[secret {key}]") for key, value in values.items() if len(value) >= SHORTEST_MASKED]
    return _longest_first(masked)


def _longest_first(values: Collection[MaskedValue]) -> Values:
    """Longest first, because one value may contain another."""
    return tuple(sorted(values, key=lambda one: -len(one.value)))


def _masked(entry: Entry, known: Values) -> Entry:
    if not known:
        return entry
    return replace(entry, **{name: _walk(getattr(entry, name), known) for name in (*TEXTS, *BODIES)})


def _walk(value: Any, known: Values) -> Any:
    if isinstance(value, str):
        for one in known:
            value = value.replace(one.value, one.shown)
        return value
    if isinstance(value, dict):
        return {_walk(key, known): _walk(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, known) for item in value]
    return value
