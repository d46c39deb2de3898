"""REST views of the event log and of activity."""

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from activity import cursors, events, log
from activity.endpoints import Endpoint, documented, paged
from activity.log import ActivityPage
from activity.serializers import ActivityQuery, ActivityRow, EventQuery, EventRow
from activity.strict_json import json_fragment


class Events(Endpoint):
    @documented("The structural log", query=EventQuery, answers={200: EventRow(many=True)})
    def get(self, request: Any) -> Response:
        return _events_response(request, **self.query(EventQuery))


class WorkspaceEvents(Endpoint):
    @documented(
        "One workspace's timeline", name="workspace_events_list", query=EventQuery, answers={200: EventRow(many=True)}
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        return _events_response(request, workspace_id=workspace_id, **self.query(EventQuery))


class Activity(Endpoint):
    @documented("Activity of all workspaces", query=ActivityQuery, answers={200: ActivityRow(many=True)})
    def get(self, request: Any) -> Response:
        return activity_response(request, log.page(**self.query(ActivityQuery)))


def activity_response(request: Request, page: ActivityPage) -> Response:
    """The response with a page of activity. In its links a cursor replaces the times; older pages keep `since`."""
    links = {}
    for relation, cursor in page.following.items():
        replaced = ("before",) if isinstance(cursor, cursors.Older) else ("before", "since")
        links[relation] = dict.fromkeys(replaced) | {"cursor": cursors.encode(cursor)}
    return paged(request, page.rows, links)


def _events_response(request: Request, **query: Any) -> Response:
    page = events.page(**query)
    rows = [row | {"payload": json_fragment(row["payload"])} for row in page.rows]
    direction = "before" if query.get("after") is None else "after"
    return paged(request, rows, {"next": {direction: str(rows[-1]["seq"])}} if page.more else {})
