"""The client's address is the last one in X-Forwarded-For that a trusted proxy wrote, for every door the same."""

from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import RequestFactory

from registry.identity import addresses

PEER = "10.0.0.1"


def scope_of(*forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"type": "http", "method": "GET", "path": "/", "client": (PEER, 1), "headers": headers}


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, [], PEER),
        (0, ["1.1.1.1"], PEER),
        (1, [], PEER),
        (1, [""], PEER),
        (1, ["1.1.1.1"], "1.1.1.1"),
        (1, ["9.9.9.9, 1.1.1.1"], "1.1.1.1"),
        (1, ["9.9.9.9", "1.1.1.1"], "1.1.1.1"),  # HAProxy adds a header of its own
        (2, ["9.9.9.9, 1.1.1.1, 2.2.2.2"], "1.1.1.1"),
        (2, ["9.9.9.9,1.1.1.1", "2.2.2.2"], "1.1.1.1"),
        (2, ["2.2.2.2"], "2.2.2.2"),
        (1, ["9.9.9.9, 1.1.1.1:55001"], "1.1.1.1"),  # Azure's gateway appends the port
        (1, ["2001:db8::1"], "2001:db8::1"),
        (1, ["[2001:db8::1]:55001"], "2001:db8::1"),
        (1, ["[2001:db8::1]"], "2001:db8::1"),
    ],
)
def test_as_many_addresses_as_there_are_proxies_are_trusted(
    settings: Any, proxies: int, forwarded: list[str], address: str
) -> None:
    settings.PROXY_ADDRESSES = proxies
    scope = scope_of(*forwarded)
    assert addresses.of_scope(scope) == address
    assert addresses.of_request(ASGIRequest(scope, BytesIO())) == address


def test_the_scheme_of_a_proxy_says_nothing_about_addresses(settings: Any) -> None:
    settings.PROXY_SCHEME = True
    assert addresses.of_scope(scope_of("1.1.1.1")) == PEER
    assert addresses.of_request(RequestFactory().get("/", REMOTE_ADDR=PEER, HTTP_X_FORWARDED_FOR="1.1.1.1")) == PEER


def test_an_unknown_peer_has_no_address() -> None:
    assert addresses.of_scope({"client": None, "headers": []}) == ""
