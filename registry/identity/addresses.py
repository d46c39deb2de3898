"""The client's address, by which rate limits, failed logins and refused credentials count.

Only this module reads X-Forwarded-For. A client can write into it what it likes; each proxy appends the address that
connected to it, so only the last PROXY_ADDRESSES are true.
"""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest

if TYPE_CHECKING:
    from rest_framework.request import Request


def of_scope(scope: dict[str, Any]) -> str:
    """The address of an ASGI request or socket; "" when it is unknown."""
    # Some proxies append a header of their own instead of adding to the client's.
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return _address(scope["client"][0] if scope.get("client") else "", forwarded.decode("latin-1"))


def of_request(request: "HttpRequest | Request") -> str:
    """The address of a request in Django; "" when it is unknown."""
    return _address(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def _address(peer: str, forwarded: str) -> str:
    if not settings.PROXY_ADDRESSES or not forwarded:
        return peer
    return _without_port(forwarded.split(",")[-settings.PROXY_ADDRESSES :][0].strip())


def _without_port(address: str) -> str:
    """Some proxies append the client's port, with IPv6 in brackets: it would make each connection a new client."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
