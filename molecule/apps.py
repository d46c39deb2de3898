"""Django apps of this package: the admin site, the system checks and the OpenAPI extension."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig

from molecule import checks, openapi


class MoleculeConfig(AppConfig):
    name = "molecule"
    checks = checks
    openapi = openapi


class MoleculeAdminConfig(AdminConfig):
    default_site = "molecule.admin.MoleculeAdminSite"
