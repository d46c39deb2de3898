"""/ws: who may listen, and to what."""

from collections.abc import Callable
from urllib.parse import urlsplit

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed

from activity import bus
from activity.principals import ANONYMOUS, Principal
from activity.stream import NO_CREDENTIAL, NOT_ALLOWED, EventStream, Refused
from registry import authentication, credentials
from registry.exceptions import RegistryError


class _Request(HttpRequest):
    """As much of a request as Django needs to find its user, read afresh from the session's store."""

    def __init__(self, session_key: str) -> None:
        super().__init__()
        self.session = SessionStore(session_key)


class OrganisationStream(EventStream):
    """Operators hear everything. (What agents may hear follows from the hierarchy; they are refused so far.)

    `may_listen` is the policy's word, given by the assembly; without one, nobody may.
    """

    may_listen: Callable[[Principal], bool] = staticmethod(lambda principal: False)

    async def identify(self) -> Principal:
        principal: Principal = await database_sync_to_async(self._principal)()
        if principal == ANONYMOUS:
            raise Refused(NO_CREDENTIAL)
        if not await database_sync_to_async(self.may_listen)(principal):
            raise Refused(NOT_ALLOWED)
        return principal

    def audience(self, principal: Principal) -> list[str]:
        wants_beats = self.query("beats") == "1"
        return [bus.CANVAS_GROUP, *([bus.BEATS_GROUP] if wants_beats else [])]

    def _principal(self) -> Principal:
        try:
            claimed = authentication.workspace_header(self._header("x-workspace-id"))
            text = authentication.bearer_token(self._header("authorization"))
            if text is not None:
                return authentication.narrow(credentials.principal_for_token(text)[1], claimed)
            self._check_origin()
            if session := self.scope["cookies"].get(settings.SESSION_COOKIE_NAME):
                user = get_user(_Request(session))
                if user.is_authenticated:
                    return credentials.principal_for_user(user)
            return authentication.without_credential(claimed)
        except (RegistryError, AuthenticationFailed):
            raise Refused(NO_CREDENTIAL) from None

    def _check_origin(self) -> None:
        """A browser sends cookies wherever a page asks it to; it says honestly which page that was."""
        origin = self._header("origin")
        if origin is None or origin in settings.CORS_ALLOWED_ORIGINS:
            return
        if urlsplit(origin).netloc != self._header("host"):
            raise Refused(NOT_ALLOWED)

    def _header(self, name: str) -> str | None:
        """The first header of that name."""
        values = (value for key, value in self.scope["headers"] if key == name.encode())
        value = next(values, None)
        return None if value is None else value.decode("latin-1")
