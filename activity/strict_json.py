"""Strict JSON: one parser for the bodies of all entry points, and compact output of jsonb."""

import json
import re
from math import isinf
from typing import Any

import orjson
from django.conf import settings

MAX_DEPTH = 64
# orjson parses integers beyond 64 bits as floats, so texts with long runs of digits go through json. This translation
# finds them; a regular expression would take four times as long as orjson itself.
DIGITS_AS_ZEROS = bytes(ord("0") if chr(code) in "0123456789" else ord(" ") for code in range(256))
LONG_NUMBER = b"0" * 16
SPACES = b" \t\r\n"
# Also matches an unterminated text to its end, so that no byte is read twice.
TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


class Malformed(ValueError):
    """The body is not strict JSON; the message says why."""


class TooManyValues(Malformed):
    """The body has more values than are parsed."""


def parse(body: bytes, *, max_values: int | None = None) -> Any:
    """The value of a JSON body; an empty body is `{}`.

    Raises TooManyValues for more than `max_values` (MAX_JSON_VALUES by default), counted before anything is parsed.
    Raises Malformed, also for what PostgreSQL cannot store: \\u0000, lone surrogates, NaN and infinity.
    """
    most = settings.MAX_JSON_VALUES if max_values is None else max_values
    if _values_at_most(body) > most and _values_at_most(TEXT.sub(b"0", body).translate(None, SPACES)) > most:
        raise TooManyValues(f"more than {most} values")
    try:
        value = DECODER.decode(body.decode("utf-8") or "{}")
    except UnicodeDecodeError:
        raise Malformed("body is not UTF-8") from None
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(f"malformed JSON: {error}") from None
    # Without an escape no text can have what is refused, and few brackets cannot be nested deeply.
    if b"\\" in body or body.count(b"[") + body.count(b"{") >= MAX_DEPTH:
        _check(value, MAX_DEPTH)
    return value


def compact(text: str) -> orjson.Fragment:
    """PostgreSQL's text of a jsonb without the spaces after `:` and `,`, for JSONRenderer to insert as it is."""
    printed = text.encode()
    if LONG_NUMBER in printed.translate(DIGITS_AS_ZEROS):
        return orjson.Fragment(json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False))
    return orjson.Fragment(orjson.dumps(orjson.loads(printed)))


def json_fragment(text: str | None) -> orjson.Fragment | None:
    """The text of a jsonb value, for JSONRenderer to insert without parsing it; None for NULL and for `null`."""
    return None if text in (None, "null") else orjson.Fragment(text)


def _values_at_most(body: bytes) -> int:
    """An upper bound for the number of values: each but the first follows `[`, `{` or `,`. Those in texts count too."""
    opened = body.count(b"[") + body.count(b"{") - body.count(b"[]") - body.count(b"{}")
    return 1 + body.count(b",") + opened


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parse_float(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise Malformed("number out of range")
    return number


DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_parse_float)


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise Malformed(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth - 1)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise Malformed("strings must not contain \\u0000")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Malformed("strings must not contain lone surrogates") from None
