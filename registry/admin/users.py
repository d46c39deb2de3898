"""Users and groups. Users grant and revoke only permissions that they have, and only superusers change superusers.

A user who ever signed in or had a token is deactivated instead of deleted, so that their history stays.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet
from django.forms.models import ModelChoiceIterator
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString

from activity.models import StructureEvent
from registry.admin import formats
from registry.admin.bases import LabelledAdmin
from registry.admin.lists.bar import FilterBar
from registry.admin.lists.controls import Choices, One, Several
from registry.exceptions import NotFound
from registry.identity import tokens
from registry.models import OperatorToken, SecretAccess, Status

PROFILE_FIELDS = ("username", "password", "first_name", "last_name", "email")
ACCESS_FIELDS = ("is_active", "is_staff", "is_superuser", "groups")
DEFAULT_VERBS = ("view", "add", "change", "delete")
RIGHTS = [("staff", "Staff"), ("superuser", "Superusers")]
KEPT = "is deactivated instead of deleted, so that their history stays"

admin.site.unregister([User, Group])


class PermissionsByModel(ModelChoiceIterator):  # type: ignore[type-arg]
    """Permissions, in groups of what they are about."""

    def __iter__(self) -> Iterator[Any]:
        # Permissions are ordered by their content types.
        for model, found in groupby(self.queryset, key=lambda one: one.content_type.name):
            yield model.capitalize(), [self.choice(one) for one in found]


class PermissionsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Permissions as checkboxes."""

    iterator = PermissionsByModel
    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, obj: Permission) -> str:
        """ "View", where the group says what; the whole name of a permission of our own."""
        verb = obj.codename.removesuffix(f"_{obj.content_type.model}")
        return verb.capitalize() if verb in DEFAULT_VERBS else obj.name.removeprefix("Can ").capitalize()


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

    filter_horizontal: ClassVar[Any] = ()

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Checkboxes."""
        if db_field.related_model is Permission:
            kwargs["form_class"] = PermissionsField
        kwargs["widget"] = forms.CheckboxSelectMultiple({"class": "choices"})
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Without the wrapper that adds a button for another group."""
        field: Any = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.many_to_many:
            field.widget = field.widget.widget
        return field

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or _may_manage(request.user, obj))

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or _may_manage(request.user, obj))

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        return type(form)(form.__name__, (form,), {"editor": request.user})


def group_choices() -> Choices:
    """The groups."""
    return [(str(pk), name) for pk, name in Group.objects.order_by("name").values_list("pk", "name")]


@admin.register(User)
class OperatorAdmin(OwnPermissionsAdmin, UserAdmin):  # type: ignore[type-arg]  # generic for type checkers only
    """People."""

    form = OperatorForm
    deletion_heading = "This happens when you confirm:"
    list_display = ("username", "full_name", "email", "member_of", "access", "signed_in")
    fieldsets = (
        (None, {"fields": PROFILE_FIELDS}),
        ("Access", {"fields": ACCESS_FIELDS}),
        ("Single permissions", {"fields": ("user_permissions",), "classes": ("collapse",)}),
        ("Dates", {"fields": ("last_sign_in", "joined")}),
    )

    list_filter = ()
    filter_bar = FilterBar(
        controls=[
            One(
                name="active",
                label="Account",
                choices=[("1", "Active"), ("0", "Deactivated")],
                meaning=lambda value: Q(is_active=value == "1"),
            ),
            One(name="rights", label="Rights", choices=RIGHTS, meaning=lambda value: Q(**{f"is_{value}": True})),
            Several(name="group", label="Group", choices=group_choices, lookup="groups"),
        ]
    )

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    def selected(self, request: Any) -> QuerySet[Any]:
        """A user who is in several of the groups is one row."""
        return super().selected(request).distinct()

    def get_readonly_fields(self, request: Any, obj: User | None = None) -> Any:
        dates = ("last_sign_in", "joined")
        return dates if request.user.is_superuser else (*dates, "is_superuser")

    @admin.display(description="name", ordering="first_name")
    def full_name(self, user: User) -> SafeString:
        return formats.text(user.get_full_name())

    @admin.display(description="groups")
    def member_of(self, user: User) -> SafeString:
        return formats.text(", ".join(sorted(group.name for group in user.groups.all())))

    @admin.display(description="access", ordering="is_active")
    def access(self, user: User) -> SafeString:
        if not user.is_active:
            return formats.badge(Status.REMOVED, "Deactivated")
        if user.is_superuser:
            return formats.badge(Status.ONLINE, "Superuser")
        return formats.badge(Status.ONLINE, "Staff") if user.is_staff else formats.badge(Status.ONLINE, "Canvas only")

    @admin.display(description="last sign-in", ordering="last_login")
    def signed_in(self, user: User) -> SafeString:
        return formats.relative(user.last_login, absent="never")

    @admin.display(description="last sign-in")
    def last_sign_in(self, user: User) -> SafeString:
        return formats.absolute(user.last_login)

    @admin.display(description="joined")
    def joined(self, user: User) -> SafeString:
        return formats.absolute(user.date_joined)

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
class OperatorGroupAdmin(OwnPermissionsAdmin, GroupAdmin):  # type: ignore[misc]  # our argument types are wider
    """Groups of people."""

    form = OwnPermissionsForm

    def get_deleted_objects(self, objs: Iterable[Group], request: Any) -> Any:
        """Says of each group how many users are in it, where Django lists the rows that connect them."""
        _deleted, counts, lacking, protected = super().get_deleted_objects(objs, request)  # type: ignore[arg-type]
        return [_with_members(group) for group in objs], counts, lacking, protected


def _with_members(group: Group) -> str:
    count = group.user_set.count()
    members = f", with {formats.counted(count, 'user')}, who {'loses' if count == 1 else 'lose'} its permissions"
    return f"{group.name}{members if count else ''}"


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
