"""Routes that belong to no app: what the product has none of yet, and what is not there."""

from typing import Any

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from activity.endpoints import Endpoint, documented


class Nothing(Endpoint):
    """Front ends fetch these lists on load."""

    @documented("Empty so far", answers={200: {"type": "array", "items": {}}})
    def get(self, request: Request) -> Response:
        return Response([])


class NotFound(Endpoint):
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404
