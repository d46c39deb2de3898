"""Tokens: issue, verify, revoke. Their text leaves this module once, and is kept nowhere."""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, models, transaction
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone

from activity import bus
from activity.principals import Kind, Level, Principal
from registry import rows
from registry.exceptions import BadCredential, NotFound
from registry.models import (
    OperatorToken,
    Status,
    Token,
    TokenKind,
    WorkspaceToken,
)

# <typed prefix>_<8 clear characters for lookup>_<43 secret characters: 256 bits>
TYPES = {"mol_ws": TokenKind.AGENT, "mol_en": TokenKind.ENROLMENT, "mol_op": None}
LOOKUP_BYTES = 6
SECRET_BYTES = 32
LAST_USED_RESOLUTION = timedelta(minutes=10)

# Which of Django's permissions make an operator.
LEVELS = {
    "view_workspace": Level.VIEW,
    "change_workspace": Level.ACT,
    "change_workspacesecret": Level.ADMINISTER,
}
# Django's own rule (a user's permissions and those of its groups), where Django asks three times. Asked with each
# request: what was taken from somebody is gone at once.
HELD = f"""ARRAY(
    SELECT p.codename FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id
    WHERE c.app_label = 'registry' AND p.codename IN ({", ".join(f"'{name}'" for name in LEVELS)}) AND (
      EXISTS (SELECT FROM auth_user_user_permissions o WHERE o.permission_id = p.id AND o.user_id = {{user}})
      OR EXISTS (
        SELECT FROM auth_group_permissions g JOIN auth_user_groups m ON m.group_id = g.group_id
        WHERE g.permission_id = p.id AND m.user_id = {{user}})))"""  # noqa: S608  # of constants
HELD_BY_USER = HELD.format(user="%(user)s")
HELD_BY_OWNER = HELD.format(user="operator_tokens.user_id")


@dataclass(frozen=True, kw_only=True)
class Issued:
    """`text` is the token itself, to be said once."""

    id: UUID
    prefix: str
    text: str


def issue_workspace_token(workspace_id: UUID, *, label: str = "", expires_at: datetime | None = None) -> Issued:
    """A new agent token; tokens issued before go on, so that an agent can change over. Raises NotFound, Removed."""
    return _issue("mol_ws", workspace_id, kind=TokenKind.AGENT, label=label, expires_at=expires_at)


def revoke_token(workspace_id: UUID, token_id: UUID) -> None:
    """It opens nothing from now on, and its sockets are closed. Raises NotFound."""
    with transaction.atomic():
        live = WorkspaceToken.objects.filter(workspace_id=workspace_id, id=token_id, revoked_at=None)
        if not live.update(revoked_at=Now()):
            raise NotFound("no such token")
        bus.after_commit(bus.close_streams, [str(token_id)])


def revoke_operator_token(token_id: UUID) -> None:
    """Raises NotFound."""
    with transaction.atomic():
        if not OperatorToken.objects.filter(id=token_id, revoked_at=None).update(revoked_at=Now()):
            raise NotFound("no such token")
        bus.after_commit(bus.close_streams, [str(token_id)])


def issue_enrolment_token(workspace_id: UUID) -> str:
    """A one-time token that lets one agent become this workspace, for ENROLMENT_TOKEN_SECONDS.

    Raises NotFound, Removed.
    """
    expires_at = timezone.now() + timedelta(seconds=settings.ENROLMENT_TOKEN_SECONDS)
    return _issue("mol_en", workspace_id, kind=TokenKind.ENROLMENT, expires_at=expires_at).text


def issue_operator_token(user: User, *, label: str = "") -> str:
    prefix, text = _mint("mol_op")
    OperatorToken.objects.create(user=user, prefix=prefix, hash=_hash(text), label=label)
    return text


def redeem_enrolment(token_id: UUID) -> None:
    """Use up an enrolment token. Raises BadCredential when another use was faster."""
    used = WorkspaceToken.objects.filter(
        id=token_id, kind=TokenKind.ENROLMENT, revoked_at=None, expires_at__gt=Now()
    ).update(revoked_at=Now())
    if not used:
        raise BadCredential("enrolment token already used or expired")


def revoke_workspace_tokens(workspace_ids: Sequence[UUID]) -> None:
    live = WorkspaceToken.objects.filter(workspace_id__in=workspace_ids, revoked_at=None)
    revoked = [str(token_id) for token_id in live.values_list("id", flat=True)]
    live.update(revoked_at=Now())
    bus.after_commit(bus.close_streams, revoked)


def has_live_token(workspace_id: UUID) -> bool:
    """Does an agent hold this workspace? Enrolments do not count: nobody is in yet."""
    live = models.Q(expires_at=None) | models.Q(expires_at__gt=Now())
    return WorkspaceToken.objects.filter(
        live, workspace_id=workspace_id, kind=TokenKind.AGENT, revoked_at=None
    ).exists()


def principal_for_token(text: str) -> tuple[User | None, Principal]:
    """Whose token is it? Raises BadCredential for anything unknown, expired or revoked."""
    typed, _, rest = text.rpartition("_")[0].rpartition("_")
    if typed not in TYPES or not rest:
        raise BadCredential("invalid token")
    if typed == "mol_op":
        return _operator(text)
    return None, _workspace(text, TYPES[typed])


def principal_for_user(user: User | AnonymousUser) -> Principal:
    """What an operator may do follows from Django's permissions on workspaces and secrets."""
    held = _held(user) if user.is_active and not user.is_superuser else []
    return _principal(user, held)


def _principal(user: User | AnonymousUser, held: Iterable[str], token_id: UUID | None = None) -> Principal:
    level = max((LEVELS[name] for name in held), default=Level.NONE)
    if user.is_superuser:
        level = Level.ADMINISTER
    if not user.is_active:
        level = Level.NONE
    return Principal(kind=Kind.OPERATOR, level=level, name=user.get_username(), token_id=token_id)


def _held(user: User | AnonymousUser) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {HELD_BY_USER}", {"user": user.pk})
        held: list[str] = cursor.fetchone()[0]
    return held


def _operator(text: str) -> tuple[User, Principal]:
    tokens = OperatorToken.objects.select_related("user").annotate(held=RawSQL(HELD_BY_OWNER, []))  # noqa: S611
    token = tokens.filter(prefix=_prefix_of(text)).first()
    if token is None or not _matches(token, text) or not token.is_live(timezone.now()) or not token.user.is_active:
        raise BadCredential("invalid token")
    _mark_used(token)
    return token.user, _principal(token.user, token.held, token.id)


def _workspace(text: str, kind: TokenKind | None) -> Principal:
    tokens = WorkspaceToken.objects.select_related("workspace").defer("workspace__agent_card")
    token = tokens.filter(prefix=_prefix_of(text), kind=kind).first()
    if token is None or not _matches(token, text):
        raise BadCredential("invalid token")
    retired = token.workspace.status == Status.REMOVED
    if not retired and not token.is_live(timezone.now()):
        raise BadCredential("token expired, used or revoked")
    if not retired:
        _mark_used(token)
    return Principal(
        kind=Kind.WORKSPACE if kind == TokenKind.AGENT else Kind.ENROLMENT,
        workspace_id=token.workspace_id,
        token_id=token.id,
        retired=retired,
    )


def _issue(typed: str, workspace_id: UUID, **fields: Any) -> Issued:
    """The lock makes a removal wait and find the token, or it is found here."""
    prefix, text = _mint(typed)
    with transaction.atomic():
        rows.lock_living(workspace_id)
        row = WorkspaceToken.objects.create(workspace_id=workspace_id, prefix=prefix, hash=_hash(text), **fields)
    return Issued(id=row.id, prefix=prefix, text=text)


def _mint(typed: str) -> tuple[str, str]:
    lookup = secrets.token_hex(LOOKUP_BYTES)
    prefix = f"{typed}_{lookup}"
    # The secret part has no "_": the last one separates it from the prefix.
    return prefix, f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES).replace('_', '-')}"


def _prefix_of(text: str) -> str:
    return text.rpartition("_")[0]


def _hash(text: str) -> bytes:
    """Plain SHA-256: the secret is 256 random bits, there is nothing to guess slowly."""
    return hashlib.sha256(text.encode()).digest()


def _matches(token: Token, text: str) -> bool:
    return compare_digest(bytes(token.hash), _hash(text))


def _mark_used(token: Token) -> None:
    now: datetime = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_RESOLUTION:
        type(token)._default_manager.filter(id=token.id).update(last_used_at=now)
