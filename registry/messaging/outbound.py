"""Requests to agents' URLs: the name is resolved once, the address checked and connected to; no redirects (SSRF)."""

import ipaddress
import socket
from collections.abc import Iterable

import httpx
from django.conf import settings

from registry.exceptions import NotAllowed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class PinnedTransport(httpx.HTTPTransport):
    """Connects to the address that was checked, so that the name may resolve differently afterwards."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises NotAllowed."""
        host = request.url.host
        address = permitted_address(host, request.url.port or {"http": 80, "https": 443}[request.url.scheme])
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=str(address))
        return super().handle_request(request)


def client(*, timeout: float) -> httpx.Client:
    """An HTTP client for a few calls; `timeout` in seconds. Its requests raise NotAllowed. Ignores proxy settings."""
    return httpx.Client(transport=PinnedTransport(), timeout=timeout, follow_redirects=False, trust_env=False)


def permitted_address(host: str, port: int) -> Address:
    """The first address of the host. Raises NotAllowed unless all of its addresses may be called."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotAllowed(f"{host} does not resolve") from None
    addresses = [_unmapped(ipaddress.ip_address(entry[4][0])) for entry in found]
    networks = [ipaddress.ip_network(text) for text in settings.OUTBOUND_NETWORKS]
    if not addresses or not all(_is_permitted(address, networks) for address in addresses):
        raise NotAllowed(f"{host} is on a network that agents may not be called on (OUTBOUND_NETWORKS)")
    return addresses[0]


def _is_permitted(address: Address, networks: Iterable[Network]) -> bool:
    """Public addresses always; others (private, loopback, link-local, …) only if OUTBOUND_NETWORKS contains them."""
    return (address.is_global and not address.is_multicast) or any(address in network for network in networks)


def _unmapped(address: Address) -> Address:
    """An IPv4-mapped IPv6 address (::ffff:127.0.0.1) is checked as the IPv4 address."""
    return getattr(address, "ipv4_mapped", None) or address
