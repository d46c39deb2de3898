"""A limit for request bodies: they are read before Django sees the request, and refused with 413 when too large."""

from typing import Any

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from django.conf import settings

from registry.fast_path.application import replayed, respond

TOO_LARGE = b'{"error":"body too large"}'
REFUSAL = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(TOO_LARGE)),
    (b"connection", b"close"),
]


class BoundedBody:
    """ASGI middleware: the application gets a complete body and its Content-Length, also when it was sent in chunks."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        body, more = b"", True
        while more:
            message: Any = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > settings.MAX_BODY_BYTES:
                await respond(send, 413, REFUSAL, TOO_LARGE)
                return
        await self.application(_with_length(scope, len(body)), replayed(body, receive), send)


def _with_length(scope: Any, length: int) -> Any:
    """Adds Content-Length where the client sent none; uvicorn has checked one that is there."""
    if not length or any(name == b"content-length" for name, _ in scope["headers"]):
        return scope
    others = [header for header in scope["headers"] if header[0] != b"transfer-encoding"]
    return {**scope, "headers": [*others, (b"content-length", str(length).encode())]}
