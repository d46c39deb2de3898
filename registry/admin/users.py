"""Users and groups. Nobody gives, takes or takes over permissions beyond their own; only superusers touch superusers.

A user who did something is deactivated instead of deleted, so that the record of it stays.
"""

from collections.abc import Iterable
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

KEPT = "is deactivated instead, because the record of what they did stays"

admin.site.unregister([User, Group])


class WithinOwn(forms.ModelForm):  # type: ignore[type-arg]
    """`holder` is the user who fills in the form: what it adds or removes must be theirs."""

    holder: ClassVar[User]

    def clean_user_permissions(self) -> Any:
        """Raises ValidationError for permissions that the holder lacks."""
        return self._within_own("user_permissions")

    def clean_permissions(self) -> Any:
        """Raises ValidationError for permissions that the holder lacks."""
        return self._within_own("permissions")

    def clean_groups(self) -> Any:
        """Raises ValidationError for groups with permissions that the holder lacks."""
        return self._within_own("groups")

    def _within_own(self, field: str) -> Any:
        chosen = self.cleaned_data[field]
        before = set(getattr(self.instance, field).all()) if self.instance.pk else set()
        beyond = sorted(str(one) for one in before.symmetric_difference(chosen) if not holds(self.holder, held_by(one)))
        if beyond:
            raise forms.ValidationError(f"You cannot give or take what you do not have yourself: {', '.join(beyond)}.")
        return chosen


class OperatorForm(WithinOwn, UserChangeForm):  # type: ignore[type-arg]
    """A user's fields."""


class RankedAdmin(LabelledAdmin):
    """Whoever changes or deletes a row must hold all permissions that the row gives."""

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or _may_manage(request.user, obj))

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or _may_manage(request.user, obj))

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        return type(form)(form.__name__, (form,), {"holder": request.user})


@admin.register(User)
class OperatorAdmin(RankedAdmin, UserAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """People."""

    form = OperatorForm

    def get_readonly_fields(self, request: Any, obj: User | None = None) -> Any:
        return () if request.user.is_superuser else ("is_superuser",)

    def outcome_of_deletion(self, obj: User) -> str:
        return "Deactivated, because the record of what they did stays" if did_something(obj) else "Deleted"

    def get_deleted_objects(self, objs: Iterable[User], request: Any) -> Any:
        kept = [user for user in objs if did_something(user)]
        others = [user for user in objs if user not in kept]
        deleted, counts, lacking, protected = super().get_deleted_objects(others, request)
        if not all(self.has_delete_permission(request, user) for user in kept):
            lacking.add(str(self.opts.verbose_name))
        return [*(f"{user}: {KEPT}" for user in kept), *deleted], counts, lacking, protected

    def log_deletions(self, request: Any, queryset: Any) -> Any:
        for user in queryset:
            if did_something(user):
                self.log_change(request, user, "Deactivated.")
            else:
                super().log_deletions(request, [user])  # type: ignore[arg-type]  # takes any iterable

    def delete_model(self, request: Any, obj: User) -> None:
        if not did_something(obj):
            return super().delete_model(request, obj)
        obj.is_active = False
        obj.save(update_fields=["is_active"])
        for token_id in OperatorToken.objects.filter(user=obj, revoked_at=None).values_list("id", flat=True):
            _revoke(token_id)
        return None

    def response_delete(self, request: Any, obj_display: str, obj_id: Any) -> HttpResponse:
        if not User.objects.filter(pk=obj_id).exists():
            return super().response_delete(request, obj_display, obj_id)
        messages.success(request, f"{obj_display} was deactivated. The record of what they did stays.")
        return HttpResponseRedirect(reverse("admin:auth_user_changelist"))


@admin.register(Group)
class OperatorGroupAdmin(RankedAdmin, GroupAdmin):
    """Groups of people."""

    form = WithinOwn


def did_something(user: User) -> bool:
    """Whether the user ever signed in or had a token: nothing is done without either.

    Tokens that ended long ago are removed; what was done with them is in the logs.
    """
    actor = tokens.principal_for_user(user).actor
    return (
        user.last_login is not None
        or OperatorToken.objects.filter(user=user).exists()
        or LogEntry.objects.filter(user=user).exists()
        or StructureEvent.objects.filter(actor=actor).exists()
        or SecretAccess.objects.filter(actor=actor).exists()
    )


def held_by(one: User | Group | Permission) -> set[int]:
    """The ids of the permissions that it gives, also while a user is inactive."""
    if isinstance(one, Permission):
        return {one.pk}
    holders = Q(group=one) if isinstance(one, Group) else Q(user=one) | Q(group__user=one)
    return set(Permission.objects.filter(holders).values_list("pk", flat=True))


def holds(user: User, permissions: set[int]) -> bool:
    """Whether the user has all of these permissions."""
    return user.is_superuser or permissions <= held_by(user)


def _may_manage(user: User, obj: User | Group) -> bool:
    if isinstance(obj, User) and obj.is_superuser:
        return user.is_superuser
    return holds(user, held_by(obj))


def _revoke(token_id: Any) -> None:
    try:
        tokens.revoke_operator_token(token_id)
    except NotFound:
        return
