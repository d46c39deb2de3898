"""/ws: who may listen, and to what; agents may also send heartbeats over it."""

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, ValidationError

from activity.endpoints import error_body
from activity.outbox import MALFORMED, NO_CREDENTIAL, NOT_ALLOWED, TOO_MANY
from activity.principals import ANONYMOUS, Kind, Principal
from activity.stream import EventStream, Refused, problem
from registry.api.serializers import HeartbeatBody
from registry.exceptions import BadCredential, Invalid, NotAllowed, RegistryError
from registry.fast_path import bodies
from registry.identity import addresses, authentication, rate_limits, refusals, tokens
from registry.identity.session_store import SessionStore
from registry.liveness.heartbeats import Beat
from registry.organisation.audience import Teams


class _Request(HttpRequest):
    """The part of a request that Django needs to find the user of a session, read from the session store each time."""

    def __init__(self, session_key: str) -> None:
        super().__init__()
        self.session = SessionStore(session_key)


class OrganisationStream(EventStream):
    """Operators receive all events, agents those of their own workspace and its peers.

    `may_listen` is the policy, supplied by molecule.asgi; without it every socket is refused. `accept_beat` passes a
    heartbeat to the fast path and returns None once it is committed, else what is wrong with it.
    """

    may_listen: Callable[[Principal], bool] = staticmethod(lambda principal: False)
    accept_beat: Callable[[Beat, str], Awaitable[dict[str, str] | None]]

    def identify(self) -> Principal:
        """Raises Refused."""
        principal = self._principal()
        if principal == ANONYMOUS:
            raise Refused(NO_CREDENTIAL)
        if not self.may_listen(principal):
            raise Refused(NOT_ALLOWED)
        return principal

    def enter(self) -> Principal:
        """Authenticate a handshake. A refused one counts as a request without a valid credential."""
        try:
            return self.identify()
        except Refused:
            strangers = rate_limits.STRANGERS
            if strangers.add(self._client_address) > strangers.most:
                raise Refused(TOO_MANY) from None
            raise

    def session(self) -> str | None:
        """None for a socket with a token: only the token counts then."""
        if self._header("authorization") is not None:
            return None
        key: str | None = self.scope["cookies"].get(settings.SESSION_COOKIE_NAME)
        return key

    def audience(self) -> Teams:
        """A new Audience, for the process's hub."""
        return Teams()

    async def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """The reply to a client's message."""
        if message.get("type") != "heartbeat":
            return await super().answer(message)
        own = self.principal.workspace_id
        if self.principal.kind != Kind.WORKSPACE or own is None:
            return problem("only agents send heartbeats", "not_allowed")
        try:
            beat = self._read({**message, "workspace_id": message.get("workspace_id") or str(own)})
        except ValidationError as error:
            return problem(**error_body(error))
        if beat.workspace_id != own:
            refusals.note(beat.workspace_id, beat.token, self._client_address)
            return problem("workspace_id is not the token's workspace", "not_allowed")
        wrong = await self.accept_beat(beat, self._client_address)
        return problem(**wrong) if wrong else {"type": "heartbeat.ok"}

    def _read(self, body: dict[str, Any]) -> Beat:
        """With the token that opened the socket, which is checked again with each heartbeat. Raises ValidationError."""
        text = authentication.bearer_token(self._header("authorization"))
        presented = None if text is None else tokens.presented_token(text)
        if presented and (beat := bodies.beat(body, presented)):
            return beat
        serializer = HeartbeatBody(data=body)
        serializer.is_valid(raise_exception=True)
        return Beat(**serializer.validated_data, token=presented)

    def _principal(self) -> Principal:
        if not authentication.is_our_host(self._header("host") or ""):
            raise Refused(NOT_ALLOWED)
        try:
            header = self._header("x-workspace-id")
            text = authentication.bearer_token(self._header("authorization"))
            if text is not None:
                return self._token_holder(text, header)
            if not authentication.is_our_origin(self._header("origin"), self._header("host")):
                raise Refused(NOT_ALLOWED)
            if session := self.session():
                user = get_user(_Request(session))
                if user.is_authenticated:
                    return tokens.principal_for_user(user)
            return authentication.without_credential(header)
        except Invalid:
            raise Refused(MALFORMED) from None
        except NotAllowed:
            raise Refused(NOT_ALLOWED) from None
        except (RegistryError, AuthenticationFailed):
            raise Refused(NO_CREDENTIAL) from None

    def _token_holder(self, text: str, header: str | None) -> Principal:
        """Raises BadCredential, NotAllowed; both are noted on the workspace that the header or the token names."""
        try:
            return authentication.narrow(tokens.principal_for_token(text)[1], header)
        except (BadCredential, NotAllowed):
            if token := tokens.presented_token(text, tokens.WORKSPACE_TYPES):
                refusals.note(bodies.uuid(header), token, self._client_address)
            raise

    @cached_property
    def _client_address(self) -> str:
        return addresses.of_scope(self.scope)

    def _header(self, name: str) -> str | None:
        """The first header of that name."""
        values = (value for key, value in self.scope["headers"] if key == name.encode())
        value = next(values, None)
        return None if value is None else value.decode("latin-1")
