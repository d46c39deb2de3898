"""Downloads of any length: produced part by part, so that memory stays flat and a client that hangs up ends them."""

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import StreamingHttpResponse

log = logging.getLogger(__name__)

FORMULA = re.compile(r"[\t\r\n]|[\s\u200b-\u200f\u2060\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that spreadsheets take for a formula: some skip spaces, and know signs of full width."""
INCOMPLETE = "This file is not complete: the export stopped after {rows:,} rows. {why}"
Values = Sequence[Any]


class Download(StreamingHttpResponse):
    """A file that molecule.threads sends part by part. `failure` makes the last part of one that cannot go on."""

    def __init__(
        self, parts: Iterator[bytes], failure: Callable[[str], bytes], *, name: str, content_type: str
    ) -> None:
        super().__init__(parts, content_type=content_type)
        self._failure = failure
        self.has_failed = False
        self["Content-Disposition"] = f'attachment; filename="{name}"'
        self["Cache-Control"] = "no-store"

    def fail(self, why: str) -> bytes:
        """The last part, which says why there are no more."""
        self.has_failed = True
        return self._failure(why)


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of files. `head` is before the rows; `encode` makes bytes of rows; `failure` of a sentence."""

    name: str
    label: str
    content_type: str
    head: Callable[[Sequence[str]], bytes]
    encode: Callable[[Sequence[str], Iterable[Values]], bytes]
    failure: Callable[[str], bytes]


def download(
    form: Format, columns: Sequence[str], batches: Generator[Sequence[Values], None, None], *, name: str
) -> Download:
    """The rows of the batches as a file `name`. An error in the middle becomes the last line."""
    written = 0

    def failure(why: str) -> bytes:
        return form.failure(INCOMPLETE.format(rows=written, why=why))

    def parts() -> Iterator[bytes]:
        nonlocal written
        yield form.head(columns)
        try:
            with closing(batches):
                for batch in batches:
                    yield form.encode(columns, batch)
                    written += len(batch)
        except Exception:
            log.exception("an export stopped after %s rows", written)
            yield failure("The server could not read the rest; try again.")

    return Download(parts(), failure, name=f"{name}.{form.name}", content_type=form.content_type)


def _csv(rows: Iterable[Values]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """The value as a cell; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime):
        return value.isoformat()
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def _ndjson(columns: Sequence[str], rows: Iterable[Values]) -> bytes:
    lines = (json.dumps(dict(zip(columns, row, strict=True)), default=_text, ensure_ascii=False) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode()


def _text(value: datetime | UUID) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


CSV = Format(
    name="csv",
    label="CSV",
    content_type="text/csv; charset=utf-8",
    head=lambda columns: _csv([columns]),
    encode=lambda columns, rows: _csv(rows),
    failure=lambda text: _csv([[f"ERROR: {text}"]]),
)
NDJSON = Format(
    name="ndjson",
    label="NDJSON",
    content_type="application/x-ndjson",
    head=lambda columns: b"",
    encode=_ndjson,
    failure=lambda text: json.dumps({"error": text}).encode() + b"\n",
)
FORMATS = (CSV, NDJSON)
