"""The admin's navigation: by job, not by application. Only what the user may view."""

from dataclasses import dataclass
from typing import Any

from activity.routes import address

SYSTEM_PERMISSION = "registry.view_looptick"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A page in the navigation. `permission` is needed to see it, "" for everybody.

    `counts_attention`: beside it stands how many workspaces need somebody. `key` is the shortcut, "" for none.
    """

    label: str
    route: str
    permission: str = ""
    counts_attention: bool = False
    key: str = ""

    @property
    def url(self) -> str:
        return address(self.route)

    @property
    def has_pages(self) -> bool:
        """Whether pages below its address belong to it."""
        return self.route.endswith(("_changelist", ":templates"))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pages for one job. `title` is "" for the first group."""

    title: str
    entries: tuple[Entry, ...]


def _list(label: str, app: str, model: str, key: str = "") -> Entry:
    return Entry(label=label, route=f"admin:{app}_{model}_changelist", permission=f"{app}.view_{model}", key=key)


GROUPS = (
    Group(
        title="",
        entries=(
            Entry(label="Overview", route="admin:index", counts_attention=True, key="g o"),
            _list("Workspaces", "registry", "workspace", key="g w"),
            Entry(label="Canvas", route="canvas", permission="registry.view_workspace"),
            _list("Model assignments", "registry", "agent"),
            Entry(label="Templates", route="admin:templates", permission="registry.view_workspace"),
        ),
    ),
    Group(
        title="Audit",
        entries=(
            _list("Activity", "activity", "activitylog", key="g a"),
            _list("Audit log", "activity", "structureevent", key="g l"),
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
    Group(
        title="Platform",
        entries=(Entry(label="System", route="admin:system", permission=SYSTEM_PERMISSION),),
    ),
)


WORKSPACE_LIST = "admin:registry_workspace_changelist"
NO_WORKSPACE = "00000000-0000-0000-0000-000000000000"
"""Stands for an id in the address of a workspace that ui/palette.js completes."""


def palette(user: Any) -> dict[str, str]:
    """Where the palette of the admin leads to. Empty for users who may not view workspaces."""
    if not user.has_perm("registry.view_workspace"):
        return {}
    page = address("admin:registry_workspace_change", NO_WORKSPACE)
    return {"list_url": address(WORKSPACE_LIST), "workspace_url": page}


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
