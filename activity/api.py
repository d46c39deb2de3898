"""REST views of the event log and of activity."""

from typing import Any
from uuid import UUID

from rest_framework.response import Response

from activity import log
from activity.endpoints import Endpoint, documented
from activity.events import read
from activity.serializers import ActivityQuery, ActivityRow, EventQuery, EventRow


class Events(Endpoint):
    @documented("The structural log", query=EventQuery, answers={200: EventRow(many=True)})
    def get(self, request: Any) -> Response:
        return Response(EventRow(read(**self.query(EventQuery)), many=True).data)


class WorkspaceEvents(Endpoint):
    @documented(
        "One workspace's timeline", name="workspace_events_list", query=EventQuery, answers={200: EventRow(many=True)}
    )
    def get(self, request: Any, workspace_id: UUID) -> Response:
        return Response(EventRow(read(workspace_id=workspace_id, **self.query(EventQuery)), many=True).data)


class Activity(Endpoint):
    @documented("Activity of all workspaces", query=ActivityQuery, answers={200: ActivityRow(many=True)})
    def get(self, request: Any) -> Response:
        return Response(ActivityRow(log.recent(**self.query(ActivityQuery)), many=True).data)
