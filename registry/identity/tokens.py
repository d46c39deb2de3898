"""Tokens: issue, verify, revoke. A token's text is returned once, when it is issued; only its hash is stored."""

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, models, transaction
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from activity import bus, cache_versions, clock, statements
from activity.principals import Kind, Level, Principal
from registry.exceptions import BadCredential, NotFound
from registry.models import (
    OperatorToken,
    Status,
    Token,
    TokenKind,
    WorkspaceToken,
)
from registry.structure import rows

# <typed prefix>_<8 clear characters for lookup>_<43 secret characters: 256 bits>
TYPES = {"mol_ws": TokenKind.AGENT, "mol_en": TokenKind.ENROLMENT, "mol_op": None}
WORKSPACE_TYPES = ("mol_ws", "mol_en")
LOOKUP_BYTES = 6
SECRET_BYTES = 32
WELL_FORMED = re.compile(r"((mol_[a-z]{2})_[0-9a-f]{12})_[A-Za-z0-9-]{43}")
LAST_USED_RESOLUTION = timedelta(minutes=10)
# Clients wait at most half a minute for the answer to a registration, and then repeat it.
REPEAT_SECONDS = 60
LIVE = models.Q(revoked_at=None) & (models.Q(expires_at=None) | models.Q(expires_at__gt=Now()))
# For statements with workspaces and their agents' tokens as `g(id, prefix, hash)`: the row of a valid token.
MATCHING_TOKEN = f"""(
    SELECT t.id, t.last_used_at IS NULL OR t.last_used_at < now() - interval '{LAST_USED_RESOLUTION}' AS is_stale
    FROM workspace_tokens t
    WHERE t.prefix = g.prefix AND t.hash = g.hash AND t.workspace_id = g.id AND t.kind = 'agent'
      AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
    LIMIT 1
  )"""  # noqa: S608  # of constants
MARK_USED = """
UPDATE workspace_tokens SET last_used_at = now()
WHERE id IN (SELECT id FROM workspace_tokens WHERE id = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)
"""
VALID = f"""
SELECT (g.n - 1)::int
FROM unnest(%(ids)b::uuid[], %(prefixes)b::text[], %(hashes)b::bytea[]) WITH ORDINALITY AS g(id, prefix, hash, n)
JOIN workspaces w ON w.id = g.id LEFT JOIN LATERAL {MATCHING_TOKEN} t ON true
WHERE w.status <> 'removed' AND (g.prefix IS NULL OR t.id IS NOT NULL)
"""  # noqa: S608  # of constants


class PresentedToken(NamedTuple):
    """A token as a request shows it, before it is checked: the prefix to look up and the hash to compare."""

    prefix: str
    hash: bytes


class Caller(NamedTuple):
    """The workspace that a valid agent token belongs to."""

    workspace_id: UUID
    token_id: UUID
    expires_at: datetime | None


# The Django permissions that give an operator each level.
LEVELS = {
    "view_workspace": Level.VIEW,
    "change_workspace": Level.ACT,
    "change_workspacesecret": Level.ADMINISTER,
}
# The permission to let agents read secret values.
REVEAL = "reveal_secrets"
# Django's own rule (a user's permissions and those of its groups) in one query instead of three. It runs for each
# request, so that revoking a permission takes effect at once.
HELD = f"""ARRAY(
    SELECT p.codename FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id
    WHERE c.app_label = 'registry' AND p.codename IN ({", ".join(f"'{name}'" for name in (*LEVELS, REVEAL))}) AND (
      EXISTS (SELECT FROM auth_user_user_permissions o WHERE o.permission_id = p.id AND o.user_id = {{user}})
      OR EXISTS (
        SELECT FROM auth_group_permissions g JOIN auth_user_groups m ON m.group_id = g.group_id
        WHERE g.permission_id = p.id AND m.user_id = {{user}})))"""  # noqa: S608  # of constants
HELD_BY_USER = HELD.format(user="%(user)s")
HELD_BY_OWNER = HELD.format(user="operator_tokens.user_id")
HELD_BY_EACH = HELD.format(user="auth_user.id")


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A new token. `text` is the token itself, which is shown once."""

    id: UUID
    prefix: str
    text: str


def issue_workspace_token(
    workspace_id: UUID,
    *,
    label: str = "",
    expires_at: datetime | None = None,
    may_reveal: bool = False,
    enrolment_id: UUID | None = None,
) -> Issued:
    """Issue an agent token. Earlier tokens stay valid, so that an agent can switch. Raises NotFound, Removed.

    `may_reveal`: it may read secret values, as its issuer's credential permits. `enrolment_id`: the enrolment token
    that it is issued for.
    """
    fields = {"label": label, "expires_at": expires_at, "may_reveal": may_reveal, "enrolment_id": enrolment_id}
    return issue("mol_ws", workspace_id, kind=TokenKind.AGENT, **fields)


def allow_to_reveal(workspace_id: UUID) -> int:
    """Let all valid tokens of a workspace read secret values. Returns their number."""
    return live(workspace_id).update(may_reveal=True)


def has_token_that_may_not_reveal(workspace_id: UUID) -> bool:
    """Whether the workspace has a valid token that may not read secret values."""
    return live(workspace_id).filter(may_reveal=False).exists()


def revoke_token(workspace_id: UUID, token_id: UUID) -> None:
    """Revoke a workspace's token and close its sockets. Raises NotFound."""
    with transaction.atomic():
        live = WorkspaceToken.objects.filter(workspace_id=workspace_id, id=token_id, revoked_at=None)
        if not live.update(revoked_at=Now()):
            raise NotFound("no such token")
        _announce_revoked([str(token_id)])


def revoke_operator_token(token_id: UUID) -> None:
    """Revoke an operator's token and close its sockets. Raises NotFound."""
    with transaction.atomic():
        if not OperatorToken.objects.filter(id=token_id, revoked_at=None).update(revoked_at=Now()):
            raise NotFound("no such token")
        bus.after_commit(bus.close_streams, [str(token_id)])


def issue_operator_token(user: User, *, label: str = "") -> str:
    """Issue a token with the permissions of `user`; returns its text."""
    prefix, text = _mint("mol_op")
    OperatorToken.objects.create(user=user, prefix=prefix, hash=_hash(text), label=label)
    return text


def revoke_workspace_tokens(workspace_ids: Sequence[UUID]) -> None:
    """Revoke every token of these workspaces, enrolment tokens too, and close their sockets."""
    live = WorkspaceToken.objects.filter(workspace_id__in=workspace_ids, revoked_at=None)
    revoked = [str(token_id) for token_id in live.values_list("id", flat=True)]
    if revoked:
        live.update(revoked_at=Now())
        _announce_revoked(revoked)


def _announce_revoked(token_ids: Sequence[str]) -> None:
    """Invalidates caches before the commit, closes open sockets after it."""
    cache_versions.TOKENS.lock()
    cache_versions.TOKENS.invalidate()
    bus.after_commit(bus.close_streams, token_ids)


def has_live_token(workspace_id: UUID) -> bool:
    """Does the workspace have a valid agent token? Enrolment tokens do not count: no agent has registered yet."""
    return _live_agents().filter(workspace_id=workspace_id).exists()


def live(workspace_id: UUID) -> models.QuerySet[WorkspaceToken]:
    """The workspace's tokens that are neither revoked nor expired, enrolment tokens too."""
    return WorkspaceToken.objects.filter(LIVE, workspace_id=workspace_id)


def unconfirmed_token(enrolment_id: UUID) -> UUID | None:
    """The agent token that was issued for this enrolment token, if the response with it may have been lost.

    That is the case for REPEAT_SECONDS after the enrolment token was used, while the agent token is unused.
    """
    just_used = WorkspaceToken.objects.filter(
        id=enrolment_id, kind=TokenKind.ENROLMENT, revoked_at__gt=Now() - timedelta(seconds=REPEAT_SECONDS)
    )
    issued = _live_agents().filter(models.Exists(just_used), enrolment_id=enrolment_id, last_used_at=None)
    return issued.values_list("id", flat=True).first()


def live_tokens(token_ids: Sequence[UUID]) -> set[UUID]:
    """The valid agent tokens among these."""
    return set(_live_agents().filter(id__in=token_ids).values_list("id", flat=True))


def operators(token_ids: Collection[UUID]) -> dict[UUID, Principal]:
    """The principals of the valid operators' tokens among these, in one query."""
    if not token_ids:
        return {}
    now = clock.now()
    return {
        token.id: _principal(token.user, token.held, token.id)
        for token in _operator_tokens().filter(id__in=token_ids)
        if token.is_live(now) and token.user.is_active
    }


def principal_for_token(text: str) -> tuple[User | None, Principal]:
    """The user (of an operator's token) and the Principal. Raises BadCredential if unknown, expired or revoked."""
    if is_metrics_token(text):
        return None, Principal(kind=Kind.SCRAPER)
    typed, _, rest = text.rpartition("_")[0].rpartition("_")
    if typed not in TYPES or not rest:
        raise BadCredential("invalid token")
    presented = PresentedToken(_prefix_of(text), _hash(text))
    if typed == "mol_op":
        return _operator(presented)
    return None, _workspace(presented, TYPES[typed])


def presented_token(text: str, types: Collection[str] = ("mol_ws",)) -> PresentedToken | None:
    """For statements that check the token themselves; None for text that is not formed like a token of these types."""
    match = WELL_FORMED.fullmatch(text)
    return PresentedToken(match[1], _hash(text)) if match and match[2] in types else None


def is_metrics_token(text: str) -> bool:
    """Is it METRICS_TOKEN? Needs no database: metrics matter most while it is down."""
    token: str = settings.METRICS_TOKEN
    return bool(token) and compare_digest(_hash(text), _hash(token))


def callers(presented_tokens: Collection[PresentedToken]) -> dict[PresentedToken, Caller]:
    """The workspaces that these tokens belong to, in one query; invalid tokens are missing."""
    if not presented_tokens:
        return {}
    tokens = _live_agents().filter(prefix__in=[presented.prefix for presented in presented_tokens])
    tokens = tokens.exclude(workspace__status=Status.REMOVED)
    shown = {PresentedToken(token.prefix, bytes(token.hash)): token for token in tokens}
    good = {presented: shown[presented] for presented in presented_tokens if presented in shown}
    mark_used([token.id for token in good.values() if _is_stale(token)])
    return {presented: Caller(token.workspace_id, token.id, token.expires_at) for presented, token in good.items()}


def owners(presented_tokens: set[PresentedToken]) -> dict[PresentedToken, UUID]:
    """The workspaces that these tokens belong to; invalid tokens are missing.

    For a removed workspace every token that was ever issued counts, so that its agent can be told.
    """
    found = {presented: caller.workspace_id for presented, caller in callers(presented_tokens).items()}
    missing = presented_tokens - found.keys()
    if missing:
        tokens = WorkspaceToken.objects.filter(
            prefix__in=[presented.prefix for presented in missing], kind=TokenKind.AGENT
        )
        retired = tokens.filter(workspace__status=Status.REMOVED)
        shown = {PresentedToken(token.prefix, bytes(token.hash)): token.workspace_id for token in retired}
        found |= {presented: shown[presented] for presented in missing & shown.keys()}
    return found


def known(presented_tokens: Collection[PresentedToken]) -> set[PresentedToken]:
    """The known ones of these tokens, of any type. To be known gives no access.

    Known are valid tokens, tokens of removed workspaces (their agents get 410), and enrolment tokens that were just
    used (the registration may be repeated).
    """
    prefixes = [presented.prefix for presented in presented_tokens]
    just_used = models.Q(kind=TokenKind.ENROLMENT, revoked_at__gt=Now() - timedelta(seconds=REPEAT_SECONDS))
    of_workspaces = WorkspaceToken.objects.filter(
        LIVE | models.Q(workspace__status=Status.REMOVED) | just_used, prefix__in=prefixes
    )
    of_operators = OperatorToken.objects.filter(LIVE, prefix__in=prefixes, user__is_active=True)
    rows = of_workspaces.order_by().values_list("prefix", "hash")
    if any(prefix.startswith("mol_op") for prefix in prefixes):
        rows = rows.union(of_operators.order_by().values_list("prefix", "hash"))
    return {PresentedToken(prefix, bytes(digest)) for prefix, digest in rows} & set(presented_tokens)


def valid(named: Sequence[tuple[UUID, PresentedToken | None]]) -> set[int]:
    """The indexes of pairs whose workspace is not removed and whose token is valid, or None for one that was checked
    before. Waits for no lock.
    """
    return {n for (n,) in statements.execute(VALID, columns(named))} if named else set()


def columns(named: Sequence[tuple[UUID, PresentedToken | None]]) -> dict[str, list[Any]]:
    """Workspaces with their agents' tokens as parameters of a statement with MATCHING_TOKEN."""
    presented = [token or (None, None) for _, token in named]
    return {
        "ids": [workspace_id for workspace_id, _ in named],
        "prefixes": [prefix for prefix, _ in presented],
        "hashes": [digest for _, digest in presented],
    }


def mark_used(token_ids: Sequence[UUID]) -> None:
    """Set `last_used_at`; callers call it once it is older than LAST_USED_RESOLUTION.

    Skips locked rows: they are being revoked, or another process marks them.
    """
    if token_ids:
        with connection.cursor() as cursor:
            cursor.execute(MARK_USED, [list(token_ids)])


def principal_for_user(user: User | AnonymousUser) -> Principal:
    """The user's Principal, with the level that its Django permissions on workspaces and secrets give."""
    known: list[str] | None = getattr(user, "held", None)
    if known is None:
        known = _held(user) if user.is_active and not user.is_superuser else []
    return _principal(user, known)


def with_held(users: models.QuerySet[User]) -> models.QuerySet[User]:
    """The same users with their permissions, so that principal_for_user() needs no query."""
    return users.annotate(held=RawSQL(HELD_BY_EACH, []))  # noqa: S611


def _live_agents() -> models.QuerySet[WorkspaceToken]:
    return WorkspaceToken.objects.filter(LIVE, kind=TokenKind.AGENT)


def _principal(user: User | AnonymousUser, held: Collection[str], token_id: UUID | None = None) -> Principal:
    level = max((LEVELS[name] for name in held if name in LEVELS), default=Level.NONE)
    if user.is_superuser:
        level = Level.ADMINISTER
    if not user.is_active:
        level = Level.NONE
    return Principal(
        kind=Kind.OPERATOR,
        level=level,
        name=user.get_username(),
        user_id=user.pk,
        token_id=token_id,
        may_reveal=user.is_active and (user.is_superuser or REVEAL in held),
    )


def _held(user: User | AnonymousUser) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {HELD_BY_USER}", {"user": user.pk})
        held: list[str] = cursor.fetchone()[0]
    return held


def _operator_tokens() -> models.QuerySet[Any]:
    """With their users, and with the permissions that these hold, as `held`."""
    return OperatorToken.objects.select_related("user").annotate(held=RawSQL(HELD_BY_OWNER, []))  # noqa: S611


def _operator(presented: PresentedToken) -> tuple[User, Principal]:
    token = _operator_tokens().filter(prefix=presented.prefix).first()
    if token is None or not _matches(token, presented) or not token.is_live(clock.now()) or not token.user.is_active:
        raise BadCredential("invalid token")
    _mark_used(token)
    return token.user, _principal(token.user, token.held, token.id)


def _workspace(presented: PresentedToken, kind: TokenKind | None) -> Principal:
    tokens = WorkspaceToken.objects.select_related("workspace").defer("workspace__agent_card")
    token = tokens.filter(prefix=presented.prefix, kind=kind).first()
    if token is None or not _matches(token, presented):
        raise BadCredential("invalid token")
    retired = token.workspace.status == Status.REMOVED
    if (
        not retired
        and not token.is_live(clock.now())
        and not (kind == TokenKind.ENROLMENT and unconfirmed_token(token.id))
    ):
        raise BadCredential("token expired, used or revoked")
    if not retired:
        _mark_used(token)
    return Principal(
        kind=Kind.WORKSPACE if kind == TokenKind.AGENT else Kind.ENROLMENT,
        workspace_id=token.workspace_id,
        token_id=token.id,
        retired=retired,
        may_reveal=token.may_reveal,
    )


def issue(typed: str, workspace_id: UUID, **fields: Any) -> Issued:
    """Issue a token of that type for a workspace. Raises NotFound, Removed.

    The lock serializes it with a removal: either the removal revokes the new token, or this raises Removed.
    """
    prefix, text = _mint(typed)
    with transaction.atomic():
        rows.lock_active(workspace_id)
        row = WorkspaceToken.objects.create(workspace_id=workspace_id, prefix=prefix, hash=_hash(text), **fields)
    return Issued(id=row.id, prefix=prefix, text=text)


def _mint(typed: str) -> tuple[str, str]:
    lookup = secrets.token_hex(LOOKUP_BYTES)
    prefix = f"{typed}_{lookup}"
    # The secret part contains no "_", so that the last one separates it from the prefix.
    return prefix, f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES).replace('_', '-')}"


def _prefix_of(text: str) -> str:
    return text.rpartition("_")[0]


def _hash(text: str) -> bytes:
    """Plain SHA-256 is enough: the secret is 256 random bits, so a slow hash would protect nothing more."""
    return hashlib.sha256(text.encode()).digest()


def _matches(token: Token, presented: PresentedToken) -> bool:
    return compare_digest(bytes(token.hash), presented.hash)


def _mark_used(token: Token) -> None:
    if _is_stale(token):
        type(token)._default_manager.filter(id=token.id).update(last_used_at=Now())


def _is_stale(token: Token) -> bool:
    return token.last_used_at is None or clock.now() - token.last_used_at > LAST_USED_RESOLUTION
