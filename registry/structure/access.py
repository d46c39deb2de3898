"""Which workspaces may communicate: a workspace with itself, its parent, its children and its siblings."""

from enum import StrEnum
from uuid import UUID

from registry.models import Workspace


class Rule(StrEnum):
    """Why two workspaces may communicate: what the target is to the caller. NONE: they may not."""

    SELF = "self"
    SIBLINGS = "siblings"
    ROOTS = "roots"
    PARENT = "parent"
    CHILD = "child"
    NONE = "none"


def rule(caller: UUID, target: UUID, parents: dict[UUID, UUID | None]) -> Rule:
    """Return the rule that lets `caller` reach `target`. Roots are siblings of each other.

    `parents` has the parent of each active workspace. For one that is missing from it, the result is NONE.
    """
    if caller not in parents or target not in parents:
        return Rule.NONE
    if caller == target:
        return Rule.SELF
    if parents[caller] == target:
        return Rule.PARENT
    if parents[target] == caller:
        return Rule.CHILD
    if parents[caller] == parents[target]:
        return Rule.ROOTS if parents[caller] is None else Rule.SIBLINGS
    return Rule.NONE


def can_communicate(caller_id: UUID, target_id: UUID) -> bool:
    """Return whether the two may communicate; False if either is unknown or removed."""
    found = Workspace.objects.active().filter(id__in={caller_id, target_id})
    return rule(caller_id, target_id, dict(found.values_list("id", "parent_id"))) != Rule.NONE
