"""What agents report about their work: activity entries, and messages to operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from activity import bus, log, statements
from activity.group_commit import Unknown
from activity.log import Entry
from activity.models import ActivityType
from activity.statements import Outcome
from registry.exceptions import UNAVAILABLE_ERRORS
from registry.identity import tokens
from registry.identity.tokens import PresentedToken
from registry.models import Workspace
from registry.secrets.masking import mask
from registry.structure.rows import find, lock

# This many bytes weigh as much as one entry: a batch of the fast path (2,048) holds 16 MiB, its queue (8,192) 64 MiB.
BYTES_OF_AN_ENTRY = 8 * 1024


@dataclass(frozen=True, slots=True)
class Report:
    """The activity in one request of an agent, whose body has `size` bytes. commit() checks `token`."""

    workspace_id: UUID
    token: PresentedToken
    entries: Sequence[Entry]
    size: int = 0

    @property
    def weight(self) -> int:
        """Its size in the queue, in entries."""
        return max(len(self.entries), 1 + self.size // BYTES_OF_AN_ENTRY)


def report(workspace_id: UUID, entries: Sequence[Entry]) -> None:
    """Write activity entries of one workspace, with secrets masked. Raises NotFound, Forwarded, Removed."""
    with transaction.atomic():
        _hold(workspace_id)
        log.write_all(mask([(workspace_id, entry) for entry in entries]))


def commit(reports: Sequence[Report]) -> Outcome:
    """Commit a batch in one transaction.

    Reports of unknown or removed workspaces and with invalid tokens are refused; those whose workspace another
    transaction holds are busy. Both change nothing. Raises Unknown if the connection broke during the COMMIT.
    """
    is_written = False
    try:
        with transaction.atomic():
            outcome = _write(reports)
            is_written = True
    except UNAVAILABLE_ERRORS as error:
        if is_written:
            raise Unknown from error
        raise
    return outcome


def _write(reports: Sequence[Report]) -> Outcome:
    named = [(each.workspace_id, each.token) for each in reports]
    statements.limit_waits()
    held = statements.execute(HOLD, tokens.columns(named))
    tokens.mark_used([token_id for _, token_id, is_stale in held if is_stale])
    accepted = {n - 1: token_id for n, token_id, _ in sorted(held)}
    log.write_all(mask([(reports[n].workspace_id, entry) for n in accepted for entry in reports[n].entries]))
    busy = tokens.valid(named) - accepted.keys() if len(accepted) < len(reports) else set()
    return Outcome(accepted, busy)


def notify(workspace_id: UUID, message: str) -> None:
    """Send a message to the operators. It is kept as activity, so that a chat survives a reload.

    Raises NotFound, Forwarded, Removed.
    """
    message_entry = Entry(activity_type=ActivityType.A2A_RECEIVE, method="notify", response_body={"result": message})
    with transaction.atomic():
        workspace = _hold(workspace_id)
        masked = mask([(workspace_id, message_entry)])
        log.write_all(masked)
        shown = masked[0][1].response_body["result"]
        payload = {"message": shown, "workspace_id": workspace_id, "name": workspace.name}
        bus.after_commit(bus.publish, [bus.envelope("AGENT_MESSAGE", workspace_id, payload)])


def _hold(workspace_id: UUID) -> Workspace:
    """Lock and read the workspace: a removal waits for the report, or was committed and raises here."""
    lock([workspace_id])
    return find(workspace_id)


# As _hold(), for many workspaces with their agents' tokens; but it skips locked rows instead of waiting.
HOLD = f"""
SELECT g.n, t.id, t.is_stale
FROM unnest(%(ids)b::uuid[], %(prefixes)b::text[], %(hashes)b::bytea[]) WITH ORDINALITY AS g(id, prefix, hash, n)
JOIN workspaces w ON w.id = g.id JOIN LATERAL {tokens.MATCHING_TOKEN} t ON true
WHERE w.status <> 'removed'
FOR NO KEY UPDATE OF w SKIP LOCKED
"""  # noqa: S608  # of constants
