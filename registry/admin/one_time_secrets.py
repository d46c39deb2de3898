"""A new token survives the redirect after the POST that issued it, and is then shown once.

It waits in the user's session, encrypted with a key derived from SECRET_KEY, so the stored session does not reveal it.
"""

import base64
from typing import Any

from django.utils.crypto import salted_hmac

from activity import clock
from registry.admin import live
from registry.secrets.sealing import Keyring, SealBroken

SESSION_KEY = "one_time_secrets"
KEY_SALT = "registry.admin.one_time_secrets"
LIFETIME_SECONDS = 300


def put(request: Any, name: str, text: str) -> None:
    """Keep `text` under `name` for LIFETIME_SECONDS; replaces what waited under that name."""
    expires_at = int(clock.now().timestamp()) + LIFETIME_SECONDS
    sealed = _keyring().seal(text.encode(), context=_context(request, name, expires_at))
    entry = [expires_at, base64.b64encode(sealed).decode()]
    request.session[SESSION_KEY] = {**request.session.get(SESSION_KEY, {}), name: entry}


def pop(request: Any, name: str) -> str | None:
    """Returns the text and removes it; None when it was shown before, expired, or belongs to another user.

    For a page that is not displayed, returns None and keeps the text.
    """
    waiting = dict(request.session.get(SESSION_KEY, {}))
    if name not in waiting or live.is_unseen(request):
        return None
    expires_at, sealed = waiting.pop(name)
    request.session[SESSION_KEY] = waiting
    if expires_at < clock.now().timestamp():
        return None
    try:
        return _keyring().unseal(base64.b64decode(sealed), context=_context(request, name, expires_at)).decode()
    except SealBroken:
        return None


def _keyring() -> Keyring:
    return Keyring((salted_hmac(KEY_SALT, "", algorithm="sha256").digest(),))


def _context(request: Any, name: str, expires_at: int) -> str:
    """Authenticated with the text: neither another user's session nor a later time opens it."""
    return f"{KEY_SALT}:{request.user.pk}:{name}:{expires_at}"
