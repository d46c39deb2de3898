"""Checks many operators' sessions in two queries."""

from collections.abc import Collection
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models.functions import Now
from django.utils.crypto import constant_time_compare

from activity.principals import Principal
from registry.identity import tokens
from registry.identity.session_store import SessionStore


def principals(keys: Collection[str]) -> dict[str, Principal]:
    """The principals of the valid sessions. A missing one may still be valid: check it with get_user()."""
    if not keys:
        return {}
    live = Session.objects.filter(session_key__in=keys, expire_date__gt=Now())
    claims = {row.session_key: SessionStore().decode(row.session_data) for row in live}
    ids = {str(claim[SESSION_KEY]) for claim in claims.values() if SESSION_KEY in claim}
    users = {str(user.pk): user for user in tokens.with_held(User.objects.filter(pk__in=ids))}
    owners = {key: users.get(str(claim.get(SESSION_KEY))) for key, claim in claims.items()}
    return {
        key: tokens.principal_for_user(owner)
        for key, owner in owners.items()
        if owner is not None and _is_valid(owner, claims[key])
    }


def _is_valid(user: User, claim: dict[str, Any]) -> bool:
    """Sessions end when their user's password changes or the user is disabled."""
    return user.is_active and constant_time_compare(claim.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
