"""Who may talk to whom. The hierarchy is the whole rule: oneself, one's parent, children and siblings."""

from uuid import UUID

from registry.models import Workspace


def related(caller: UUID, caller_parent: UUID | None, target: UUID, target_parent: UUID | None) -> bool:
    """Roots are each other's siblings."""
    return caller in (target, target_parent) or caller_parent in (target, target_parent)


def can_communicate(caller_id: UUID, target_id: UUID) -> bool:
    """False when either is unknown or removed."""
    parents = dict(Workspace.objects.living().filter(id__in={caller_id, target_id}).values_list("id", "parent_id"))
    if caller_id not in parents or target_id not in parents:
        return False
    return related(caller_id, parents[caller_id], target_id, parents[target_id])
