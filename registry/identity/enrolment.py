"""Enrolment: a one-time token with which one agent registers as a workspace."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from activity import bus, clock
from registry.exceptions import BadCredential
from registry.identity import tokens
from registry.models import TokenKind, Workspace, WorkspaceToken
from registry.structure import rows

UPDATED = "ENROLMENT_UPDATED"


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """`token` is shown once and stored only as a hash."""

    token: str = field(repr=False)
    expires_at: datetime


def issue(workspace_id: UUID, *, may_reveal: bool = False) -> Enrolment:
    """Issue a token that is valid for one use and ENROLMENT_TOKEN_SECONDS. Unused earlier ones are revoked.

    `may_reveal`: the agent that enrols with it may read secret values, as the issuer may reveal them.
    Raises NotFound, Removed.
    """
    expires_at = clock.now() + timedelta(seconds=settings.ENROLMENT_TOKEN_SECONDS)
    with transaction.atomic():
        # This locks the workspace, so the second of two concurrent calls revokes the token of the first.
        issued = tokens.issue(
            "mol_en", workspace_id, kind=TokenKind.ENROLMENT, expires_at=expires_at, may_reveal=may_reveal
        )
        _unused(workspace_id).exclude(id=issued.id).update(revoked_at=Now())
        Workspace.objects.filter(id=workspace_id).update(enrolment_expires_at=expires_at)
        bus.after_commit(_publish, workspace_id, expires_at)
    return Enrolment(token=issued.text, expires_at=expires_at)


def redeem(workspace_id: UUID, token_id: UUID) -> None:
    """Use up an enrolment token. The workspace's row must be locked.

    It can be repeated while the first response may have been lost (see tokens.unconfirmed_token); that revokes the
    agent token in the first response. Raises BadCredential if the token was used, replaced or has expired.
    """
    if _unused(workspace_id).filter(id=token_id, expires_at__gt=Now()).update(revoked_at=Now()):
        return
    lost = tokens.unconfirmed_token(token_id)
    if lost is None:
        raise BadCredential("enrolment token already used or expired")
    tokens.revoke_token(workspace_id, lost)


def revoke_token(workspace_id: UUID, token_id: UUID) -> None:
    """Revoke a token of the workspace. If it is the enrolment token in use, the enrolment expires. Raises NotFound."""
    with transaction.atomic():
        rows.lock([workspace_id])
        tokens.revoke_token(workspace_id, token_id)
        if WorkspaceToken.objects.filter(id=token_id, kind=TokenKind.ENROLMENT).exists():
            now = clock.now()
            awaiting = Workspace.objects.filter(id=workspace_id, enrolment_expires_at__gt=now)
            if awaiting.update(enrolment_expires_at=now):
                bus.after_commit(_publish, workspace_id, now)


def end_unused(workspace_id: UUID) -> None:
    """Revoke the unused enrolment tokens, as an agent registers. The workspace's row must be locked."""
    _unused(workspace_id).update(revoked_at=Now())


def complete(workspace: Workspace) -> None:
    """An agent has registered: no other is awaited. The row must be locked."""
    if workspace.enrolment_expires_at is not None:
        clear([workspace.id])
        bus.after_commit(_publish, workspace.id, None)


def clear(ids: Iterable[UUID]) -> None:
    """These workspaces await no agent."""
    Workspace.objects.filter(id__in=ids).exclude(enrolment_expires_at=None).update(enrolment_expires_at=None)


def _unused(workspace_id: UUID) -> QuerySet[WorkspaceToken]:
    return WorkspaceToken.objects.filter(workspace_id=workspace_id, kind=TokenKind.ENROLMENT, revoked_at=None)


def _publish(workspace_id: UUID, expires_at: datetime | None) -> None:
    payload = {"enrolment_expires_at": expires_at and bus.rfc3339(expires_at)}
    bus.publish([bus.envelope(UPDATED, workspace_id, payload)])
