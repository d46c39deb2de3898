"""Known secret values do not get into the activity log, whatever agents report."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from activity.log import BODIES, Entry
from registry.secrets import store

# Shorter values are words that stand everywhere; hiding them would hide the report.
SHORTEST_MASKED = 6
TEXTS = ("method", "summary", "error_detail")
MOST_OWNERS = 20_000


@dataclass(frozen=True, slots=True)
class Hidden:
    """A secret value, and the text shown in its place."""

    value: str = field(repr=False)
    shown: str


Values = tuple[Hidden, ...]


class Known:
    """The values of each owner of secrets, None for everybody, kept in memory until any of that owner's changes."""

    def __init__(self) -> None:
        self.kept: dict[UUID | None, tuple[int, Values]] = {}

    def of(self, workspace_ids: Collection[UUID]) -> dict[UUID | None, Values]:
        """Theirs and everybody's; who has none is missing. One small query while no secret changes."""
        versions = store.versions(workspace_ids)
        found = {i: kept for i, version in versions.items() if (kept := self.kept.get(i)) and kept[0] == version}
        if changed := versions.keys() - found.keys():
            opened = store.values_to_mask(changed)
            found |= {i: (versions[i], _hidden(opened[i])) for i in changed}
            if len(self.kept) > MOST_OWNERS:
                self.kept = {}
            self.kept |= found
        return {i: values for i, (_, values) in found.items()}


KNOWN = Known()


def mask(reported: Sequence[tuple[UUID, Entry]]) -> list[tuple[UUID, Entry]]:
    """The same entries with every known value replaced by the name of its key."""
    known = KNOWN.of({workspace_id for workspace_id, _ in reported})
    everybodys = known.pop(None, ())
    theirs = {owner: _longest_first((*own, *everybodys)) for owner, own in known.items()}
    return [(i, _masked(entry, theirs.get(i, everybodys))) for i, entry in reported]


def _hidden(values: dict[str, str]) -> Values:
    hidden = [Hidden(value, f"[secret {key}]") for key, value in values.items() if len(value) >= SHORTEST_MASKED]
    return _longest_first(hidden)


def _longest_first(hidden: Collection[Hidden]) -> Values:
    """One value may be the beginning of another."""
    return tuple(sorted(hidden, key=lambda one: -len(one.value)))


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
