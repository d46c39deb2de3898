"""What a verb would touch, known before it does: of each chosen workspace the team that goes along."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from registry.models import Workspace

Predicate = Callable[[Workspace], bool]


@dataclass(frozen=True, kw_only=True)
class Team:
    """A workspace to act on, and those of its team that it `affects`, the nearest first."""

    root: Workspace
    descendants: list[Workspace]
    affected: list[Workspace]


@dataclass(frozen=True, kw_only=True)
class Plan:
    teams: list[Team]

    @property
    def size(self) -> int:
        return sum(len(team.affected) for team in self.teams)

    @property
    def affects_only_chosen(self) -> bool:
        """Nothing is touched but the one that was chosen."""
        return len(self.teams) == 1 and self.teams[0].affected == [self.teams[0].root]

    @property
    def fingerprint(self) -> str:
        ids = sorted(str(w.id) for team in self.teams for w in team.affected)
        return hashlib.sha256(",".join(ids).encode()).hexdigest()[:32]


def plan_for(
    chosen: Sequence[UUID], *, applies: Predicate, affects: Predicate, includes_root: bool, includes_team: bool
) -> Plan:
    """Of the chosen, the living that it `applies` to and that are not below another one of them.

    `root` and `team`: whether the verb affects the workspace itself, and those below it. Two queries.
    """
    children = _children_by_parent() if includes_team else {}
    below = {one: list(_descendants(one, children)) for one in chosen}
    rows = {w.id: w for w in _rows({*chosen, *(one for ids in below.values() for one in ids)})}
    roots = [one for one in chosen if one in rows and applies(rows[one])]
    covered = {one for root_id in roots for one in below[root_id]}
    return Plan(teams=[_team(one, below[one], rows, affects, includes_root) for one in roots if one not in covered])


def _team(
    root_id: UUID, below: list[UUID], rows: dict[UUID, Workspace], affects: Predicate, includes_root: bool
) -> Team:
    team = [rows[one] for one in below if one in rows]
    candidates = [rows[root_id], *team] if includes_root else team
    return Team(root=rows[root_id], descendants=team, affected=[one for one in candidates if affects(one)])


def _children_by_parent() -> dict[UUID | None, list[UUID]]:
    """The whole hierarchy at once: many may be chosen, and each would cost a query of its own."""
    children: dict[UUID | None, list[UUID]] = {}
    for one, parent in Workspace.objects.living().values_list("id", "parent_id").order_by("name", "id"):
        children.setdefault(parent, []).append(one)
    return children


def _descendants(root: UUID, children: dict[UUID | None, list[UUID]]) -> Iterable[UUID]:
    """Nearest first. The database refuses cycles; this ends on one all the same."""
    seen, level = {root}, [root]
    while level:
        level = [child for parent in level for child in children.get(parent, ()) if child not in seen]
        seen.update(level)
        yield from level


def _rows(ids: set[UUID]) -> Iterable[Workspace]:
    shown = ("name", "status", "current_task", "parent__name")
    return Workspace.objects.living().filter(id__in=ids).select_related("parent").only(*shown)
