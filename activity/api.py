"""REST views of the event log and of activity."""

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from activity import cursors, events, log
from activity.endpoints import Endpoint, documented, paged
from activity.log import Listed
from activity.serializers import ActivityQuery, ActivityRow, EventQuery, EventRow
from activity.strict_json import stored


class Events(Endpoint):
    @documented("The structural log", query=EventQuery, answers={200: EventRow(many=True)})
    def get(self, request: Any) -> Response:
        return _events(request, **self.query(EventQuery))


class WorkspaceEvents(Endpoint):
    @documented(
        "One workspace's timeline", name="workspace_events_list", query=EventQuery, answers={200: EventRow(many=True)}
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        return _events(request, workspace_id=workspace_id, **self.query(EventQuery))


class Activity(Endpoint):
    @documented("Activity of all workspaces", query=ActivityQuery, answers={200: ActivityRow(many=True)})
    def get(self, request: Any) -> Response:
        return activity(request, log.page(**self.query(ActivityQuery)))


def activity(request: Request, listed: Listed) -> Response:
    """The answer with a page of activity. A cursor replaces the times, except the end of what is older."""
    links = {}
    for relation, cursor in listed.following.items():
        replaced = ("before",) if isinstance(cursor, cursors.Older) else ("before", "since")
        links[relation] = dict.fromkeys(replaced) | {"cursor": cursors.encode(cursor)}
    return paged(request, listed.rows, links)


def _events(request: Request, **query: Any) -> Response:
    page = events.page(**query)
    rows = [row | {"payload": stored(row["payload"])} for row in page.rows]
    direction = "before" if query.get("after") is None else "after"
    return paged(request, rows, {"next": {direction: str(rows[-1]["seq"])}} if page.more else {})
