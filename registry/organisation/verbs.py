"""The verbs on workspaces, for admin and canvas: names, texts, which workspaces they affect, and how they act."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from registry.exceptions import Conflict
from registry.models import Status, Workspace
from registry.organisation import pausing, removal, teams, workspaces
from registry.structure import hierarchy

PERMANENT = "This cannot be undone. Tokens are revoked and secrets deleted now; history is kept."
ACTIVE = frozenset(Status) - {Status.REMOVED}


@dataclass(frozen=True, kw_only=True)
class Verb:
    """`operation(workspace_id, actor, target)` returns how many workspaces it changed, or raises RegistryError.

    `statuses`: those of workspaces that it changes, chosen ones and members of their teams alike; `only_run_here`:
    only if Molecule runs their agents. `includes_root`, `includes_team`: whether it acts on the workspace itself, and
    on its team. `why_not`: why it does not apply. `target`: the field of the form that names another workspace, if it
    takes one. `menu`: its title in a menu. `can_be_undone`: whether undo.undo() can. `opposite`: the name of the verb
    that does the opposite, if any. `method`, `path`: its REST route.
    """

    name: str
    title: str
    past_tense: str
    consequence: str
    nothing_to_do: str
    operation: Callable[[UUID, str, UUID | None], int]
    method: str
    path: str
    statuses: frozenset[Status] = ACTIVE
    only_run_here: bool = False
    includes_root: bool = True
    includes_team: bool = True
    why_not: str = ""
    target: str = ""
    menu: str = ""
    destructive: bool = False
    can_be_undone: bool = False
    opposite: str = ""

    def applies(self, workspace: Workspace) -> bool:
        """Whether it would change this workspace."""
        return workspace.status in self.statuses and (not self.only_run_here or pausing.can_restart(workspace))

    def as_data(self) -> dict[str, Any]:
        """What a page needs to offer it, as JSON."""
        data = asdict(self) | {"statuses": sorted(self.statuses)}
        return {name: value for name, value in data.items() if name not in NOT_FOR_PAGES}


NOT_FOR_PAGES = {"operation", "nothing_to_do", "target"}
"""What only the admin needs."""


def _pause(workspace_id: UUID, actor: str, target: UUID | None) -> int:
    return pausing.pause(workspace_id, actor=actor)


def _resume(workspace_id: UUID, actor: str, target: UUID | None) -> int:
    return pausing.resume(workspace_id, actor=actor)


def _restart(workspace_id: UUID, actor: str, target: UUID | None) -> int:
    pausing.restart(workspace_id, actor=actor)
    return 1


def _collapse(workspace_id: UUID, actor: str, target: UUID | None) -> int:
    """The operation returns the children only; the lock keeps the count of the whole team right."""
    with transaction.atomic():
        hierarchy.lock()
        below = len(hierarchy.descendants(workspace_id))
        teams.remove_team(workspace_id, actor=actor)
        return below


def _move(workspace_id: UUID, actor: str, target: UUID | None) -> int:
    """The team goes along; the lock keeps its size right. Raises Conflict if the workspace is there already."""
    with transaction.atomic():
        hierarchy.lock()
        if Workspace.objects.active().filter(id=workspace_id, parent_id=target).exists():
            raise Conflict("it is there already")
        workspaces.update(workspace_id, {"parent_id": target}, actor=actor)
        return 1 + len(hierarchy.descendants(workspace_id))


def _remove(workspace_id: UUID, actor: str, target: UUID | None) -> int:
    return len(removal.remove(workspace_id, actor=actor, confirm=True, forward_to=target))


PAUSE = Verb(
    name="pause",
    title="Pause",
    past_tense="Paused",
    consequence="Paused workspaces get no work until they are resumed; heartbeats do not resume them.",
    nothing_to_do="Nothing to pause: already paused or removed.",
    operation=_pause,
    method="POST",
    path="/workspaces/{id}/pause",
    opposite="resume",
    why_not="already paused",
    statuses=ACTIVE - {Status.PAUSED},
)
RESUME = Verb(
    name="resume",
    title="Resume",
    past_tense="Resumed",
    consequence="Each is online again when its agent sends a heartbeat.",
    nothing_to_do="Nothing to resume: not paused.",
    operation=_resume,
    method="POST",
    path="/workspaces/{id}/resume",
    opposite="pause",
    why_not="not paused",
    statuses=frozenset({Status.PAUSED}),
)
RESTART = Verb(
    name="restart",
    title="Restart",
    past_tense="Restarted",
    consequence="The processes restart; their teams are not restarted.",
    nothing_to_do="Nothing to restart: paused, removed, or not run by this platform.",
    operation=_restart,
    method="POST",
    path="/workspaces/{id}/restart",
    why_not="paused, or not run by this platform",
    statuses=ACTIVE - {Status.PAUSED},
    only_run_here=True,
    includes_team=False,
)
MOVE = Verb(
    name="move",
    title="Move",
    past_tense="Moved",
    consequence="Their teams go along. Whom they may talk to changes at once.",
    nothing_to_do="Nothing to move: removed.",
    operation=_move,
    method="PATCH",
    path="/workspaces/{id}",
    target="move_to",
    menu="Move to",
    can_be_undone=True,
)
COLLAPSE = Verb(
    name="collapse",
    title="Remove team",
    past_tense="Removed",
    consequence=PERMANENT,
    nothing_to_do="This workspace has no team.",
    operation=_collapse,
    method="POST",
    path="/workspaces/{id}/collapse",
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
    method="DELETE",
    path="/workspaces/{id}?confirm=true",
    target="forward_to",
    destructive=True,
)
VERBS = (PAUSE, RESUME, RESTART, MOVE, COLLAPSE, REMOVE)
