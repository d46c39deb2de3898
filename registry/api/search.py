"""REST for what somebody looks for while they type."""

from typing import Any

from rest_framework import serializers
from rest_framework.response import Response

from activity.endpoints import Endpoint, documented
from activity.fields import LimitField, RequestFields
from activity.parameters import LONGEST_TEXT
from registry.organisation.search import MOST, search


class SearchQuery(RequestFields):
    """What was typed so far."""

    q = serializers.CharField(required=False, default="", max_length=LONGEST_TEXT)
    limit = LimitField(most=MOST, default=MOST)


class WorkspaceHit(serializers.Serializer[Any]):
    """What a list of hits shows of a workspace."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    role = serializers.CharField()
    path = serializers.ListField(child=serializers.CharField(), help_text="Names above it, from the root down.")
    status = serializers.CharField()
    enrolment_expires_at = serializers.DateTimeField(allow_null=True)


class SearchResponse(serializers.Serializer[Any]):
    """Hits by kind."""

    workspaces = WorkspaceHit(many=True)


class Search(Endpoint):
    """`GET /search`"""

    @documented(
        "Workspaces by name, role or id, the best matches first", query=SearchQuery, answers={200: SearchResponse}
    )
    def get(self, request: Any) -> Response:
        query = self.query(SearchQuery)
        return Response({"workspaces": [vars(hit) for hit in search(query["q"], query["limit"])]})
