"""Routes that belong to no app: lists that are always empty so far, and unknown paths."""

from typing import Any

from django.http import Http404, HttpResponseBase
from django.utils.cache import patch_vary_headers
from rest_framework.request import Request
from rest_framework.response import Response

from activity.endpoints import Endpoint, documented
from molecule import error_pages


class Nothing(Endpoint):
    """An empty list: front ends fetch these on load."""

    @documented("Empty so far", answers={200: {"type": "array", "items": {}}})
    def get(self, request: Request) -> Response:
        return Response([])


class NotFound(Endpoint):
    """Every path that no other route takes: JSON, for a browser a page."""

    schema = None

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if error_pages.wants_html(request):
            return error_pages.answer(request, 404)
        response = super().dispatch(request, *args, **kwargs)
        patch_vary_headers(response, ["Accept"])
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404
