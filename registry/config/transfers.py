"""The log of exports and imports: who, what, when."""

from uuid import UUID

from registry.models import Transfer, TransferKind


def note(kind: TransferKind, name: str, *, actor: str, workspace_id: UUID | None = None, workspaces: int = 0) -> None:
    """Record one. `workspace_id`: the outermost workspace; `workspaces`: how many there were."""
    Transfer.objects.create(kind=kind, name=name, actor=actor, workspace_id=workspace_id, workspaces=workspaces)
