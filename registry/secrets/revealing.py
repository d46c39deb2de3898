"""Who may read secret values: agents whose credentials come from somebody who may reveal them, or who were allowed."""

from uuid import UUID

from django.db import transaction

from registry.exceptions import Conflict
from registry.identity import tokens
from registry.models import SecretAction
from registry.secrets import store
from registry.structure import rows

NOBODY_TO_ALLOW = "this workspace has no valid token: issue an enrolment token first"


def allow(workspace_id: UUID, *, actor: str) -> int:
    """Let a workspace's valid tokens, and those that follow from them, read its secrets. It is noted with the keys.

    Returns the number of tokens. Tokens that others issue later are not included. Raises NotFound, Removed, Conflict
    (there is no token).
    """
    with transaction.atomic():
        rows.lock_active(workspace_id)
        count = tokens.allow_to_reveal(workspace_id)
        if not count:
            raise Conflict(NOBODY_TO_ALLOW)
        keys = [entry["key"] for entry in store.listing(workspace_id)]
        store.note(SecretAction.ALLOWED, keys, workspace_id, actor)
    return count
