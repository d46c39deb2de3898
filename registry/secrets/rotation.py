"""Key rotation: seals again, with the first key, every value that is sealed with another one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.db.models.expressions import RawSQL

from registry.models import GlobalSecret, SealedSecret, WorkspaceSecret
from registry.secrets import store
from registry.secrets.sealing import Keyring, SealBroken, key_id

ROTATION_BATCH = 100
TABLES: tuple[type[WorkspaceSecret] | type[GlobalSecret], ...] = (WorkspaceSecret, GlobalSecret)


@dataclass(frozen=True)
class SecretName:
    """A secret by its workspace (None for a global one) and the name of its key."""

    workspace_id: UUID | None
    key: str

    def __str__(self) -> str:
        return f"{self.key} of {'all workspaces' if self.workspace_id is None else f'workspace {self.workspace_id}'}"


@dataclass
class Rotation:
    """What rotate() did: how many values it sealed again, and which it could not open."""

    sealed: int = 0
    failed: list[SecretName] = field(default_factory=list)


def rotate(*, progress: Callable[[int, int], None]) -> Rotation:
    """Seal again, with the first key, what is sealed with another one. Values that do not open stay as they are.

    Each batch has its own transaction: reads continue meanwhile, and an interrupted rotation can be repeated.
    `progress(done, total)` is called after each. Raises SecretsUnavailable.
    """
    ring = store.keyring()
    total = len(sealed_with_other_keys())
    result = Rotation()
    for table in TABLES:
        after: UUID | None = None
        while batch := _rotate_batch(table, ring, after, result):
            after = batch[-1].id
            progress(result.sealed, total)
    return result


def sealed_with_other_keys() -> list[SecretName]:
    """The secrets that are sealed with another key than the first. While there are any, that key is needed.

    A process that still has another key first goes on sealing with that one, so restart all such processes before you
    rely on this. Raises SecretsUnavailable.
    """
    wanted = key_id(store.keyring().keys[0])
    return [_name_of(row) for table in TABLES for row in _rows_of_other_keys(table, wanted).defer("encrypted_value")]


def _rotate_batch(table: Any, ring: Keyring, after: UUID | None, result: Rotation) -> list[Any]:
    """Rotate the next rows after that id. They are locked, so a value that is set meanwhile is not overwritten."""
    with transaction.atomic():
        rows = _rows_of_other_keys(table, key_id(ring.keys[0])).select_for_update()
        batch = list((rows if after is None else rows.filter(id__gt=after))[:ROTATION_BATCH])
        opened = [row for row in batch if _seal_again(row, ring, result)]
        table.objects.bulk_update(opened, ["encrypted_value"])
    result.sealed += len(opened)
    return batch


def _seal_again(row: Any, ring: Keyring, result: Rotation) -> bool:
    try:
        value = ring.unseal(bytes(row.encrypted_value), context=row.context())
    except SealBroken:
        result.failed.append(_name_of(row))
        return False
    row.encrypted_value = ring.seal(value, context=row.context())
    return True


def _name_of(row: SealedSecret) -> SecretName:
    return SecretName(getattr(row, "workspace_id", None), row.key)


def _rows_of_other_keys(table: Any, wanted: bytes) -> Any:
    """Rows whose envelope (version, key id, …) has another key id."""
    sealing_key = RawSQL("substring(encrypted_value from 2 for 8)", [])
    return table.objects.annotate(sealing_key=sealing_key).filter(~Q(sealing_key=wanted)).order_by("id")
