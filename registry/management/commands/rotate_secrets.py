"""manage.py rotate_secrets: seal every secret with the first key of SECRETS_ENCRYPTION_KEY, while all goes on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.exceptions import SecretsBroken, SecretsUnavailable
from registry.secrets import rotation


class Command(BaseCommand):
    help = "Seal every secret with the first key. Stopped half-way it goes on where it was; then drop the old key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say how many are sealed with another key")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = rotation.rotate(dry_run=options["dry_run"], progress=self._tell)
        except (SecretsUnavailable, SecretsBroken) as error:
            raise CommandError(error.message) from None
        verb = "would be sealed anew" if options["dry_run"] else "sealed anew"
        self.stdout.write(f"{count} secrets {verb}")

    def _tell(self, done: int, total: int) -> None:
        self.stderr.write(f"{done} of {total}")
