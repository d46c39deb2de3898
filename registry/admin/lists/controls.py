"""The controls of a filter bar: what they offer, and which conditions their parameters mean."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from django.db.models import Q

from activity import parameters
from activity.parameters import Parameters

Choices = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A filter in force: what it says, and the parameter that it comes from. `value` is one of several."""

    label: str
    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Option:
    """One value that can be chosen."""

    name: str
    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, kw_only=True)
class Control:
    """One part of a filter bar. `kind` chooses its HTML; one that is "hidden" is set by links only."""

    label: str
    kind: ClassVar[str]

    @property
    def names(self) -> Sequence[str]:
        """The parameters that it sets."""
        raise NotImplementedError

    def conditions(self, given: Parameters) -> list[Q]:
        """What the parameters mean for rows; none where the list has a filter of its own. Raises BadParameter."""
        return []

    def chips(self, given: Parameters) -> Iterator[Chip]:
        """The filters of this control that are in force."""
        for name in self.names:
            if value := _last(given, name):
                yield Chip(label=f"{self.label}: {value}", name=name, value=value)


@dataclass(frozen=True, kw_only=True)
class Named(Control):
    """A control with one parameter."""

    name: str

    @property
    def names(self) -> Sequence[str]:
        return (self.name,)

    def chip(self, value: str, label: str) -> Chip:
        return Chip(label=f"{self.label}: {label}", name=self.name, value=value)


@dataclass(frozen=True, kw_only=True)
class Text(Named):
    """An input for text. `hint` says what may be typed."""

    kind = "text"
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Hidden(Named):
    """A parameter that only links set. `title` makes what the chip says of the value."""

    kind = "hidden"
    title: Callable[[str], str] = str

    def chips(self, given: Parameters) -> Iterator[Chip]:
        if value := _last(given, self.name):
            yield self.chip(value, self.title(value))


@dataclass(frozen=True, kw_only=True)
class Several(Named):
    """Checkboxes. `choices` may be a function that reads them; `lookup` is the column, if the value is one of it."""

    kind = "several"
    choices: Choices | Callable[[], Choices]
    lookup: str = ""

    def options(self, given: Parameters) -> list[Option]:
        """The choices; also values that were asked for and are no longer among them."""
        chosen = parameters.several(given, self.name)
        offered = dict(self.choices() if callable(self.choices) else self.choices)
        offered |= {value: value for value in chosen if value not in offered}
        return [
            Option(name=self.name, value=value, label=label, is_chosen=value in chosen)
            for value, label in offered.items()
        ]

    def conditions(self, given: Parameters) -> list[Q]:
        if not self.lookup:
            return []
        allowed = None if callable(self.choices) else [value for value, _label in self.choices]
        chosen = parameters.several(given, self.name, allowed)
        return [Q(**{f"{self.lookup}__in": chosen})] if chosen else []

    def chips(self, given: Parameters) -> Iterator[Chip]:
        labels = {} if callable(self.choices) else dict(self.choices)
        for value in parameters.several(given, self.name):
            yield self.chip(value, labels.get(value, value))


@dataclass(frozen=True, kw_only=True)
class One(Named):
    """Radio buttons. `blank`: what no value means. `meaning`: the condition of each value, unless the list has a filter
    of its own."""

    kind = "one"
    choices: Choices
    blank: str = "Any"
    meaning: Callable[[str], Q] | None = None

    def options(self, given: Parameters) -> list[Option]:
        chosen = _last(given, self.name)
        offered = [("", self.blank), *self.choices]
        return [Option(name=self.name, value=value, label=label, is_chosen=value == chosen) for value, label in offered]

    def conditions(self, given: Parameters) -> list[Q]:
        chosen = parameters.choice(given, self.name, [value for value, _label in self.choices])
        return [self.meaning(chosen)] if chosen and self.meaning else []

    def chips(self, given: Parameters) -> Iterator[Chip]:
        if value := _last(given, self.name):
            yield self.chip(value, dict(self.choices).get(value, value))


@dataclass(frozen=True, kw_only=True)
class Flags(Control):
    """Checkboxes with a parameter each, whose value is 1."""

    kind = "several"
    flags: Choices

    @property
    def names(self) -> Sequence[str]:
        return [name for name, _label in self.flags]

    def options(self, given: Parameters) -> list[Option]:
        return [
            Option(name=name, value="1", label=label, is_chosen=parameters.flag(given, name))
            for name, label in self.flags
        ]

    def chips(self, given: Parameters) -> Iterator[Chip]:
        for name, label in self.flags:
            if parameters.flag(given, name):
                yield Chip(label=label, name=name, value=_last(given, name))


@dataclass(frozen=True, kw_only=True)
class Times(Control):
    """Two times, `after` and `before`: each a span such as 24h, or ISO 8601."""

    kind = "times"
    after: str
    before: str

    @property
    def names(self) -> Sequence[str]:
        return (self.after, self.before)

    def chips(self, given: Parameters) -> Iterator[Chip]:
        for name, word in ((self.after, "after"), (self.before, "before")):
            if value := _last(given, name):
                shown = f"{value} ago" if parameters.SPAN.fullmatch(value) else value
                yield Chip(label=f"{self.label} {word} {shown}", name=name, value=value)


def _last(given: Parameters, name: str) -> str:
    values = given.get(name) or [""]
    return values[-1].strip()
