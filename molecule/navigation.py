"""The admin's navigation: by job, not by application. Only what the user may view."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A page in the navigation. `permission` is needed to see it, "" for everybody."""

    label: str
    route: str
    permission: str = ""

    @property
    def url(self) -> str:
        return reverse(self.route)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pages for one job. `title` is "" for the first group."""

    title: str
    entries: tuple[Entry, ...]


def _list(label: str, app: str, model: str) -> Entry:
    return Entry(label=label, route=f"admin:{app}_{model}_changelist", permission=f"{app}.view_{model}")


GROUPS = (
    Group(
        title="",
        entries=(
            Entry(label="Overview", route="admin:index"),
            _list("Workspaces", "registry", "workspace"),
            _list("Model assignments", "registry", "agent"),
        ),
    ),
    Group(
        title="Audit",
        entries=(
            _list("Activity", "activity", "activitylog"),
            _list("Audit log", "activity", "structureevent"),
            _list("Secret access log", "registry", "secretaccess"),
        ),
    ),
    Group(
        title="Access",
        entries=(
            _list("Workspace secrets", "registry", "workspacesecret"),
            _list("Global secrets", "registry", "globalsecret"),
            _list("Workspace tokens", "registry", "workspacetoken"),
            _list("Operator tokens", "registry", "operatortoken"),
            _list("Users", "auth", "user"),
            _list("Groups", "auth", "group"),
        ),
    ),
    Group(title="Platform", entries=(_list("Background jobs", "registry", "looptick"),)),
)


def groups(user: Any) -> list[Group]:
    """The groups with the pages that the user may view; none for an anonymous user."""
    if not user.is_authenticated:
        return []
    visible = (
        Group(title=group.title, entries=tuple(one for one in group.entries if _may_view(user, one)))
        for group in GROUPS
    )
    return [group for group in visible if group.entries]


def _may_view(user: Any, entry: Entry) -> bool:
    return not entry.permission or user.has_perm(entry.permission)
