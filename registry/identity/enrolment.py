"""Enrolment: a one-time token lets one agent become a workspace."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from registry.exceptions import BadCredential
from registry.identity import tokens
from registry.models import TokenKind, WorkspaceToken


def issue(workspace_id: UUID) -> str:
    """A one-time token that lets one agent become this workspace, for ENROLMENT_TOKEN_SECONDS.

    Raises NotFound, Removed.
    """
    expires_at = timezone.now() + timedelta(seconds=settings.ENROLMENT_TOKEN_SECONDS)
    return tokens.issue("mol_en", workspace_id, kind=TokenKind.ENROLMENT, expires_at=expires_at).text


def redeem(token_id: UUID) -> None:
    """Use up an enrolment token. Raises BadCredential when another use was faster."""
    used = WorkspaceToken.objects.filter(
        id=token_id, kind=TokenKind.ENROLMENT, revoked_at=None, expires_at__gt=Now()
    ).update(revoked_at=Now())
    if not used:
        raise BadCredential("enrolment token already used or expired")
