"""The filter bar of the list of workspaces."""

from typing import Any

from django.db.models import QuerySet

from activity.parameters import Parameters
from activity.short_cache import ShortCache
from registry.admin.lists.bar import FilterBar, Preset
from registry.admin.lists.controls import Choices, Flags, Hidden, One, Several, Times
from registry.admin.lists.log_filters import title_of
from registry.models import Status, Workspace
from registry.organisation import filters
from registry.structure.states import AWAITING_AGENT

VIEW, BY_TEAM = "view", "team"
STATUSES = [(value, AWAITING_AGENT if value == Status.PROVISIONING else label) for value, label in Status.choices]


def select(rows: QuerySet[Any], given: Parameters) -> QuerySet[Any]:
    """By the filter of REST; the search is left to the list, which does the same."""
    return filters.select(rows, filters.parse({**given, "q": ()}))


def _runtimes() -> Choices:
    found = Workspace.objects.active().order_by("runtime").values_list("runtime", flat=True).distinct()
    named = [(name, name) for name in found if name]
    return [*named, (filters.UNKNOWN_RUNTIME, "Not known")]


runtimes = ShortCache(_runtimes)
"""Those that active workspaces have. PostgreSQL reads all workspaces to find them."""


WORKSPACES = FilterBar(
    controls=(
        Several(name="status", label="Status", choices=STATUSES),
        Several(name="tier", label="Tier", choices=[(tier, tier) for tier in filters.TIERS]),
        Several(name="runtime", label="Runtime", choices=runtimes),
        Flags(
            label="Health",
            flags=[("attention", "Needs attention"), ("flapping", "Flapping"), ("silent", "Silent")],
        ),
        One(name="position", label="Position", choices=[(filters.TOP, "Top level"), (filters.TEAM, "In a team")]),
        Times(label="Heartbeat", after="heartbeat_after", before="heartbeat_before"),
        Times(label="Created", after="created_after", before="created_before"),
        One(
            name="state",
            label="State",
            blank="Active",
            choices=[(filters.REMOVED, "Removed"), (filters.ALL, "Active and removed")],
        ),
        Hidden(name="team", label="In the team of", title=title_of),
    ),
    presets=(
        Preset(label="Needs attention", values={"attention": "1"}),
        Preset(label=AWAITING_AGENT, values={"status": Status.PROVISIONING}),
        Preset(label="Silent", values={"silent": "1"}),
        Preset(label="Flapping", values={"flapping": "1"}),
        Preset(label="Top level", values={"position": filters.TOP}),
    ),
    select=select,
    views=(VIEW,),
)
