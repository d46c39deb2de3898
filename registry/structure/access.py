"""Who may talk to whom. The hierarchy is the whole rule: oneself, one's parent, children and siblings."""

from enum import StrEnum
from uuid import UUID

from registry.models import Workspace


class Rule(StrEnum):
    """Why they may: what the target is to the caller."""

    SELF = "self"
    SIBLINGS = "siblings"
    ROOTS = "roots"
    PARENT = "parent"
    CHILD = "child"
    NONE = "none"


def rule(caller: UUID, target: UUID, parents: dict[UUID, UUID | None]) -> Rule:
    """`parents` of the living; who is not in it talks to nobody. Roots are each other's siblings."""
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
    """False when either is unknown or removed."""
    found = Workspace.objects.living().filter(id__in={caller_id, target_id})
    return rule(caller_id, target_id, dict(found.values_list("id", "parent_id"))) != Rule.NONE
