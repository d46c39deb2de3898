"""Which agents receive which events: teams, which follow the hierarchy event by event.

Team P is P and its children. Events of W go to the team of its parent and to W's own team; an agent belongs to the same
two. So it receives events of itself, its parent, its children and its siblings, as access.rule() permits.
"""

import threading
from collections.abc import Iterable, Sequence
from itertools import islice

from django.db import connection
from django.db.models import Q, QuerySet

from activity.listeners import Listener
from activity.models import EventType, StructureEvent
from activity.outbox import Frame
from activity.principals import Kind, Principal
from activity.stream import Refused
from registry.identity import enrolment, refusals, sessions, tokens
from registry.models import Workspace
from registry.structure import shown_deployments

# Removed workspaces whose parents are kept, for their last events and for replays.
MAX_REMOVED = 10_000

REMOVED = "SELECT id::text, parent_id::text FROM workspaces WHERE id = ANY(%s::uuid[]) AND status = 'removed'"

# The id of the workspace at its top; None is the team of the roots.
Team = str | None

# These name the children, who are no peers of the workspace's parent and siblings.
OWN_TEAM = {EventType.WORKSPACE_EXPANDED, EventType.WORKSPACE_COLLAPSED}
# Agents do not receive these: they are about the canvas layout, enrolment, refused credentials and deployments.
FOR_CANVASES = {"LAYOUT_UPDATED", "VIEWPORT_UPDATED", enrolment.UPDATED, refusals.EVENT, shown_deployments.EVENT}


class Teams:
    """The hub's Audience: the parent of each active workspace.

    The parents of removed workspaces are kept too, so that peers receive their last events, but at most MAX_REMOVED of
    them. A replay reads others with load_removed(); they are still right, as a removed workspace never moves.
    """

    def __init__(self) -> None:
        self.parents: dict[str, Team] = {}
        self.removed_parents: dict[str, Team] = {}
        self.lock = threading.Lock()

    def load(self) -> tuple[int, str | None]:
        """Read the hierarchy. Returns the position of the last event that it includes, and the event's id.

        It is one statement, so all are of the same instant.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT w.id::text, w.parent_id::text, coalesce(log.seq, 0), log.id::text
                FROM (SELECT) AS once
                LEFT JOIN (SELECT seq, id FROM structure_events ORDER BY seq DESC LIMIT 1) AS log ON true
                LEFT JOIN workspaces w ON w.status <> 'removed'
                """
            )
            rows = cursor.fetchall()
        self.parents = {own: parent for own, parent, *_ in rows if own is not None}
        self.removed_parents = {}
        _own, _parent, position, event_id = rows[0]
        return position, event_id

    def load_removed(self, workspace_ids: Iterable[str]) -> None:
        """Read the parents of removed workspaces. Call it in a thread, before groups_for() and groups_of()."""
        unknown = [own for own in workspace_ids if own not in self.parents]
        if unknown:
            with connection.cursor() as cursor:
                cursor.execute(REMOVED, [unknown])
                self._note_removed(dict(cursor.fetchall()))

    def _note_removed(self, parents: dict[str, Team]) -> None:
        with self.lock:
            self.removed_parents |= parents
            for own in list(islice(self.removed_parents, max(0, len(self.removed_parents) - MAX_REMOVED))):
                del self.removed_parents[own]

    def fold(self, frame: Frame) -> bool:
        """Apply an event; returns whether it changed the hierarchy."""
        own = frame.workspace_id or ""
        match frame.event:
            case EventType.WORKSPACE_PROVISIONING:
                self.parents[own] = frame.payload.get("parent_id")
            case EventType.WORKSPACE_MOVED:
                self.parents[own] = frame.payload["new_parent_id"]
            case EventType.WORKSPACE_REMOVED:
                self._note_removed({own: self.parents.pop(own, None)})
            case _:
                return False
        return True

    def groups_for(self, frame: Frame) -> tuple[Team, ...]:
        """The teams that receive this event. A move goes to the old and the new team."""
        own = frame.workspace_id or ""
        parents = self.parents if own in self.parents else self.removed_parents
        if own not in parents or frame.event in FOR_CANVASES:
            return ()
        if frame.event in OWN_TEAM:
            return (own,)
        if frame.event == EventType.WORKSPACE_MOVED:
            payload = frame.payload
            return (payload["old_parent_id"], payload["new_parent_id"], own)
        return (parents[own], own)

    def groups_of(self, member: str) -> tuple[Team, ...] | None:
        """The teams an agent belongs to; None for a removed workspace. One not created yet receives its own events."""
        if member in self.removed_parents:
            return None
        return (self.parents[member], member) if member in self.parents else (member,)

    def backlog(self, events: QuerySet[StructureEvent], member: str) -> QuerySet[StructureEvent]:
        """A superset of the events that `member` may receive, chosen by the database; groups_for() decides."""
        *parent, own = self.groups_of(member) or (member,)
        peers = Q(parent_id=own) | Q(id__in=[own, *filter(None, parent)])
        for team in parent:
            peers |= Q(parent_id=team)
        # Each half has its own index, and PostgreSQL knows how many events these ids have: with a subquery for them, or
        # one condition with OR, it would read the whole log.
        of_peers = Q(workspace_id__in=list(Workspace.objects.filter(peers).values_list("id", flat=True)))
        moves = events.filter(~of_peers, event_type=EventType.WORKSPACE_MOVED)
        return events.filter(of_peers).union(moves, all=True)

    def unauthorized(self, listeners: Sequence[Listener]) -> list[Listener]:
        """The listeners whose credentials are no longer valid.

        One query checks all agents' tokens, one all operators' tokens, and two all sessions. Only if one of them seems
        to have changed, its socket is authenticated again, once for all sockets with that credential.
        """
        authorized = _agents(listeners)
        principals = _operators(listeners)
        for one in listeners:
            key = _key(one)
            if key not in authorized:
                authorized[key] = principals.get(key) == one.principal or _is_authorized(one)
        return [one for one in listeners if not authorized[_key(one)]]


def _key(listener: Listener) -> object:
    """Identifies the credential of a socket."""
    return listener.credential or listener.session or listener


def _agents(listeners: Sequence[Listener]) -> dict[object, bool]:
    """Whether each of their tokens is valid."""
    held = {one.principal.token_id for one in listeners if one.principal.kind == Kind.WORKSPACE} - {None}
    live = tokens.live_tokens([token for token in held if token is not None])
    return {str(token): token in live for token in held}


def _operators(listeners: Sequence[Listener]) -> dict[object, Principal]:
    """The principals of their tokens and sessions, as they are now."""
    others = [one for one in listeners if one.principal.kind == Kind.OPERATOR]
    held = {one.principal.token_id for one in others if one.principal.token_id is not None}
    found: dict[object, Principal] = {str(token): principal for token, principal in tokens.operators(held).items()}
    found.update(sessions.principals({one.session for one in others if one.session is not None}))
    return found


def _is_authorized(listener: Listener) -> bool:
    try:
        listener.identify()
    except Refused:
        return False
    return True
