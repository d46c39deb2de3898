"""manage.py create_operator: create the first operator of an installation, with a random password."""

import secrets
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from registry.identity import tokens

PASSWORD_BYTES = 15


class Command(BaseCommand):
    """`manage.py create_operator`"""

    help = "Create a superuser with a random password and an API token, unless there is a superuser already."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username", default="operator")
        parser.add_argument(
            "--into",
            type=Path,
            metavar="FOLDER",
            help="write FOLDER/operator and FOLDER/operator-token (mode 0600) instead of printing the credentials",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            if User.objects.filter(is_superuser=True, is_active=True).exists():
                self.stderr.write("A superuser exists already.")
                return
            who, token = self._create(options["username"])
            # Before the commit: if writing fails, no superuser with a lost password remains.
            if folder := options["into"]:
                _write_private(folder / "operator", who)
                _write_private(folder / "operator-token", f"{token}\n")
        self.stdout.write(f"Operator created, see {folder / 'operator'}" if folder else f"{who}token: {token}")

    def _create(self, username: str) -> tuple[str, str]:
        """Return the credentials as text, and an API token."""
        if User.objects.filter(username=username).exists():
            raise CommandError(f"User {username} exists but is not an active superuser: choose another --username")
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        user = User.objects.create_superuser(username, password=password)
        token = tokens.issue_operator_token(user, label="create_operator")
        return f"username: {username}\npassword: {password}\n", token


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
