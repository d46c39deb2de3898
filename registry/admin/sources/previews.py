"""What would be created: the tree, the secrets that it needs, and all problems at once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from registry.admin import formats
from registry.config import agent_config
from registry.config.blueprints import Blueprint
from registry.exceptions import Invalid, Problem
from registry.models import GlobalSecret

MOST_SHOWN = 100
"""Problems on a page."""


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A secret that workspaces need. `is_set`: all workspaces have it; imported ones have none of their own."""

    name: str
    count: int
    is_set: bool


@dataclass(frozen=True)
class Node:
    """A workspace of the tree, and its team."""

    one: Blueprint

    @property
    def parts(self) -> list[str]:
        """What it is made of, in words."""
        files = [formats.counted(len(self.one.files), "file")] if self.one.files else []
        return [*files, *(text for text in (self.one.runtime, self.one.model) if text)]

    @property
    def team(self) -> list["Node"]:
        return [Node(child) for child in self.one.children]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """`ignored`: keys that mean nothing here, with their places."""

    roots: Sequence["Node"]
    problems: Sequence[Problem] = ()
    ignored: Sequence[str] = ()
    variables: Sequence[Variable] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many workspaces."""
        return sum(root.one.size for root in self.roots)

    @property
    def has_team(self) -> bool:
        return self.count > 1

    @property
    def files(self) -> int:
        """How many, of all workspaces."""
        return sum(len(one.files) for root in self.roots for one in root.one.walk())

    @property
    def shown_problems(self) -> Sequence[Problem]:
        return self.problems[:MOST_SHOWN]

    @property
    def more_problems(self) -> int:
        return max(len(self.problems) - MOST_SHOWN, 0)


def preview(roots: Sequence[Blueprint], problems: Sequence[Problem] = (), ignored: Sequence[str] = ()) -> Preview:
    """What these blueprints would create. One query."""
    needed = Counter(name for root in roots for one in root.walk() for name in _required(one))
    known = set(GlobalSecret.objects.filter(key__in=needed).values_list("key", flat=True)) if needed else set()
    variables = [Variable(name=name, count=needed[name], is_set=name in known) for name in sorted(needed)]
    return Preview(roots=[Node(root) for root in roots], problems=problems, ignored=ignored, variables=variables)


def _required(one: Blueprint) -> Iterator[str]:
    """None of a file that cannot be read, which is a problem of its own."""
    if agent_config.NAME in one.files:
        try:
            yield from agent_config.read(one.files[agent_config.NAME].data).required_env
        except Invalid:
            return
