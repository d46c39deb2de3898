"""The assembly as an app: our admin site, our system checks."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig

from molecule import checks


class MoleculeConfig(AppConfig):
    name = "molecule"
    checks = checks


class MoleculeAdminConfig(AdminConfig):
    default_site = "molecule.admin.MoleculeAdminSite"
