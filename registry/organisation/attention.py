"""What needs somebody: workspaces with a problem, each with what is wrong, since when and why.

One rule for REST, the admin, the canvas and metrics. Paused workspaces are left out: somebody has seen to them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from activity import statements
from registry.exceptions import SecretsUnavailable
from registry.liveness.flapping import rule
from registry.models import Status
from registry.secrets import store
from registry.secrets.sealing import KEY_ID_BYTES, VERSION, key_id
from registry.structure.projection import STATUSES

EXPIRES_SOON_DAYS = 7
MOST_ITEMS = 50


class Kind(StrEnum):
    """The kinds of problems, the worst first."""

    FAILED = "failed"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    SECRETS = "secrets"
    REFUSED = "refused"
    ENROLMENT_EXPIRED = "enrolment_expired"
    FLAPPING = "flapping"
    TOKEN_EXPIRES = "token_expires"  # noqa: S105  # no password


@dataclass(frozen=True, kw_only=True)
class Problem:
    """`why` is for people, "" where nothing is known. `at`: when it began, or when the token expires."""

    kind: Kind
    why: str = ""
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """A workspace that needs somebody; its problems, the worst first."""

    workspace_id: UUID
    name: str
    status: str
    changed_at: datetime
    problems: Sequence[Problem]


@dataclass(frozen=True, kw_only=True)
class Attention:
    """`count` workspaces need somebody, `kinds` says how many by problem, `items` are those that changed last.

    `global_secrets`: keys of secrets for all workspaces that cannot be opened.
    """

    count: int
    kinds: Mapping[Kind, int]
    items: Sequence[Item]
    global_secrets: Sequence[str]


class Row(NamedTuple):
    """A workspace with a problem. What concerns a problem that it does not have is None or empty."""

    id: UUID
    name: str
    status: str
    changed_at: datetime
    enrolment_expired_at: datetime | None
    flapping_until: datetime | None
    refused_at: datetime | None
    refused_count: int
    refused_reason: str | None
    error_rate: float
    sample_error: str | None
    token_expires_at: datetime | None
    sealed_keys: list[str] | None


class Beginning(NamedTuple):
    """The event that set a workspace's present status."""

    at: datetime
    payload: Mapping[str, Any]


def attention(limit: int = MOST_ITEMS) -> Attention:
    """Everything that needs somebody now, in at most three queries."""
    opened = {"key_ids": _key_ids(), "head": len(VERSION) + 1, "size": KEY_ID_BYTES}
    rows = [Row(*row) for row in statements.execute(WORKSPACES, {**opened, "soon": EXPIRES_SOON_DAYS})]
    newest = rows[:limit]
    beginnings = _beginnings([row.id for row in newest if row.status in STATUS_PROBLEMS])
    return Attention(
        count=len(rows),
        kinds=Counter(kind for row in rows for kind in PROBLEMS if PROBLEMS[kind](row, None)),
        items=[_item(row, beginnings.get(row.id)) for row in newest],
        global_secrets=[key for (key,) in statements.execute(GLOBAL_SECRETS, opened)],
    )


def _item(row: Row, beginning: Beginning | None) -> Item:
    found = (find(row, beginning) for find in PROBLEMS.values())
    problems = [problem for problem in found if problem is not None]
    return Item(workspace_id=row.id, name=row.name, status=row.status, changed_at=row.changed_at, problems=problems)


def _beginnings(workspace_ids: list[UUID]) -> dict[UUID, Beginning]:
    if not workspace_ids:
        return {}
    types = [str(kind) for kind in STATUSES]
    found = statements.execute(BEGINNINGS, {"ids": workspace_ids, "types": types})
    return {workspace_id: Beginning(at, payload or {}) for workspace_id, at, payload in found}


def _key_ids() -> list[bytes]:
    """Of the keys that open secrets; none without a usable key."""
    try:
        return [key_id(key) for key in store.keyring().keys]
    except SecretsUnavailable:
        return []


def _status(
    kind: Kind, why: Callable[[Row, Mapping[str, Any]], str]
) -> Callable[[Row, Beginning | None], Problem | None]:
    def find(row: Row, beginning: Beginning | None) -> Problem | None:
        if row.status != kind:
            return None
        return Problem(
            kind=kind, why=why(row, beginning.payload if beginning else {}), at=beginning.at if beginning else None
        )

    return find


def _why_failed(row: Row, payload: Mapping[str, Any]) -> str:
    return str(payload.get("error") or payload.get("reason") or "")


def _why_degraded(row: Row, payload: Mapping[str, Any]) -> str:
    wedged = payload.get("runtime_state")
    what = f"its runtime is {wedged}" if wedged and not row.error_rate else f"{row.error_rate:.0%} of its calls fail"
    return f"{what}: {row.sample_error}" if row.sample_error else what


def _why_offline(row: Row, payload: Mapping[str, Any]) -> str:
    return str(payload.get("reason") or "")


def _secrets(row: Row, beginning: Beginning | None) -> Problem | None:
    if not row.sealed_keys:
        return None
    return Problem(kind=Kind.SECRETS, why=f"no key opens {', '.join(row.sealed_keys)}")


def _refused(row: Row, beginning: Beginning | None) -> Problem | None:
    if row.refused_at is None:
        return None
    times = "once" if row.refused_count == 1 else f"{row.refused_count:,} times"
    return Problem(kind=Kind.REFUSED, why=f"its requests were refused {times}: {row.refused_reason}", at=row.refused_at)


def _enrolment(row: Row, beginning: Beginning | None) -> Problem | None:
    at = row.enrolment_expired_at
    return None if at is None else Problem(kind=Kind.ENROLMENT_EXPIRED, why="no agent has registered", at=at)


def _flapping(row: Row, beginning: Beginning | None) -> Problem | None:
    return None if row.flapping_until is None else Problem(kind=Kind.FLAPPING, why=rule(), at=row.flapping_until)


def _token(row: Row, beginning: Beginning | None) -> Problem | None:
    at = row.token_expires_at
    return None if at is None else Problem(kind=Kind.TOKEN_EXPIRES, why="its last token expires soon", at=at)


PROBLEMS: Mapping[Kind, Callable[[Row, Beginning | None], Problem | None]] = {
    Kind.FAILED: _status(Kind.FAILED, _why_failed),
    Kind.DEGRADED: _status(Kind.DEGRADED, _why_degraded),
    Kind.OFFLINE: _status(Kind.OFFLINE, _why_offline),
    Kind.SECRETS: _secrets,
    Kind.REFUSED: _refused,
    Kind.ENROLMENT_EXPIRED: _enrolment,
    Kind.FLAPPING: _flapping,
    Kind.TOKEN_EXPIRES: _token,
}
STATUS_PROBLEMS = (Status.FAILED, Status.DEGRADED, Status.OFFLINE)
# `last_token`: when an agent's last valid token expires. A secret is sealed with the key whose id its envelope names.
WORKSPACES = f"""
WITH last_token AS (
  SELECT workspace_id, max(coalesce(expires_at, 'infinity')) AS expires_at FROM workspace_tokens
  WHERE kind = 'agent' AND revoked_at IS NULL AND coalesce(expires_at, 'infinity') > now()
  GROUP BY workspace_id
  HAVING max(coalesce(expires_at, 'infinity')) < now() + make_interval(days => %(soon)b)
), sealed AS (
  SELECT workspace_id, array_agg(key ORDER BY key) AS keys FROM workspace_secrets
  WHERE substring(encrypted_value FROM %(head)b FOR %(size)b) <> ALL (%(key_ids)b::bytea[])
  GROUP BY workspace_id
), state AS (
  SELECT w.*,
    CASE WHEN w.status = 'provisioning' AND w.enrolment_expires_at <= now() THEN w.enrolment_expires_at END AS expired,
    CASE WHEN w.flapping_until > now() THEN w.flapping_until END AS flaps
  FROM workspaces w WHERE w.status NOT IN ('removed', 'paused')
)
SELECT w.id, w.name, w.status, w.updated_at, w.expired, w.flaps, w.refused_at, w.refused_count, w.refused_reason,
  w.last_error_rate, w.last_sample_error, t.expires_at, s.keys
FROM state w LEFT JOIN last_token t ON t.workspace_id = w.id LEFT JOIN sealed s ON s.workspace_id = w.id
WHERE w.status IN ({", ".join(f"'{status}'" for status in STATUS_PROBLEMS)}) OR w.expired IS NOT NULL
  OR w.flaps IS NOT NULL OR w.refused_at IS NOT NULL OR t.expires_at IS NOT NULL OR s.keys IS NOT NULL
ORDER BY w.updated_at DESC, w.id
"""  # noqa: S608  # of constants
GLOBAL_SECRETS = """
SELECT key FROM global_secrets
WHERE substring(encrypted_value FROM %(head)b FOR %(size)b) <> ALL (%(key_ids)b::bytea[]) ORDER BY key
"""
BEGINNINGS = """
SELECT g.id, e.created_at, e.payload FROM unnest(%(ids)b::uuid[]) AS g(id) CROSS JOIN LATERAL (
  SELECT created_at, payload FROM structure_events e
  WHERE e.workspace_id = g.id AND e.event_type = ANY(%(types)b) ORDER BY seq DESC LIMIT 1
) e
"""
