"""Requests to agents' URLs: resolved once, checked, sent to exactly that address, no redirects followed."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from registry.exceptions import NotAllowed
from registry.messaging import outbound


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/away" else 200)
        self.send_header("Location", "http://169.254.169.254/latest/meta-data")
        self.end_headers()
        self.wfile.write(self.headers["Host"].encode())

    def log_message(self, *arguments: object) -> None:
        """No output."""


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Make names resolve to one answer after the other; returns the list of the names that were resolved."""
    asked: list[str] = []
    really = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        if host[0].isdigit():
            return really(host, port, *_, **__)
        asked.append(host)
        addresses = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::",
    ],
)  # fmt: skip
def test_private_addresses_are_refused(settings: Any, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    settings.OUTBOUND_NETWORKS = []
    resolving(monkeypatch, [address])
    with pytest.raises(NotAllowed):
        outbound.permitted_address("agent.example", 80)


def test_a_name_with_one_private_address_among_public_ones_is_refused(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OUTBOUND_NETWORKS = []
    resolving(monkeypatch, ["93.184.215.14", "10.0.0.1"])
    with pytest.raises(NotAllowed):
        outbound.permitted_address("agent.example", 80)


def test_public_addresses_and_networks_of_the_settings_are_allowed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OUTBOUND_NETWORKS = ["10.1.0.0/16"]
    resolving(monkeypatch, ["10.1.2.3"], ["93.184.215.14"], ["10.2.0.1"])
    assert str(outbound.permitted_address("inside.example", 80)) == "10.1.2.3"
    assert str(outbound.permitted_address("outside.example", 80)) == "93.184.215.14"
    with pytest.raises(NotAllowed):
        outbound.permitted_address("beside.example", 80)


def test_it_connects_to_the_address_that_was_checked(settings: Any, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """A name whose answer changes after the check (DNS rebinding) is resolved only once."""
    settings.OUTBOUND_NETWORKS = ["127.0.0.1/32"]
    asked = resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    with outbound.client(timeout=5) as client:
        answer = client.get(f"http://agent.example:{port}/")
    assert (answer.status_code, answer.text) == (200, f"agent.example:{port}")
    assert asked.count("agent.example") == 1


def test_redirects_are_not_followed(settings: Any, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    settings.OUTBOUND_NETWORKS = ["127.0.0.1/32"]
    with outbound.client(timeout=5) as client:
        assert client.get(f"http://127.0.0.1:{port}/away").status_code == 302


def test_names_that_do_not_resolve_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(NotAllowed, match="does not resolve"):
        outbound.permitted_address("nowhere.example", 80)
