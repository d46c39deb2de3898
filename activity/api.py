"""REST views of the event log and of activity."""

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from activity import cursors, events, filters, log
from activity.endpoints import Endpoint, documented, paged
from activity.filters import EventFilter
from activity.log import ActivityPage
from activity.serializers import ActivityPageQuery, ActivityQuery, ActivityRow, EventPageQuery, EventQuery, EventRow
from activity.strict_json import json_fragment


class Events(Endpoint):
    @documented("The structural log", query=EventQuery, answers={200: EventRow(many=True)})
    def get(self, request: Any) -> Response:
        return _events_response(request, self.filter(filters.events), **self.query(EventPageQuery))


class WorkspaceEvents(Endpoint):
    @documented(
        "One workspace's timeline", name="workspace_events_list", query=EventQuery, answers={200: EventRow(many=True)}
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        return _events_response(
            request, self.filter(filters.events), workspace_id=workspace_id, **self.query(EventPageQuery)
        )


class Activity(Endpoint):
    @documented("Activity of all workspaces", query=ActivityQuery, answers={200: ActivityRow(many=True)})
    def get(self, request: Any) -> Response:
        return activity_response(request, log.page(self.filter(filters.activity), **self.query(ActivityPageQuery)))


def activity_response(request: Request, page: ActivityPage) -> Response:
    """The response with a page of activity. In its links a cursor replaces the times; older pages keep `since`."""
    links = {}
    for relation, cursor in page.following.items():
        replaced = ("before", "until") if isinstance(cursor, cursors.Older) else ("before", "until", "since")
        links[relation] = dict.fromkeys(replaced) | {"cursor": cursors.encode(cursor)}
    return paged(request, page.rows, links)


def _events_response(request: Request, wanted: EventFilter, **query: Any) -> Response:
    page = events.page(wanted, **query)
    rows = [row | {"payload": json_fragment(row["payload"])} for row in page.rows]
    direction = "before" if query.get("after") is None else "after"
    return paged(request, rows, {"next": {direction: str(rows[-1]["seq"])}} if page.more else {})
