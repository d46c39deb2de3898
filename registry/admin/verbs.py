"""The verbs that may include a team: names, texts, which workspaces they affect, and their operations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.urls import reverse

from registry.admin import plans
from registry.admin.plans import Plan
from registry.models import Status, Workspace
from registry.organisation import pausing, removal, teams
from registry.structure import hierarchy

PERMANENT = "This cannot be undone. Tokens are revoked and secrets deleted now; history is kept."


def _any(workspace: Workspace) -> bool:
    return True


def _paused(workspace: Workspace) -> bool:
    return workspace.status == Status.PAUSED


def _not_paused(workspace: Workspace) -> bool:
    return workspace.status != Status.PAUSED


def _restartable(workspace: Workspace) -> bool:
    return _not_paused(workspace) and pausing.can_restart(workspace)


@dataclass(frozen=True, kw_only=True)
class Verb:
    """`operation(workspace_id, actor, forward_to)` returns how many workspaces it changed, or raises RegistryError.

    `applies`: whether it can be used on a workspace; `affects`: whether it would change one of the team;
    `includes_root`, `includes_team`: whether it acts on the workspace itself, and on its team.
    """

    name: str
    title: str
    past_tense: str
    consequence: str
    nothing_to_do: str
    operation: Callable[[UUID, str, UUID | None], int]
    applies: plans.Predicate = _any
    affects: plans.Predicate = _any
    includes_root: bool = True
    includes_team: bool = True
    can_forward: bool = False
    destructive: bool = False

    @property
    def url_name(self) -> str:
        return f"registry_workspace_{self.name}"

    @property
    def url(self) -> str:
        return reverse(f"admin:{self.url_name}")

    def plan(self, chosen: Sequence[UUID]) -> Plan:
        return plans.plan_for(
            chosen,
            applies=self.applies,
            affects=self.affects,
            includes_root=self.includes_root,
            includes_team=self.includes_team,
        )


def _pause(workspace_id: UUID, actor: str, forward_to: UUID | None) -> int:
    return pausing.pause(workspace_id, actor=actor)


def _resume(workspace_id: UUID, actor: str, forward_to: UUID | None) -> int:
    return pausing.resume(workspace_id, actor=actor)


def _restart(workspace_id: UUID, actor: str, forward_to: UUID | None) -> int:
    pausing.restart(workspace_id, actor=actor)
    return 1


def _collapse(workspace_id: UUID, actor: str, forward_to: UUID | None) -> int:
    """The operation returns the children only; the lock keeps the count of the whole team right."""
    with transaction.atomic():
        hierarchy.lock()
        below = len(hierarchy.descendants(workspace_id))
        teams.remove_team(workspace_id, actor=actor)
        return below


def _remove(workspace_id: UUID, actor: str, forward_to: UUID | None) -> int:
    return len(removal.remove(workspace_id, actor=actor, confirm=True, forward_to=forward_to))


PAUSE = Verb(
    name="pause",
    title="Pause",
    past_tense="Paused",
    consequence="Paused workspaces get no work until they are resumed; heartbeats do not resume them.",
    nothing_to_do="Nothing to pause: already paused or removed.",
    operation=_pause,
    applies=_not_paused,
    affects=_not_paused,
)
RESUME = Verb(
    name="resume",
    title="Resume",
    past_tense="Resumed",
    consequence="They are provisioning until their agents send heartbeats.",
    nothing_to_do="Nothing to resume: not paused.",
    operation=_resume,
    applies=_paused,
    affects=_paused,
)
RESTART = Verb(
    name="restart",
    title="Restart",
    past_tense="Restarted",
    consequence="The processes restart; their teams are not restarted.",
    nothing_to_do="Nothing to restart: paused, removed, or not run by this platform.",
    operation=_restart,
    applies=_restartable,
    affects=_restartable,
    includes_team=False,
)
COLLAPSE = Verb(
    name="collapse",
    title="Remove team",
    past_tense="Removed",
    consequence=PERMANENT,
    nothing_to_do="This workspace has no team.",
    operation=_collapse,
    includes_root=False,
    destructive=True,
)
REMOVE = Verb(
    name="remove",
    title="Remove",
    past_tense="Removed",
    consequence=PERMANENT,
    nothing_to_do="Nothing to remove: already removed.",
    operation=_remove,
    can_forward=True,
    destructive=True,
)
VERBS = (PAUSE, RESUME, RESTART, COLLAPSE, REMOVE)
