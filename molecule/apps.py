from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class MoleculeConfig(AppConfig):
    """Brings the system checks along."""

    name = "molecule"

    def ready(self) -> None:
        super().ready()


class MoleculeAdminConfig(AdminConfig):
    default_site = "molecule.admin.MoleculeAdminSite"
