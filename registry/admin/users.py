"""Users and groups. Users grant and revoke only permissions that they have, and only superusers change superusers.

A user who ever signed in or had a token is deactivated instead of deleted, so that their history stays.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse

from activity.models import StructureEvent
from registry.admin.bases import LabelledAdmin
from registry.exceptions import NotFound
from registry.identity import tokens
from registry.models import OperatorToken, SecretAccess

KEPT = "is deactivated instead of deleted, so that their history stays"

admin.site.unregister([User, Group])


class OwnPermissionsForm(forms.ModelForm):  # type: ignore[type-arg]
    """`editor` is the user who fills in the form. They must have every permission that it adds or removes."""

    editor: ClassVar[User]

    def clean_user_permissions(self) -> Any:
        """Raises ValidationError for permissions that the editor lacks."""
        return self._check_own("user_permissions")

    def clean_permissions(self) -> Any:
        """Raises ValidationError for permissions that the editor lacks."""
        return self._check_own("permissions")

    def clean_groups(self) -> Any:
        """Raises ValidationError for groups with permissions that the editor lacks."""
        return self._check_own("groups")

    def _check_own(self, field: str) -> Any:
        chosen = self.cleaned_data[field]
        before = set(getattr(self.instance, field).all()) if self.instance.pk else set()
        beyond = sorted(
            str(one) for one in before.symmetric_difference(chosen) if not has_all(self.editor, permissions_of(one))
        )
        if beyond:
            raise forms.ValidationError(
                f"You cannot grant or revoke permissions that you do not have yourself: {', '.join(beyond)}."
            )
        return chosen


class OperatorForm(OwnPermissionsForm, UserChangeForm):  # type: ignore[type-arg]
    """A user's fields."""


class OwnPermissionsAdmin(LabelledAdmin):
    """Only users who have all permissions that a row gives may change or delete it."""

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or _may_manage(request.user, obj))

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or _may_manage(request.user, obj))

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        return type(form)(form.__name__, (form,), {"editor": request.user})


@admin.register(User)
class OperatorAdmin(OwnPermissionsAdmin, UserAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """People."""

    form = OperatorForm

    def get_readonly_fields(self, request: Any, obj: User | None = None) -> Any:
        return () if request.user.is_superuser else ("is_superuser",)

    def outcome_of_deletion(self, obj: User) -> str:
        return "Deactivated instead of deleted, so that their history stays" if ever_had_access(obj) else "Deleted"

    def get_deleted_objects(self, objs: Iterable[User], request: Any) -> Any:
        kept = [user for user in objs if ever_had_access(user)]
        others = [user for user in objs if user not in kept]
        deleted, counts, lacking, protected = super().get_deleted_objects(others, request)
        if not all(self.has_delete_permission(request, user) for user in kept):
            lacking.add(str(self.opts.verbose_name))
        return [*(f"{user}: {KEPT}" for user in kept), *deleted], counts, lacking, protected

    def log_deletions(self, request: Any, queryset: Any) -> Any:
        for user in queryset:
            if ever_had_access(user):
                self.log_change(request, user, "Deactivated.")
            else:
                super().log_deletions(request, [user])  # type: ignore[arg-type]  # takes any iterable

    def delete_model(self, request: Any, obj: User) -> None:
        if not ever_had_access(obj):
            return super().delete_model(request, obj)
        obj.is_active = False
        obj.save(update_fields=["is_active"])
        for token_id in OperatorToken.objects.filter(user=obj, revoked_at=None).values_list("id", flat=True):
            with suppress(NotFound):  # it was revoked meanwhile
                tokens.revoke_operator_token(token_id)
        return None

    def response_delete(self, request: Any, obj_display: str, obj_id: Any) -> HttpResponse:
        if not User.objects.filter(pk=obj_id).exists():
            return super().response_delete(request, obj_display, obj_id)
        messages.success(request, f"{obj_display} was deactivated instead of deleted. Their history stays.")
        return HttpResponseRedirect(reverse("admin:auth_user_changelist"))


@admin.register(Group)
class OperatorGroupAdmin(OwnPermissionsAdmin, GroupAdmin):
    """Groups of people."""

    form = OwnPermissionsForm


def ever_had_access(user: User) -> bool:
    """Whether the user ever signed in or had a token; without either a user has done nothing.

    Old tokens are removed; the logs still say what was done with them.
    """
    actor = tokens.principal_for_user(user).actor
    return (
        user.last_login is not None
        or OperatorToken.objects.filter(user=user).exists()
        or LogEntry.objects.filter(user=user).exists()
        or StructureEvent.objects.filter(actor=actor).exists()
        or SecretAccess.objects.filter(actor=actor).exists()
    )


def permissions_of(one: User | Group | Permission) -> set[int]:
    """The ids of the permissions that it gives, also for an inactive user."""
    if isinstance(one, Permission):
        return {one.pk}
    holders = Q(group=one) if isinstance(one, Group) else Q(user=one) | Q(group__user=one)
    return set(Permission.objects.filter(holders).values_list("pk", flat=True))


def has_all(user: User, permissions: set[int]) -> bool:
    """Whether the user has all of these permissions."""
    return user.is_superuser or permissions <= permissions_of(user)


def _may_manage(user: User, obj: User | Group) -> bool:
    if isinstance(obj, User) and obj.is_superuser:
        return user.is_superuser
    return has_all(user, permissions_of(obj))
