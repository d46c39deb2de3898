"""Who listens, and who says what they hear."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from django.db.models import QuerySet

from activity.models import StructureEvent
from activity.outbox import Frame, Outbox
from activity.principals import Principal

# Who hears everything, and who asked for heartbeats as well. An audience has groups of its own besides.
CANVASES = "canvases"
BEATS = "beats"


@dataclass(eq=False)
class Listener:
    """One socket: where it is sent to, who asked for it, and the groups it hears.

    `member`: the workspace whose agent it is, whose groups the audience says. `identify` asks again who they are.
    """

    outbox: Outbox
    principal: Principal
    identify: Callable[[], Principal]
    member: str | None = None
    groups: tuple[Hashable, ...] = ()

    @property
    def credential(self) -> str | None:
        return None if self.principal.token_id is None else str(self.principal.token_id)


class Audience(Protocol):
    """Who hears what besides the canvases: follows the log, event by event, in the hub's order."""

    def load(self) -> int:
        """Read the present from the tables; returns the position it is true for."""

    def fold(self, frame: Frame) -> bool:
        """Take in what a persisted event changes; True when it changes what its workspace hears."""

    def groups_for(self, frame: Frame) -> tuple[Hashable, ...]:
        """Which groups hear it, as things are now."""

    def groups_of(self, member: str) -> tuple[Hashable, ...] | None:
        """Which groups a member hears, as things are now; None: nothing any more."""

    def backlog(self, events: QuerySet[StructureEvent], member: str) -> QuerySet[StructureEvent]:
        """Those that a member may hear, or a few more."""

    def unauthorized(self, listeners: Sequence[Listener]) -> list[Listener]:
        """Whose credential is good no more."""
