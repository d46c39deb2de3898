"""Listener: a socket of the hub. Audience: the rules for which listeners receive an event."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from django.db.models import QuerySet

from activity.models import StructureEvent
from activity.outbox import Frame, Outbox
from activity.principals import Principal

# Groups of listeners: operators receive everything; some ask for heartbeats too. An audience adds its own groups.
CANVASES = "canvases"
BEATS = "beats"


@dataclass(eq=False)
class Listener:
    """One socket: its outbox, its principal and the groups that it receives.

    `member` is the id of an agent's workspace; the audience decides its groups. `identify` authenticates the socket
    again and raises Refused if its credential no longer counts. `session` is the key of the session that opened it.
    """

    outbox: Outbox
    principal: Principal
    identify: Callable[[], Principal]
    member: str | None = None
    groups: tuple[Hashable, ...] = ()
    session: str | None = None

    @property
    def credential(self) -> str | None:
        """The id of its token; None for sessions."""
        return None if self.principal.token_id is None else str(self.principal.token_id)


class Audience(Protocol):
    """Decides which agents receive an event. It applies the log event by event, in the hub's order."""

    def load(self) -> tuple[int, str | None]:
        """Read the current state from the tables. Returns position and id of the last event that it includes."""

    def fold(self, frame: Frame) -> bool:
        """Apply an event. Returns True if it changes which groups its workspace receives."""

    def groups_for(self, frame: Frame) -> tuple[Hashable, ...]:
        """The groups that receive the frame, by the current state."""

    def load_removed(self, workspace_ids: Iterable[str]) -> None:
        """Read what groups_for() and groups_of() need for removed workspaces among these. Queries the database."""

    def groups_of(self, member: str) -> tuple[Hashable, ...] | None:
        """The groups that a member receives, by the current state; None if it may not receive anything."""

    def backlog(self, events: QuerySet[StructureEvent], member: str) -> QuerySet[StructureEvent]:
        """Narrow a query to events that a member may receive; a few others may remain."""

    def unauthorized(self, listeners: Sequence[Listener]) -> list[Listener]:
        """The listeners whose credential is no longer valid."""
