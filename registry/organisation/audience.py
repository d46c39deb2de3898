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

# Removed workspaces whose parent is kept: those of a replayed page, and those whose last events are on their way.
MOST_FORMER = 10_000

REMOVED = "SELECT id::text, parent_id::text FROM workspaces WHERE id = ANY(%s::uuid[]) AND status = 'removed'"

# The id of the workspace at its top; None is the team of the roots.
Team = str | None

# These name the children, who are no peers of the workspace's parent and siblings.
OWN_TEAM = {EventType.WORKSPACE_EXPANDED, EventType.WORKSPACE_COLLAPSED}
# Agents do not receive these: they are about the canvas layout, enrolment and refused credentials.
FOR_CANVASES = {"LAYOUT_UPDATED", "VIEWPORT_UPDATED", enrolment.UPDATED, refusals.EVENT}


class Teams:
    """The hub's Audience: the parents of the active workspaces.

    Those of removed ones are forgotten, the oldest first, beyond MOST_FORMER. Peers receive their last events, and
    recall() reads those that a replay needs, as a removed workspace never moves.
    """

    def __init__(self) -> None:
        self.parents: dict[str, Team] = {}
        self.former: dict[str, Team] = {}
        self.lock = threading.Lock()

    def load(self) -> tuple[int, str | None]:
        """Read the hierarchy; returns the position that it is of, and the id of the event there. One statement, so all
        are of the same instant."""
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
        self.former = {}
        _own, _parent, position, event_id = rows[0]
        return position, event_id

    def recall(self, workspace_ids: Iterable[str]) -> None:
        """Read the parents of those that were removed. Call it in a thread, before groups_for() and groups_of()."""
        unknown = [own for own in workspace_ids if own not in self.parents]
        if unknown:
            with connection.cursor() as cursor:
                cursor.execute(REMOVED, [unknown])
                self._note_removed(dict(cursor.fetchall()))

    def _note_removed(self, parents: dict[str, Team]) -> None:
        with self.lock:
            self.former |= parents
            for own in list(islice(self.former, max(0, len(self.former) - MOST_FORMER))):
                del self.former[own]

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
        parents = self.parents if own in self.parents else self.former
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
        if member in self.former:
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

        All agents' tokens are checked in one query, all operators' tokens in one, all sessions in two. Only a
        credential that is not as it was is asked for by itself, once for all of its sockets.
        """
        authorized = _agents(listeners)
        principals = _operators(listeners)
        for one in listeners:
            key = _key(one)
            if key not in authorized:
                authorized[key] = principals.get(key) == one.principal or _is_authorized(one)
        return [one for one in listeners if not authorized[_key(one)]]


def _key(listener: Listener) -> object:
    """What sockets of one credential share."""
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
