"""manage.py rotate_secrets: seal every secret with the first key of SECRETS_ENCRYPTION_KEY, without downtime."""

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from registry.exceptions import SecretsUnavailable
from registry.secrets import rotation
from registry.secrets.rotation import SecretName


class Command(BaseCommand):
    """`manage.py rotate_secrets`"""

    help = (
        "Seal every secret with the first key; it can be interrupted and run again. Before an old key is removed, "
        "--check says whether it still seals any."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        only = parser.add_mutually_exclusive_group()
        only.add_argument("--dry-run", action="store_true", help="only count the secrets sealed with another key")
        only.add_argument("--check", action="store_true", help="only list them, and fail if there are any")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["check"]:
                self._check("sealed with another key than the first; keep that key")
            elif options["dry_run"]:
                self.stdout.write(f"{len(rotation.sealed_with_other_keys())} secrets would be sealed again")
            else:
                self._rotate()
        except SecretsUnavailable as error:
            raise CommandError(error.message) from None

    def _rotate(self) -> None:
        done = rotation.rotate(progress=self._tell)
        self.stdout.write(f"{done.sealed} secrets sealed again")
        if done.failed:
            raise CommandError(_listed(done.failed, "cannot be decrypted"))
        self._check("sealed meanwhile by a process that has another key first; restart it and run this again")

    def _check(self, what: str) -> None:
        if found := rotation.sealed_with_other_keys():
            raise CommandError(_listed(found, what))

    def _tell(self, done: int, total: int) -> None:
        self.stderr.write(f"{done} of {total}")


def _listed(secrets: Sequence[SecretName], what: str) -> str:
    return "\n  ".join([f"{len(secrets)} secrets {what}:", *sorted(str(each) for each in secrets)])
