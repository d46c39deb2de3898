"""Which workspaces a verb affects: the chosen ones and, for some verbs, the teams below them."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.utils.safestring import SafeString

from registry.admin import columns
from registry.models import Workspace

Predicate = Callable[[Workspace], bool]


@dataclass(frozen=True, kw_only=True)
class Team:
    """A workspace to act on (`root`), its team, and which of both the verb affects; nearest to the root first."""

    root: Workspace
    descendants: list[Workspace]
    affected: list[Workspace]

    @property
    def rows(self) -> list[tuple[Workspace, SafeString]]:
        """The affected workspaces, each with its state."""
        return [(one, columns.state(one)) for one in self.affected]

    @property
    def fingerprint(self) -> str:
        """Identifies what the page shows of the affected workspaces, except what heartbeats change."""
        shown = sorted(f"{one.id} {one.parent_id} {one.name}" for one in self.affected)
        return hashlib.sha256("\n".join(shown).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`chosen`: the selected workspaces that the verb applies to, also those in the team of another one."""

    teams: list[Team]
    chosen: list[UUID]

    @property
    def size(self) -> int:
        return sum(len(team.affected) for team in self.teams)

    @property
    def in_teams(self) -> int:
        """How many are affected that were not chosen themselves."""
        return len({w.id for team in self.teams for w in team.affected}.difference(self.chosen))

    @property
    def affects_only_chosen(self) -> bool:
        """Whether a single workspace is affected, the chosen one."""
        return len(self.teams) == 1 and self.teams[0].affected == [self.teams[0].root]

    @property
    def fingerprint(self) -> str:
        """Identifies the affected workspaces, to notice that they changed after they were shown."""
        return hashlib.sha256(",".join(sorted(team.fingerprint for team in self.teams)).encode()).hexdigest()[:32]


def plan_for(
    chosen: Sequence[UUID], *, applies: Predicate, affects: Predicate, includes_root: bool, includes_team: bool
) -> Plan:
    """Returns one team for each chosen active workspace that the verb `applies` to and that is not below another.

    `includes_root`, `includes_team`: whether the verb affects the workspace itself, and its team. Two queries.
    """
    children = _children_by_parent() if includes_team else {}
    below = {one: list(_descendants(one, children)) for one in chosen}
    rows = {w.id: w for w in _rows({*chosen, *(one for ids in below.values() for one in ids)})}
    roots = [one for one in chosen if one in rows and applies(rows[one])]
    covered = {one for root_id in roots for one in below[root_id]}
    return Plan(
        teams=[_team(one, below[one], rows, affects, includes_root) for one in roots if one not in covered],
        chosen=roots,
    )


def _team(
    root_id: UUID, below: list[UUID], rows: dict[UUID, Workspace], affects: Predicate, includes_root: bool
) -> Team:
    team = [rows[one] for one in below if one in rows]
    candidates = [rows[root_id], *team] if includes_root else team
    return Team(root=rows[root_id], descendants=team, affected=[one for one in candidates if affects(one)])


def _children_by_parent() -> dict[UUID | None, list[UUID]]:
    """Reads the whole hierarchy in one query; one for each chosen workspace would cost more."""
    children: dict[UUID | None, list[UUID]] = {}
    for one, parent in Workspace.objects.active().values_list("id", "parent_id").order_by("name", "id"):
        children.setdefault(parent, []).append(one)
    return children


def _descendants(root: UUID, children: dict[UUID | None, list[UUID]]) -> Iterable[UUID]:
    """Nearest first. Terminates also on a cycle, although the database refuses them."""
    seen, level = {root}, [root]
    while level:
        level = [child for parent in level for child in children.get(parent, ()) if child not in seen]
        seen.update(level)
        yield from level


def _rows(ids: set[UUID]) -> Iterable[Workspace]:
    shown = ("name", "status", "enrolment_expires_at", "current_task", "parent__name")
    return Workspace.objects.active().filter(id__in=ids).select_related("parent").only(*shown)
