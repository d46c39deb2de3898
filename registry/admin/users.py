"""Users and groups, under the rules of every other list."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User

from registry.admin.bases import LabelledAdmin

admin.site.unregister([User, Group])


@admin.register(User)
class OperatorAdmin(LabelledAdmin, UserAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """People."""


@admin.register(Group)
class OperatorGroupAdmin(LabelledAdmin, GroupAdmin):
    """Groups of people."""
