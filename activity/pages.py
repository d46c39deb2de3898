"""Pages of a log: bounded in rows and in bytes, with stored JSON as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import JSONField, QuerySet, TextField

# The size of a row without its texts and JSON.
ROW_BYTES = 400


@dataclass(frozen=True, kw_only=True)
class Page:
    """`more`: further rows match. `snapshot`: PostgreSQL's text of the snapshot in which the page was read."""

    rows: list[dict[str, Any]]
    more: bool
    snapshot: str


def read(rows: QuerySet[Any], columns: Sequence[str], *, limit: int, max_bytes: int) -> Page:
    """The first `limit` rows in the order of the query, fewer if they exceed `max_bytes`, but at least one.

    JSON columns are returned as text. PostgreSQL neither decompresses nor sends what is beyond the page.
    """
    try:
        found, parameters = rows[: limit + 1].values_list(*columns).query.sql_with_params()
    except EmptyResultSet:  # the conditions cannot be met
        return Page(rows=[], more=False, snapshot=_snapshot())
    fields = {name: rows.model._meta.get_field(name) for name in columns}
    large = [name for name in columns if isinstance(fields[name], JSONField | TextField)]
    texts = ", ".join(f"{name}::text" if isinstance(fields[name], JSONField) else name for name in columns)
    statement = PAGE.format(
        found=found,
        stored=_sum_of("pg_column_size", large),
        texts=texts,
        printed=_sum_of("octet_length", large),
        columns=", ".join(columns),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*parameters, limit, max_bytes, max_bytes])
        answers = cursor.fetchall()
    page = [dict(zip(columns, row, strict=False)) for row in answers if row[-2] is not None]
    return Page(rows=page, more=bool(page) and answers[0][-2] > len(page), snapshot=answers[0][-1])


def _snapshot() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        return str(cursor.fetchone()[0])


def _sum_of(function: str, columns: Sequence[str]) -> str:
    return " + ".join([str(ROW_BYTES), *(f"coalesce({function}({name}), 0)" for name in columns)])


# `max_bytes` limits the values as text. The size of a stored value is known without decompressing it, so a limit on the
# stored sizes comes first: it bounds how much is decompressed to find the sizes of the texts.
# PostgreSQL numbers the rows of an ordered subquery in that order.
PAGE = """
WITH numbered AS MATERIALIZED (
  SELECT found.*, row_number() OVER () AS place, count(*) OVER () AS total, {stored} AS stored FROM ({found}) AS found
), summed AS (
  SELECT *, sum(stored) OVER (ORDER BY place) AS stored_upto FROM numbered WHERE place <= %s
), printed AS MATERIALIZED (
  SELECT {texts}, place, total FROM summed WHERE place = 1 OR stored_upto <= %s
), page AS (
  SELECT *, sum({printed}) OVER (ORDER BY place) AS printed_upto FROM printed
)
SELECT {columns}, total, snapshot
FROM (SELECT pg_current_snapshot()::text AS snapshot) AS now LEFT JOIN page ON place = 1 OR printed_upto <= %s
ORDER BY place
"""
