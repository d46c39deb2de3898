"""Which workspaces a verb affects: the chosen ones and, for some verbs, the teams below them."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.utils.safestring import SafeString

from registry.admin import states
from registry.models import Workspace
from registry.organisation.verbs import Verb
from registry.structure import deployments

MOST_SHOWN = 300
"""Workspaces on a confirmation page."""


@dataclass(frozen=True, kw_only=True)
class Team:
    """A workspace to act on (`root`), its team, and which of both the verb affects; nearest to the root first."""

    root: Workspace
    descendants: list[Workspace]
    affected: list[Workspace]

    @property
    def title(self) -> str:
        return f"{self.root} and its team" if self.root in self.affected else f"Team of {self.root}"

    @property
    def fingerprint(self) -> str:
        """Identifies what the page shows of the affected workspaces, except what heartbeats change."""
        shown = sorted(f"{one.id} {one.parent_id} {one.name}" for one in self.affected)
        return hashlib.sha256("\n".join(shown).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A chosen workspace that the verb does not apply to, and why."""

    workspace: Workspace
    why: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`chosen`: the selected workspaces that the verb applies to, also those in the team of another one."""

    teams: list[Team]
    chosen: list[UUID]
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(len(team.affected) for team in self.teams)

    @property
    def shown(self) -> list[tuple[str, list[tuple[Workspace, SafeString]]]]:
        """The first MOST_SHOWN affected workspaces, each with its state: those without a team together, then by team,
        each under a title."""
        alone = [team.root for team in self.teams if team.affected == [team.root]]
        parts = [(str(alone[0]) if len(alone) == 1 else "Without a team", alone)] if alone else []
        parts += [(team.title, team.affected) for team in self.teams if team.affected != [team.root]]
        left, found = MOST_SHOWN, []
        for title, affected in parts:
            found.append((title, [(one, states.state(one)) for one in affected[:left]]))
            left -= len(found[-1][1])
        return [(title, rows) for title, rows in found if rows]

    @property
    def not_shown(self) -> int:
        """How many affected workspaces are beyond those."""
        return max(self.size - MOST_SHOWN, 0)

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


def plan_for(verb: Verb, chosen: Sequence[UUID]) -> Plan:
    """Returns one team for each chosen active workspace that the verb applies to and that is not below another.

    Three queries at most.
    """
    children = _children_by_parent() if verb.includes_team else {}
    below = {one: list(_descendants(one, children)) for one in chosen}
    rows = {w.id: w for w in _rows({*chosen, *(one for ids in below.values() for one in ids)})}
    if verb.only_run_here:
        deployments.look_up(list(rows.values()))
    roots = [one for one in chosen if one in rows and verb.applies(rows[one])]
    covered = {one for root_id in roots for one in below[root_id]}
    return Plan(
        teams=[_team(one, below[one], rows, verb) for one in roots if one not in covered],
        chosen=roots,
        skipped=_skipped([one for one in chosen if one not in roots], rows, verb.why_not),
    )


def _skipped(ids: Sequence[UUID], active: dict[UUID, Workspace], why_not: str) -> list[Skipped]:
    gone = {w.id: w for w in Workspace.objects.filter(id__in=set(ids) - active.keys()).only("name")} if ids else {}
    whys = [(active.get(one) or gone.get(one), why_not if one in active else "removed") for one in ids]
    return [Skipped(workspace=row, why=why) for row, why in whys if row is not None]


def _team(root_id: UUID, below: list[UUID], rows: dict[UUID, Workspace], verb: Verb) -> Team:
    team = [rows[one] for one in below if one in rows]
    candidates = [rows[root_id], *team] if verb.includes_root else team
    return Team(root=rows[root_id], descendants=team, affected=[one for one in candidates if verb.applies(one)])


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
