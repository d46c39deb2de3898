"""manage.py migrate: Django's, as the owner of the tables; it then gives the serving role its rights."""

from typing import Any

from django.core.management.commands import migrate

from activity import roles


class Command(migrate.Command):
    """`manage.py migrate`"""

    def handle(self, *args: Any, **options: Any) -> None:
        with roles.as_owner():
            super().handle(*args, **options)
            roles.grant()
