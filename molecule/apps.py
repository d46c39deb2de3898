"""Django apps of this package: the admin site, the system checks and the OpenAPI extension."""

import gc

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig

# Until ready(): what the other modules make while they are imported stays, and to look for garbage in it is an eighth
# of the time that a process needs to start.
gc.disable()

from molecule import checks, openapi  # noqa: E402


class MoleculeConfig(AppConfig):
    name = "molecule"
    checks = checks
    openapi = openapi

    def ready(self) -> None:
        gc.enable()


class MoleculeAdminConfig(AdminConfig):
    default_site = "molecule.admin.MoleculeAdminSite"
