"""The admin site: stock Django under our name."""

from django.contrib import admin


class MoleculeAdminSite(admin.AdminSite):
    site_title = "Molecule"
    site_header = "Molecule"
    index_title = "Administration"
    site_url = "/"
