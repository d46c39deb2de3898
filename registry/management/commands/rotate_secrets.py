"""manage.py rotate_secrets: seal every secret with the first key of SECRETS_ENCRYPTION_KEY, without downtime."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.exceptions import SecretsBroken, SecretsUnavailable
from registry.secrets import rotation


class Command(BaseCommand):
    """`manage.py rotate_secrets`"""

    help = "Seal every secret with the first key. It can be interrupted and run again; then remove the old key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count the secrets sealed with another key")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = rotation.rotate(dry_run=options["dry_run"], progress=self._tell)
        except (SecretsUnavailable, SecretsBroken) as error:
            raise CommandError(error.message) from None
        verb = "would be sealed again" if options["dry_run"] else "sealed again"
        self.stdout.write(f"{count} secrets {verb}")

    def _tell(self, done: int, total: int) -> None:
        self.stderr.write(f"{done} of {total}")
