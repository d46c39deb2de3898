"""Endpoint: the base of all REST views, which read the request, call one operation and respond."""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from activity.fields import RequestFields
from activity.parameters import BadParameter, Parameters
from activity.principals import Principal

UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
PATH_IDS = {"workspace_id": "workspace", "token_id": "token"}
Method = TypeVar("Method", bound=Callable[..., Any])
Filter = TypeVar("Filter")


class Endpoint(APIView):
    """Views get ids in the path as UUIDs; `principal` is the authenticated caller."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        for name, what in PATH_IDS.items():
            if name in self.kwargs:
                self.kwargs[name] = kwargs[name] = path_uuid(self.kwargs[name], what)
        super().initial(request, *args, **kwargs)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Drop the view's reference to its response, which would keep megabytes until the garbage collector runs."""
        response = super().dispatch(request, *args, **kwargs)
        del self.response
        return response

    @property
    def principal(self) -> Principal:
        principal: Any = self.request.auth
        return principal  # type: ignore[no-any-return]

    @property
    def workspace_id(self) -> UUID:
        """The workspace named in the path."""
        return self.kwargs["workspace_id"]  # type: ignore[no-any-return]

    def body(self, kind: type[serializers.BaseSerializer[Any]], **options: Any) -> dict[str, Any]:
        """The validated body. Raises ValidationError."""
        serializer = kind(data=self.request.data, **options)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data  # type: ignore[no-any-return]

    def ignored(self, kind: type[RequestFields]) -> dict[str, list[str]]:
        """The part of a response that names the fields of the body which were ignored; {} if there were none."""
        names = kind.ignored(self.request.data)
        return {"ignored_fields": names} if names else {}

    def query(self, kind: type[serializers.BaseSerializer[Any]]) -> dict[str, Any]:
        """The validated query parameters. Raises ValidationError."""
        serializer = kind(data=self.request.query_params)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data  # type: ignore[no-any-return]

    def filter(self, parse: Callable[[Parameters], Filter]) -> Filter:
        """What `parse` makes of the query parameters. Raises ValidationError."""
        try:
            return parse(dict(self.request.query_params.lists()))
        except BadParameter as error:
            raise ValidationError({error.field: [error.message]}) from None


def paged(request: Request, rows: list[dict[str, Any]], links: Mapping[str, Mapping[str, str | None]]) -> Response:
    """The response with a page of a list. `links` has, for each link relation, the query parameters that it changes."""
    headers = {"Link": ", ".join(link(request, relation, **changed) for relation, changed in links.items())}
    return Response(rows, headers=headers if links else None)


def link(request: Request, relation: str, **changed: str | None) -> str:
    """One entry of a `Link` header: this request with other query parameters; None removes one."""
    query = request.query_params.copy()
    for name, value in changed.items():
        query.pop(name, None)
        if value is not None:
            query[name] = value
    return f'<{request.path}?{query.urlencode()}>; rel="{relation}"'


def path_uuid(value: str, what: str) -> UUID:
    """The UUID in a path; `what` names it in the error. Raises ParseError."""
    if not UUID_TEXT.fullmatch(value):
        raise ParseError(f"invalid {what} id")
    return UUID(value)


def error_body(error: ValidationError) -> dict[str, str]:
    """The response body for the first error: `error` (text), `code`, and `field` if it concerns one."""
    field, message, code = _first(error.get_full_details())
    return {"error": f"{field}: {message}" if field else message, "code": code} | ({"field": field} if field else {})


def _first(details: Any, field: str = "") -> tuple[str, str, str]:
    """Field path, message and code of the first error in DRF's nested details."""
    if isinstance(details, list):
        index, item = next((i, d) for i, d in enumerate(details) if d)
        at_leaf = isinstance(item, dict) and set(item) == {"message", "code"}
        return _first(item, field if at_leaf or not field else f"{field}[{index}]")
    if set(details) == {"message", "code"}:
        return field, str(details["message"]), str(details["code"])
    name, inner = next(iter(details.items()))
    if name == "non_field_errors":
        return _first(inner, field)
    return _first(inner, f"{field}.{name}" if field else name)


class Problem(serializers.Serializer[Any]):
    """The body of every error response."""

    error = serializers.CharField(help_text="What is wrong.")
    field = serializers.CharField(required=False)
    code = serializers.CharField(required=False)


def documented(
    summary: str,
    *,
    request: Any = None,
    answers: dict[int | tuple[int, str], Any],
    errors: tuple[int, ...] = (),
    query: type[serializers.Serializer[Any]] | None = None,
    name: str | None = None,
) -> Callable[[Method], Method]:
    """Decorator: the OpenAPI description of a method. `name` replaces the operation id derived from the path.

    The errors 400, 401, 403, 415, 429 and 503 are always included, and 413 where there is a body.
    """
    with_body = () if request is None else (413,)
    responses = dict.fromkeys((400, 401, 403, *with_body, 415, 429, 503, *errors), Problem) | answers
    parameters: list[Any] = [query] if query else []
    header = OpenApiParameter(
        "X-Workspace-ID", str, OpenApiParameter.HEADER, description="Beside a workspace's token: its id."
    )
    return extend_schema(
        operation_id=name, summary=summary, request=request, responses=responses, parameters=[*parameters, header]
    )
