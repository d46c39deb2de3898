"""Key rotation: seals every value that another key seals again with the first key."""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.expressions import RawSQL

from registry.exceptions import SecretsBroken
from registry.models import GlobalSecret, WorkspaceSecret
from registry.secrets import store
from registry.secrets.sealing import Keyring, SealBroken, key_id

ROTATION_BATCH = 100


def rotate(*, dry_run: bool, progress: Callable[[int, int], None]) -> int:
    """Seal rows that another key seals again with the first key; returns their number.

    Each batch has its own transaction: reads continue meanwhile, and an interrupted rotation resumes where it stopped.
    `progress(done, total)` is called after each. Raises SecretsUnavailable, SecretsBroken.
    """
    ring = store.keyring()
    wanted = key_id(ring.keys[0])
    tables = (WorkspaceSecret, GlobalSecret)
    total = sum(_sealed_otherwise(table, wanted).count() for table in tables)
    done = 0
    for table in () if dry_run else tables:
        while batch := _rotate_batch(table, ring, wanted):
            done += batch
            progress(done, total)
    return total if dry_run else done


def _rotate_batch(table: type[WorkspaceSecret] | type[GlobalSecret], ring: Keyring, wanted: bytes) -> int:
    with transaction.atomic():
        batch = list(_sealed_otherwise(table, wanted).select_for_update()[:ROTATION_BATCH])
        for row in batch:
            try:
                value = ring.unseal(bytes(row.encrypted_value), context=row.context())
            except SealBroken:
                raise SecretsBroken([row.key]) from None
            row.encrypted_value = ring.seal(value, context=row.context())
        table.objects.bulk_update(batch, ["encrypted_value"])
    return len(batch)


def _sealed_otherwise(table: Any, wanted: bytes) -> Any:
    """Rows whose envelope (version, key id, …) has another key id."""
    named = RawSQL("substring(encrypted_value from 2 for 8)", [])
    return table.objects.annotate(named=named).filter(~Q(named=wanted)).order_by("id")
