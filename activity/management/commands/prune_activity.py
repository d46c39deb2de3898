"""manage.py prune_activity: delete old activity now; the supervisor does it every few hours."""

import time
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from activity import log


class Command(BaseCommand):
    help = "Remove old activity in small batches. It can be interrupted at any time; the next run continues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count the rows that would be removed")
        parser.add_argument(
            "--days",
            type=float,
            default=settings.ACTIVITY_RETENTION_DAYS,
            help="remove what is older than this; default: ACTIVITY_RETENTION_DAYS",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # This reads the database's clock, by which the age of rows counts.
        connection.ensure_connection()
        cutoff = _cutoff(options["days"])
        if options["dry_run"]:
            self.stdout.write(
                f"{log.count_prunable(cutoff)} rows would be removed, older than {cutoff:%Y-%m-%d %H:%M:%S %Z}"
            )
            return
        self.stdout.write(f"{self._prune(cutoff)} rows removed, older than {cutoff:%Y-%m-%d %H:%M:%S %Z}")

    def _prune(self, cutoff: datetime) -> int:
        removed, upto, more = 0, None, True
        while more:
            began = time.monotonic()
            pruned = log.prune(cutoff, log.PRUNE_BATCH, upto)
            more, upto, removed = pruned.more, pruned.upto, removed + pruned.rows
            self.stderr.write(f"\r{removed} removed", ending="")
            time.sleep(log.PRUNE_REST * (time.monotonic() - began) if more else 0)
        self.stderr.write("")
        return removed


def _cutoff(days: float) -> datetime:
    if not days > 0:
        raise CommandError("ACTIVITY_RETENTION_DAYS keeps activity forever: set --days to more than 0")
    try:
        return log.retention_cutoff(days)
    except OverflowError:
        raise CommandError(f"--days {days:g} is too large: the date would be before year 1") from None
