"""Allow a workspace to read secret values whose agent was enrolled by a user without the permission to reveal them."""

from uuid import UUID

from django.db import transaction

from registry.exceptions import Conflict
from registry.identity import tokens
from registry.models import SecretAction
from registry.secrets import store
from registry.structure import rows

NOTHING_TO_ALLOW = "this workspace has no valid token: issue an enrolment token first"


def allow(workspace_id: UUID, *, actor: str) -> int:
    """Let the workspace's valid tokens, and tokens that are issued with them, read its secrets. Returns their number.

    The secret access log gets a row with the keys. Tokens that others issue later are not included.
    Raises NotFound, Removed, Conflict (the workspace has no valid token).
    """
    with transaction.atomic():
        rows.lock_active(workspace_id)
        count = tokens.allow_to_reveal(workspace_id)
        if not count:
            raise Conflict(NOTHING_TO_ALLOW)
        keys = [entry["key"] for entry in store.listing(workspace_id)]
        store.note(SecretAction.ALLOWED, keys, workspace_id, actor)
    return count
