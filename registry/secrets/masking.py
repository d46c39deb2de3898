"""Masks known secret values in everything that agents send, before it is stored, published or logged."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote
from uuid import UUID

from activity.log import BODIES, Entry
from registry.secrets import store

# Shorter values occur in ordinary text; masking them would make reports unreadable.
SHORTEST_MASKED = 6
# Longer keys are shortened, so that masking makes a text at most nine times as long.
LONGEST_SHOWN_KEY = 40
TEXTS = ("method", "summary", "error_detail")
MOST_OWNERS = 20_000
LINE_ENDS = ("\n", "\r\n", "\r")
PERCENT_CODE = re.compile("%..")


@dataclass(frozen=True, slots=True)
class MaskedValue:
    """A secret's value in one of the forms in which it may be sent, and the text that replaces it."""

    value: str = field(repr=False)
    replacement: str
    escaped: str = field(init=False, repr=False)
    """The value inside a string of a JSON text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "escaped", _json(self.value)[1:-1])


Values = tuple[MaskedValue, ...]
Span = tuple[int, int, str]
"""Start and end in a text, and the replacement."""


@dataclass(frozen=True, slots=True)
class Mask:
    """Replaces values by the names of their keys. In one pass, so replacements are not masked again."""

    values: Values

    def text(self, text: str) -> str:
        """The text without the values. Pass it whole and cut it afterwards: if the beginning of a value at the end of a
        text were masked too, that would confirm guesses of a secret character by character."""
        # Most texts contain none. This is the fastest test, which matters for heartbeats.
        contained = [one for one in self.values if one.value in text]
        if not contained:
            return text
        spans = ((start, end, one.replacement) for one in contained for start, end in _occurrences(one.value, text))
        parts, position = [], 0
        for start, end, replacement in _merged(spans):
            parts += [text[position:start], replacement]
            position = end
        return "".join([*parts, text[position:]])

    def is_needed(self, data: bytes) -> bool:
        """Whether the data, text or not, contain a value."""
        return any(one.value.encode() in data for one in self.values)

    def json(self, value: Any) -> Any:
        """The JSON value without the values, also as keys of objects. A number that contains one becomes text."""
        if isinstance(value, str):
            return self.text(value)
        if not self.values or value is None:
            return value
        # Only these are looked for in each of its strings, of which there may be thousands.
        text = _json(value)
        contained = tuple(one for one in self.values if one.escaped in text)
        return Mask(contained)._json(value) if contained else value

    def _json(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._json(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._json(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            digits = repr(value)
            masked = self.text(digits)
            return value if masked == digits else masked
        return value


class KnownValues:
    """Cache of the values of each owner, until one of them changes. The owner None stands for global secrets."""

    def __init__(self) -> None:
        self.kept: dict[UUID | None, tuple[int, Values]] = {}

    def of(self, workspace_ids: Collection[UUID]) -> dict[UUID | None, Values]:
        """The values of these workspaces and, under None, the global ones; owners without secrets are missing.

        Costs one small query while no secret changes.
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


def masks(workspace_ids: Collection[UUID]) -> dict[UUID, Mask]:
    """The mask of each of these workspaces: its own values and the global ones. One query, see KnownValues.

    Workspaces without secrets are missing.
    """
    known = KNOWN.of(workspace_ids)
    if None not in known:
        return {i: Mask(own) for i, own in known.items() if i is not None}
    shared = known.pop(None)
    common = Mask(shared)
    return {i: Mask((*known[i], *shared)) if i in known else common for i in workspace_ids}


def mask_for(workspace_id: UUID) -> Mask:
    """The mask of one workspace."""
    return masks([workspace_id]).get(workspace_id, Mask(()))


def mask(reported: Sequence[tuple[UUID, Entry]]) -> list[tuple[UUID, Entry]]:
    """The same entries with every known value replaced by the name of its key."""
    known = masks({workspace_id for workspace_id, _ in reported})
    return [(i, _masked(entry, known[i]) if i in known else entry) for i, entry in reported]


def _masked(entry: Entry, known: Mask) -> Entry:
    return replace(entry, **{name: known.json(getattr(entry, name)) for name in (*TEXTS, *BODIES)})


def _masked_values(values: dict[str, str]) -> Values:
    return tuple(
        MaskedValue(form, f"[secret {_shortened(key)}]")
        for key, value in values.items()
        if len(value) >= SHORTEST_MASKED
        for form in sorted(set(_forms(value)))
        if len(form) >= SHORTEST_MASKED
    )


def _forms(value: str) -> Iterator[str]:
    """The forms in which the value may be sent: trimmed, as a number, with other line ends, in JSON, in a URL."""
    yield value
    stripped = value.strip()
    yield from _numbers(stripped)
    lines = stripped.splitlines()
    for text in {end.join(lines) for end in LINE_ENDS}:
        escaped = [json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]]
        encoded = quote(text, safe="")
        yield from (text, *escaped, *(each.replace("/", "\\/") for each in escaped))
        yield from (encoded, PERCENT_CODE.sub(lambda code: code[0].lower(), encoded))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _numbers(text: str) -> Iterator[str]:
    """The value as a JSON number, as Python prints it after parsing."""
    for read in (int, float):
        try:
            yield repr(read(text))
        except (ValueError, OverflowError):
            continue


def _shortened(key: str) -> str:
    return key if len(key) <= LONGEST_SHOWN_KEY else f"{key[: LONGEST_SHOWN_KEY - 1]}…"


def _occurrences(value: str, text: str) -> Iterator[tuple[int, int]]:
    """The places of the value in the text. Overlapping ones are one, found by a search for the last of them: a value of
    one repeated letter may occur at every position."""
    size = len(value)
    start = text.find(value)
    while start >= 0:
        last = start
        while (later := text.rfind(value, last + 1, last + 2 * size - 1)) >= 0:
            last = later
        yield start, last + size
        start = text.find(value, last + size)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans in order. Overlapping ones become one, with the replacement of the longest."""
    group: list[Span] = []
    end = 0
    for span in sorted(spans, key=lambda each: each[:2]):
        if group and span[0] >= end:
            yield _union(group)
            group = []
        end = max(end, span[1]) if group else span[1]
        group.append(span)
    if group:
        yield _union(group)


def _union(group: Sequence[Span]) -> Span:
    longest = max(group, key=lambda span: span[1] - span[0])
    return group[0][0], max(span[1] for span in group), longest[2]
