"""DRF's parser, renderer and content negotiation: strict JSON in, compact JSON out."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import APIException, ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.renderers import JSONRenderer as Renderer
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

from activity import strict_json


class BodyTooLarge(APIException):
    """A body with too many values; molecule/limits.py refuses those with too many bytes."""

    status_code = 413


class JSONParser(BaseParser):
    """Parses bodies with activity.strict_json."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """A view may allow more values than MAX_JSON_VALUES: `max_json_values`."""
        view = (parser_context or {}).get("view")
        try:
            return strict_json.parse(stream.read(), max_values=getattr(view, "max_json_values", None))
        except strict_json.TooManyValues as error:
            raise BodyTooLarge(str(error)) from None
        except strict_json.Malformed as error:
            raise ParseError(str(error)) from None


class JSONRenderer(Renderer):
    """Same output as DRF's renderer, but with orjson. DRF encodes types and values that orjson cannot."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if renderer_context:
            # Breaks a reference cycle, so that the response is freed as soon as it was sent.
            renderer_context.pop("response", None)
        if data is None:
            return b""
        try:
            return orjson.dumps(data, default=_drf_default, option=orjson.OPT_UTC_Z)
        except orjson.JSONEncodeError:
            # Integers beyond 64 bits (in agent cards), keys that are not strings.
            return super().render(data, accepted_media_type, renderer_context)


class AlwaysJSON(BaseContentNegotiation):
    """Always responds with JSON, whatever the Accept header says."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser | None:
        content_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == content_type), None)

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


_drf_default = JSONEncoder().default
