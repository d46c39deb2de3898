"""What agents report of their work: activity entries and messages to the people at the canvas."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from activity import bus, log, statements
from activity.log import Entry
from activity.models import ActivityType
from registry.identity import tokens
from registry.identity.tokens import PresentedToken
from registry.models import Workspace
from registry.secrets.masking import mask
from registry.structure.rows import find, lock

# So many bytes weigh as much as an entry: 2,048, one batch of the fast lane, are 16 MiB of bodies, 8,192 are 64 MiB.
BYTES_OF_AN_ENTRY = 8 * 1024


@dataclass(frozen=True, slots=True)
class Report:
    """What one agent sent at once, in a body of `size` bytes; `token` is checked when it is taken."""

    workspace_id: UUID
    token: PresentedToken
    entries: Sequence[Entry]
    size: int = 0

    @property
    def weight(self) -> int:
        return max(len(self.entries), 1 + self.size // BYTES_OF_AN_ENTRY)


def report(workspace_id: UUID, entries: Sequence[Entry]) -> None:
    """Raises NotFound, Forwarded, Removed."""
    with transaction.atomic():
        _hold(workspace_id)
        log.write_all(mask([(workspace_id, entry) for entry in entries]))


def commit(reports: Sequence[Report]) -> dict[int, UUID]:
    """Commit a batch in one transaction.

    Returns the places of the reports that were taken, with the token that each showed. Missing are those of
    unknown and removed workspaces, and those whose proof is not good: they leave no trace.
    """
    with transaction.atomic():
        held = statements.execute(
            HOLD,
            {
                "ids": [each.workspace_id for each in reports],
                "prefixes": [each.token.prefix for each in reports],
                "hashes": [each.token.hash for each in reports],
            },
        )
        tokens.mark_used([token_id for _, token_id, is_stale in held if is_stale])
        accepted = {n - 1: token_id for n, token_id, _ in sorted(held)}
        log.write_all(mask([(reports[n].workspace_id, entry) for n in accepted for entry in reports[n].entries]))
    return accepted


def notify(workspace_id: UUID, message: str) -> None:
    """Say something to the operators; kept as activity, so that a chat survives a reload.

    Raises NotFound, Forwarded, Removed.
    """
    said = Entry(activity_type=ActivityType.A2A_RECEIVE, method="notify", response_body={"result": message})
    with transaction.atomic():
        workspace = _hold(workspace_id)
        masked = mask([(workspace_id, said)])
        log.write_all(masked)
        shown = masked[0][1].response_body["result"]
        payload = {"message": shown, "workspace_id": workspace_id, "name": workspace.name}
        bus.after_commit(bus.publish, [bus.envelope("AGENT_MESSAGE", workspace_id, payload)])


def _hold(workspace_id: UUID) -> Workspace:
    """A removal waits until the report is in, or it is found here."""
    lock([workspace_id])
    return find(workspace_id)


# The same for many, with their agents' proofs.
HOLD = f"""
SELECT g.n, t.id, t.is_stale
FROM unnest(%(ids)b::uuid[], %(prefixes)b::text[], %(hashes)b::bytea[]) WITH ORDINALITY AS g(id, prefix, hash, n)
JOIN workspaces w ON w.id = g.id JOIN LATERAL {tokens.MATCHING_TOKEN} t ON true
WHERE w.status <> 'removed'
ORDER BY w.id FOR NO KEY UPDATE OF w
"""  # noqa: S608  # of constants
