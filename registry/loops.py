"""Signs of life of background loops, and how long each has run without a break."""

import json
from datetime import datetime
from typing import Any

from django.db import connection

from registry.models import LoopTick

SUPERVISOR = "supervisor"
WEB = "web"
TICK_SECONDS = 2.0
STALE_SECONDS = 10.0


def tick(name: str, **detail: Any) -> None:
    """Say that the loop runs. After a silence of STALE_SECONDS its `since` starts anew."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO loop_ticks AS t (name, since, ticked_at, detail) VALUES (%s, now(), now(), %s)
            ON CONFLICT (name) DO UPDATE SET
              since = CASE WHEN t.ticked_at < now() - make_interval(secs => %s) THEN now() ELSE t.since END,
              ticked_at = now(), detail = excluded.detail
            """,
            [name, json.dumps(detail), STALE_SECONDS],
        )


def last(name: str) -> LoopTick | None:
    return LoopTick.objects.filter(name=name).first()


def is_fresh(tick: LoopTick | None, now: datetime) -> bool:
    return tick is not None and (now - tick.ticked_at).total_seconds() < STALE_SECONDS
