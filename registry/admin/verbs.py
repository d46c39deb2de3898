"""The verbs that may take a team along: what each is called, says, touches and does."""

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


def _any(workspace: Workspace) -> bool:
    return True


def _paused(workspace: Workspace) -> bool:
    return workspace.status == Status.PAUSED


def _not_paused(workspace: Workspace) -> bool:
    return workspace.status != Status.PAUSED


@dataclass(frozen=True, kw_only=True)
class Verb:
    """`operation(workspace_id, actor, forward_to)` returns how many it touched, or raises RegistryError.

    `applies` to the workspaces it can be said to; `touches` of their team those that would change; `root` and
    `team`: whether that means the workspace itself, and those below it.
    """

    name: str
    past_tense: str
    does: str
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
    def title(self) -> str:
        return self.name.capitalize()

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
    """The operation names the children; how many go with them is counted under its own lock."""
    with transaction.atomic():
        hierarchy.lock()
        below = len(hierarchy.descendants(workspace_id))
        teams.collapse(workspace_id, actor=actor)
        return below


def _remove(workspace_id: UUID, actor: str, forward_to: UUID | None) -> int:
    return len(removal.remove(workspace_id, actor=actor, confirm=True, forward_to=forward_to))


PAUSE = Verb(
    name="pause",
    past_tense="Paused",
    does="pauses",
    consequence="They get no work until they are resumed; a heartbeat does not wake them.",
    nothing_to_do="There is nothing to pause: it is paused or removed.",
    operation=_pause,
    applies=_not_paused,
    affects=_not_paused,
)
RESUME = Verb(
    name="resume",
    past_tense="Resumed",
    does="resumes",
    consequence="They start anew: provisioning, until their agents are heard of.",
    nothing_to_do="There is nothing to resume: it is not paused.",
    operation=_resume,
    applies=_paused,
    affects=_paused,
)
RESTART = Verb(
    name="restart",
    past_tense="Restarted",
    does="restarts",
    consequence="They start anew: provisioning, until their agents are heard of. Their teams are left as they are.",
    nothing_to_do="There is nothing to restart: it is paused or removed.",
    operation=_restart,
    applies=_not_paused,
    affects=_not_paused,
    includes_team=False,
)
COLLAPSE = Verb(
    name="collapse",
    past_tense="Removed",
    does="removes",
    consequence="The team goes for good: tokens stop working, and nobody comes back. History stays.",
    nothing_to_do="There is nothing to collapse: nobody is below.",
    operation=_collapse,
    includes_root=False,
    destructive=True,
)
REMOVE = Verb(
    name="remove",
    past_tense="Removed",
    does="removes",
    consequence="They go for good: their tokens stop working, and they never come back. Their history stays.",
    nothing_to_do="There is nothing to remove: it is removed already.",
    operation=_remove,
    can_forward=True,
    destructive=True,
)
VERBS = (PAUSE, RESUME, RESTART, COLLAPSE, REMOVE)
