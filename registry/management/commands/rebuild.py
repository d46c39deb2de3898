"""manage.py rebuild: compare the workspaces and agents tables with the event log, or repair them from it."""

import sys
from contextlib import nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from activity import roles
from activity.models import StructureEvent
from registry.organisation import rebuild
from registry.organisation.rebuild import Difference


class Command(BaseCommand):
    """`manage.py rebuild`"""

    help = "Replay the event log and compare the result with workspaces and agents."

    def add_arguments(self, parser: CommandParser) -> None:
        how = parser.add_mutually_exclusive_group(required=True)
        how.add_argument("--check", action="store_true", help="print each difference; exit status 1 if there is any")
        how.add_argument("--fix", action="store_true", help="repair the tables from the log")

    def handle(self, *args: Any, **options: Any) -> None:
        total = StructureEvent.objects.count()
        # A repair disables triggers, which only the owner of the table may do.
        with roles.as_owner() if options["fix"] else nullcontext():
            differences = (rebuild.fix if options["fix"] else rebuild.check)(lambda done: self._tell(done, total))
        self.stderr.write("")
        for difference in differences:
            self.stdout.write(_line(difference))
        verb = "repaired" if options["fix"] else "different"
        self.stdout.write(f"{total} events, {len(differences)} rows {verb}")
        if differences and options["check"]:
            sys.exit(1)

    def _tell(self, done: int, total: int) -> None:
        self.stderr.write(f"\rreplayed {done} of {total} events", ending="")


def _line(difference: Difference) -> str:
    name = f"{difference.table._meta.db_table} {difference.id}"
    if difference.replayed is None:
        return f"{name}: not in the log"
    if difference.found is None:
        return f"{name}: missing"
    columns = (f"{column}: {found!r}, the log says {replayed!r}" for column, found, replayed in difference.columns())
    return f"{name}: {'; '.join(columns)}"
