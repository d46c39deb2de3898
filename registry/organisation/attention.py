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
from activity.short_cache import ShortCache
from registry.exceptions import SecretsUnavailable
from registry.liveness import flapping
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
    ENVIRONMENT = "missing_environment"
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
class Counts:
    """`count` workspaces need somebody, `kinds` says how many by problem."""

    count: int
    kinds: Mapping[Kind, int]


@dataclass(frozen=True, kw_only=True)
class Attention(Counts):
    """With `items`, those that changed last.

    `global_secrets`: keys of secrets for all workspaces that cannot be opened.
    """

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
    missing_keys: list[str] | None


class Beginning(NamedTuple):
    """The event that set a workspace's present status."""

    at: datetime
    payload: Mapping[str, Any]
    seq: int
    event_id: UUID
    actor: str


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One workspace: when its status began (None: the log does not say), and its problems, the worst first."""

    beginning: Beginning | None
    problems: Sequence[Problem]


def attention(limit: int = MOST_ITEMS) -> Attention:
    """Everything that needs somebody now, in at most three queries."""
    opened = _opened()
    rows = _rows(opened)
    counts = _counts(rows)
    recent_counts.keep(counts)
    newest = rows[:limit]
    beginnings = _beginnings([row.id for row in newest if row.status in STATUS_PROBLEMS])
    return Attention(
        count=counts.count,
        kinds=counts.kinds,
        items=[_item(row, beginnings.get(row.id)) for row in newest],
        global_secrets=[key for (key,) in statements.execute(GLOBAL_SECRETS, opened)],
    )


def workspace_ids() -> list[UUID]:
    """The workspaces that need somebody, in one query."""
    return [row.id for row in _rows(_opened())]


def condition(workspace_id: UUID) -> Condition:
    """How one workspace is and since when, by the same rules, in two queries."""
    beginning = _beginnings([workspace_id]).get(workspace_id)
    problems = [problem for row in _rows(_opened(), workspace_id) for problem in _problems(row, beginning)]
    return Condition(beginning=beginning, problems=problems)


def _rows(opened: Mapping[str, Any], workspace_id: UUID | None = None) -> list[Row]:
    """The workspaces with a problem, or the given one if it has one."""
    wanted = {**opened, "soon": EXPIRES_SOON_DAYS, "id": workspace_id}
    return [Row(*row) for row in statements.execute(WORKSPACES, wanted)]


def _opened() -> dict[str, Any]:
    """The ids of the keys that open secrets, none without a usable key, and where a sealed secret names its key."""
    try:
        ids = [key_id(key) for key in store.keyring().keys]
    except SecretsUnavailable:
        ids = []
    return {"key_ids": ids, "head": len(VERSION) + 1, "size": KEY_ID_BYTES}


def _counts(rows: Sequence[Row]) -> Counts:
    kinds = Counter(kind for row in rows for kind, rule in RULES.items() if rule.applies(row))
    return Counts(count=len(rows), kinds=kinds)


recent_counts = ShortCache(lambda: _counts(_rows(_opened())))
"""How many need somebody, some seconds ago at most: for what is on every page."""


def _item(row: Row, beginning: Beginning | None) -> Item:
    problems = _problems(row, beginning)
    return Item(workspace_id=row.id, name=row.name, status=row.status, changed_at=row.changed_at, problems=problems)


def _problems(row: Row, beginning: Beginning | None) -> list[Problem]:
    return [rule.problem(kind, row, beginning) for kind, rule in RULES.items() if rule.applies(row)]


def _beginnings(workspace_ids: list[UUID]) -> dict[UUID, Beginning]:
    if not workspace_ids:
        return {}
    types = [str(kind) for kind in STATUSES]
    found = statements.execute(BEGINNINGS, {"ids": workspace_ids, "types": types})
    return {workspace_id: Beginning(at, payload or {}, *event) for workspace_id, at, payload, *event in found}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A kind of problem: whether a workspace has it, why, and since or until when."""

    applies: Callable[[Row], object]
    why: Callable[[Row, Mapping[str, Any]], str]
    at: Callable[[Row, Beginning | None], datetime | None]

    def problem(self, kind: Kind, row: Row, beginning: Beginning | None) -> Problem:
        payload = beginning.payload if beginning else {}
        return Problem(kind=kind, why=self.why(row, payload), at=self.at(row, beginning))


def _of_status(kind: Kind, why: Callable[[Row, Mapping[str, Any]], str]) -> Rule:
    return Rule(
        applies=lambda row: row.status == kind, why=why, at=lambda row, beginning: beginning.at if beginning else None
    )


def _of_moment(moment: Callable[[Row], datetime | None], why: Callable[[Row], str]) -> Rule:
    return Rule(applies=moment, why=lambda row, payload: why(row), at=lambda row, beginning: moment(row))


def _why_failed(row: Row, payload: Mapping[str, Any]) -> str:
    return str(payload.get("error") or payload.get("reason") or "")


def _why_degraded(row: Row, payload: Mapping[str, Any]) -> str:
    wedged = payload.get("runtime_state")
    what = f"its runtime is {wedged}" if wedged and not row.error_rate else f"{row.error_rate:.0%} of its calls fail"
    return f"{what}: {row.sample_error}" if row.sample_error else what


def _why_offline(row: Row, payload: Mapping[str, Any]) -> str:
    return str(payload.get("reason") or "")


def _why_refused(row: Row) -> str:
    times = "once" if row.refused_count == 1 else f"{row.refused_count:,} times"
    return f"its requests were refused {times}: {row.refused_reason}"


RULES: Mapping[Kind, Rule] = {
    Kind.FAILED: _of_status(Kind.FAILED, _why_failed),
    Kind.DEGRADED: _of_status(Kind.DEGRADED, _why_degraded),
    Kind.OFFLINE: _of_status(Kind.OFFLINE, _why_offline),
    Kind.SECRETS: Rule(
        applies=lambda row: row.sealed_keys,
        why=lambda row, payload: f"no key opens {', '.join(row.sealed_keys or [])}",
        at=lambda row, beginning: None,
    ),
    Kind.ENVIRONMENT: Rule(
        applies=lambda row: row.missing_keys,
        why=lambda row, payload: f"no secret sets {', '.join(row.missing_keys or [])}",
        at=lambda row, beginning: None,
    ),
    Kind.REFUSED: _of_moment(lambda row: row.refused_at, _why_refused),
    Kind.ENROLMENT_EXPIRED: _of_moment(lambda row: row.enrolment_expired_at, lambda row: "no agent has registered"),
    Kind.FLAPPING: _of_moment(lambda row: row.flapping_until, lambda row: flapping.rule()),
    Kind.TOKEN_EXPIRES: _of_moment(lambda row: row.token_expires_at, lambda row: "its last token expires soon"),
}
STATUS_PROBLEMS = (Status.FAILED, Status.DEGRADED, Status.OFFLINE)
# `last_token`: when an agent's last valid token expires. A secret is sealed with the key whose id its envelope names.
# `found` takes each problem by an index of its own: most workspaces have none.
WORKSPACES = f"""
WITH last_token AS (
  SELECT workspace_id, max(expires_at) AS expires_at FROM workspace_tokens t
  WHERE kind = 'agent' AND revoked_at IS NULL AND expires_at > now()
    AND expires_at < now() + make_interval(days => %(soon)b)
    AND NOT EXISTS (
      SELECT FROM workspace_tokens longer WHERE longer.workspace_id = t.workspace_id
        AND longer.kind = 'agent' AND longer.revoked_at IS NULL
        AND coalesce(longer.expires_at, 'infinity') >= now() + make_interval(days => %(soon)b))
  GROUP BY workspace_id
), sealed AS (
  SELECT workspace_id, array_agg(key ORDER BY key) AS keys FROM workspace_secrets
  WHERE substring(encrypted_value FROM %(head)b FOR %(size)b) <> ALL (%(key_ids)b::bytea[])
  GROUP BY workspace_id
), missing AS (
  SELECT workspace_id, array_agg(name ORDER BY name) AS keys FROM workspace_files f, unnest(f.required_env) AS name
  WHERE f.required_env <> '{{}}' AND {store.UNSET}
  GROUP BY workspace_id
), found AS (
  SELECT id FROM workspaces WHERE status IN ({", ".join(f"'{status}'" for status in STATUS_PROBLEMS)})
  UNION SELECT id FROM workspaces WHERE status = 'provisioning' AND enrolment_expires_at <= now()
  UNION SELECT id FROM workspaces WHERE flapping_until > now()
  UNION SELECT id FROM workspaces WHERE refused_at IS NOT NULL
  UNION SELECT workspace_id FROM last_token
  UNION SELECT workspace_id FROM sealed
  UNION SELECT workspace_id FROM missing
)
SELECT w.id, w.name, w.status, w.updated_at,
  CASE WHEN w.status = 'provisioning' AND w.enrolment_expires_at <= now() THEN w.enrolment_expires_at END,
  CASE WHEN w.flapping_until > now() THEN w.flapping_until END,
  w.refused_at, w.refused_count, w.refused_reason, w.last_error_rate, w.last_sample_error,
  t.expires_at, s.keys, m.keys
FROM found JOIN workspaces w ON w.id = found.id LEFT JOIN last_token t ON t.workspace_id = w.id
  LEFT JOIN sealed s ON s.workspace_id = w.id LEFT JOIN missing m ON m.workspace_id = w.id
WHERE w.status NOT IN ('removed', 'paused') AND (%(id)b::uuid IS NULL OR w.id = %(id)b)
ORDER BY w.updated_at DESC, w.id
"""  # noqa: S608  # of constants
GLOBAL_SECRETS = """
SELECT key FROM global_secrets
WHERE substring(encrypted_value FROM %(head)b FOR %(size)b) <> ALL (%(key_ids)b::bytea[]) ORDER BY key
"""
# An agent that registers again sets the status that the workspace has: that is no beginning.
BEGINNINGS = """
SELECT g.id, e.created_at, e.payload, e.seq, e.id, e.actor
FROM unnest(%(ids)b::uuid[]) AS g(id) CROSS JOIN LATERAL (
  SELECT created_at, payload, seq, id, actor FROM structure_events e
  WHERE e.workspace_id = g.id AND e.event_type = ANY(%(types)b)
    AND NOT (e.event_type = 'WORKSPACE_ONLINE' AND coalesce(e.payload->>'from', '') = 'online')
  ORDER BY seq DESC LIMIT 1
) e
"""
