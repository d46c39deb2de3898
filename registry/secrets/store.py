"""Secrets: store, list, read. Plain values are returned only for their own workspace, and for masking."""

import logging
from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from activity import clock, statements
from registry.exceptions import NotFound, SecretsBroken, SecretsUnavailable
from registry.models import GlobalSecret, SealedSecret, SecretAccess, SecretAction, WorkspaceSecret
from registry.secrets.sealing import Keyring, KeyUnusable, SealBroken
from registry.structure import deployments, rows

log = logging.getLogger(__name__)

MAX_VALUE_BYTES = 64 * 1024


UNSET = """
NOT EXISTS (SELECT FROM workspace_secrets s WHERE s.workspace_id = f.workspace_id AND s.key = name)
AND NOT EXISTS (SELECT FROM global_secrets g WHERE g.key = name)
"""
"""Condition in SQL: neither a secret of the workspace of the file `f` nor one of all has the key `name`."""


def keyring() -> Keyring:
    """The configured keys. Raises SecretsUnavailable: without a usable key nothing is stored."""
    try:
        return Keyring.parse(settings.SECRETS_ENCRYPTION_KEY)
    except KeyUnusable as error:
        raise SecretsUnavailable(str(error)) from None


def set_for_workspace(workspace_id: UUID, key: str, value: str, *, actor: str) -> None:
    """Store one of a workspace's secrets. Raises NotFound, Removed, SecretsUnavailable."""
    with transaction.atomic():
        rows.lock_active(workspace_id)
        _store(WorkspaceSecret(workspace_id=workspace_id, key=key), value, unique=["workspace", "key"])
        note(SecretAction.SET, [key], workspace_id, actor)
        deployments.changed([workspace_id])


def set_for_all(key: str, value: str, *, actor: str) -> None:
    """Store a global secret. Raises SecretsUnavailable."""
    with transaction.atomic():
        _store(GlobalSecret(key=key), value, unique=["key"])
        note(SecretAction.SET, [key], None, actor)
        deployments.changed(None)


def delete_for_workspace(workspace_id: UUID, key: str, *, actor: str) -> None:
    """Delete one of a workspace's secrets. Raises NotFound."""
    _delete(WorkspaceSecret.objects.filter(workspace_id=workspace_id, key=key), key, workspace_id, actor)


def delete_for_all(key: str, *, actor: str) -> None:
    """Delete a global secret. Raises NotFound."""
    _delete(GlobalSecret.objects.filter(key=key), key, None, actor)


def delete_of_removed(workspace_ids: Collection[UUID], *, actor: str) -> dict[UUID, list[str]]:
    """Delete the secrets of workspaces that are being removed, whose rows are locked. Returns the keys of each."""
    # Locked in one order, as a rotation locks them.
    found = WorkspaceSecret.objects.filter(workspace_id__in=workspace_ids).order_by("id").select_for_update()
    deleted: dict[UUID, list[str]] = {}
    for workspace_id, key in list(found.values_list("workspace_id", "key")):
        deleted.setdefault(workspace_id, []).append(key)
    WorkspaceSecret.objects.filter(workspace_id__in=deleted).delete()
    for workspace_id, keys in deleted.items():
        note(SecretAction.DELETED, sorted(keys), workspace_id, actor)
    return deleted


def listing(workspace_id: UUID | None) -> list[dict[str, Any]]:
    """The secrets without values: a workspace's own, then the global ones that they do not replace, each by key."""
    own = WorkspaceSecret.objects.filter(workspace_id__in=filter(None, [workspace_id])).defer("encrypted_value")
    shared = GlobalSecret.objects.defer("encrypted_value").order_by("key")
    listed = [_entry(row, "workspace") for row in own.order_by("key")]
    replaced = {entry["key"] for entry in listed}
    return listed + [_entry(row, "global") for row in shared if row.key not in replaced]


def environment_for(workspace_id: UUID, *, actor: str) -> dict[str, str]:
    """Every value for this workspace; its own replace global ones. All or nothing; the access is logged.

    Raises NotFound, Forwarded, Removed, SecretsUnavailable, SecretsBroken (naming the keys that do not open).
    """
    rows.find(workspace_id)
    values = _open(workspace_id)
    note(SecretAction.READ, sorted(values), workspace_id, actor)
    return values


def versions(workspace_ids: Collection[UUID]) -> dict[UUID | None, int]:
    """A version of each workspace's secrets and, under None, of the global ones; missing where there are none.

    Read it before the values: then it is at worst older than they are.
    """
    return dict(statements.execute(VERSIONS, {"ids": list(workspace_ids)}))


def values_to_mask(owners: Collection[UUID | None]) -> dict[UUID | None, dict[str, str]]:
    """The values of each owner by key, to be masked in reports. Values that do not open are logged and left out."""
    opened: dict[UUID | None, dict[str, str]] = {owner: {} for owner in owners}
    try:
        ring = keyring()
    except SecretsUnavailable as error:
        log.warning("secrets are not masked in reports: %s", error)
        return opened
    for owner, row in _sealed_for(opened):
        try:
            opened[owner][row.key] = _unseal(ring, row)
        except SealBroken:
            log.warning("a secret cannot be opened and is not masked in reports: %s", row.context())
    return opened


def check_all_open(workspace_ids: Collection[UUID]) -> None:
    """Raises SecretsUnavailable or SecretsBroken unless every secret of these workspaces and every global one can be
    decrypted, so that masking knows all of them."""
    sealed = [row for _owner, row in _sealed_for([None, *workspace_ids])]
    ring, failed = keyring() if sealed else None, []
    for row in sealed:
        try:
            _unseal(ring, row)  # type: ignore[arg-type]  # there is one if there are rows
        except SealBroken:
            failed.append(row.key)
    if failed:
        raise SecretsBroken(failed)


def _open(workspace_id: UUID) -> dict[str, str]:
    sealed: dict[str, SealedSecret] = {row.key: row for row in GlobalSecret.objects.all()}
    sealed |= {row.key: row for row in WorkspaceSecret.objects.filter(workspace_id=workspace_id)}
    if not sealed:
        return {}
    ring, values, failed = keyring(), {}, []
    for key, row in sorted(sealed.items()):
        try:
            values[key] = _unseal(ring, row)
        except SealBroken:
            failed.append(key)
    if failed:
        raise SecretsBroken(failed)
    return values


def _sealed_for(owners: Collection[UUID | None]) -> Iterator[tuple[UUID | None, SealedSecret]]:
    if None in owners:
        yield from ((None, row) for row in GlobalSecret.objects.all())
    if ids := [owner for owner in owners if owner is not None]:
        yield from ((row.workspace_id, row) for row in WorkspaceSecret.objects.filter(workspace_id__in=ids))


def _unseal(ring: Keyring, row: SealedSecret) -> str:
    """Raises SealBroken."""
    return ring.unseal(bytes(row.encrypted_value), context=row.context()).decode()


def _store(secret: SealedSecret, value: str, *, unique: list[str]) -> None:
    secret.encrypted_value = keyring().seal(value.encode(), context=secret.context())
    secret.updated_at = clock.now()
    type(secret)._default_manager.bulk_create(
        [secret], update_conflicts=True, unique_fields=unique, update_fields=["encrypted_value", "updated_at"]
    )


def _delete(found: Any, key: str, workspace_id: UUID | None, actor: str) -> None:
    with transaction.atomic():
        if not found.delete()[0]:
            raise NotFound("no such secret")
        note(SecretAction.DELETED, [key], workspace_id, actor)
        deployments.changed(None if workspace_id is None else [workspace_id])


def _entry(row: SealedSecret, scope: str) -> dict[str, Any]:
    return {
        "key": row.key,
        "has_value": True,
        "scope": scope,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def note(action: SecretAction, keys: list[str], workspace_id: UUID | None, actor: str) -> None:
    """Record an access. No workspace means global secrets."""
    SecretAccess.objects.create(action=action, keys=keys, workspace_id=workspace_id, actor=actor)


# Each change of a row gives it another xmin. Unlike a timestamp column it changes exactly when the commit is visible.
VERSIONS = """
SELECT NULL::uuid, bit_xor(uuid_hash_extended(id, xmin::text::bigint)) FROM global_secrets HAVING count(*) > 0
UNION ALL
SELECT workspace_id, bit_xor(uuid_hash_extended(id, xmin::text::bigint)) FROM workspace_secrets
WHERE workspace_id = ANY(%(ids)b::uuid[]) GROUP BY workspace_id
"""
