"""The tokens of agents that Molecule runs: a new one for each start. The one before it is revoked once the new one was
used."""

from collections.abc import Collection
from uuid import UUID

from django.db.models import QuerySet

from activity import statements
from registry.identity import tokens
from registry.identity.tokens import LIVE, Issued
from registry.models import TokenKind, WorkspaceToken

NEWEST_USED = """
SELECT workspace_id FROM (
  SELECT DISTINCT ON (workspace_id) workspace_id, last_used_at FROM workspace_tokens
  WHERE workspace_id = ANY(%(ids)b::uuid[]) AND generation IS NOT NULL
  ORDER BY workspace_id, generation DESC, created_at DESC
) newest
WHERE last_used_at IS NOT NULL
"""


def issue(workspace_id: UUID, generation: int) -> Issued:
    """Issue one for a start, and revoke those that were never used: what had them has ended. Raises NotFound, Removed.

    It may not read secret values: the agent has been given them.
    """
    unused = list(_live(workspace_id).filter(last_used_at=None).values_list("id", flat=True))
    label = f"deployment, generation {generation}"
    issued = tokens.issue("mol_ws", workspace_id, kind=TokenKind.AGENT, label=label, generation=generation)
    _revoke(workspace_id, unused)
    return issued


def whose_newest_was_used(workspace_ids: Collection[UUID]) -> set[UUID]:
    """Those of these workspaces whose agent, as it was started last, has shown a sign of life."""
    return {i for (i,) in statements.execute(NEWEST_USED, {"ids": list(workspace_ids)})} if workspace_ids else set()


def revoke_earlier(workspace_id: UUID) -> None:
    """Revoke all but the newest."""
    _revoke(
        workspace_id, list(_live(workspace_id).order_by("-generation", "-created_at").values_list("id", flat=True)[1:])
    )


def _live(workspace_id: UUID) -> QuerySet[WorkspaceToken]:
    return WorkspaceToken.objects.filter(LIVE, workspace_id=workspace_id, generation__isnull=False)


def _revoke(workspace_id: UUID, token_ids: list[UUID]) -> None:
    for token_id in token_ids:
        tokens.revoke_token(workspace_id, token_id)
