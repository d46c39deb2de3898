"""How requests and answers look on the wire: strict JSON in, compact JSON out."""

import json
from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.renderers import JSONRenderer as Renderer
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

MAX_DEPTH = 64


class JSONParser(BaseParser):
    """An absent body is `{}`. What PostgreSQL could not store (\\u0000, lone surrogates, NaN) is refused."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            value = json.loads(stream.read().decode("utf-8") or "{}", parse_constant=_refuse_constant)
        except UnicodeDecodeError:
            raise ParseError("body is not UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise ParseError(f"malformed JSON: {error}") from None
        _check(value, MAX_DEPTH)
        return value


class JSONRenderer(Renderer):
    """DRF's own, faster: what orjson does not know is put in DRF's words, what it cannot say DRF says."""

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if renderer_context:
            # The response refers to this context: without the way back it is freed as soon as it has left.
            renderer_context.pop("response", None)
        if data is None:
            return b""
        try:
            return orjson.dumps(data, default=_in_drf_words, option=orjson.OPT_UTC_Z)
        except orjson.JSONEncodeError:
            # Integers beyond 64 bits (of an agent card), keys that are no strings.
            return super().render(data, accepted_media_type, renderer_context)


class AlwaysJSON(BaseContentNegotiation):
    """There is one representation; what a client says it accepts does not change it."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser | None:
        content_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == content_type), None)

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


_in_drf_words = JSONEncoder().default


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise ParseError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
    elif isinstance(value, float) and value in (float("inf"), float("-inf")):
        raise ParseError("number out of range")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ParseError("strings must not contain \\u0000")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ParseError("strings must not contain lone surrogates") from None
