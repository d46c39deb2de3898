"""A real nginx or Caddy with TLS in front of the platform, configured as docs/configuration.md says."""

import re
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.documents import blocks
from tests.e2e.stack import free_port, process, until

SITE, SUB_PATH = (block.text for block in blocks("docs/configuration.md") if block.language == "nginx")
CADDY_SITE, CADDY_SUB_PATH = (block.text for block in blocks("docs/configuration.md") if block.language == "caddyfile")
LOCATION = re.compile(r"^  location / \{.*?^  \}\n", re.MULTILINE | re.DOTALL)
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {site}
}}
"""


@dataclass
class Proxy:
    url: str
    context: ssl.SSLContext

    def client(self, address: str = "127.0.0.1", **options: Any) -> httpx.Client:
        """A client that trusts the proxy's certificate, at an address of its own."""
        transport = httpx.HTTPTransport(verify=self.context, local_address=address)
        return httpx.Client(base_url=self.url, transport=transport, timeout=20, **options)


def without_addresses(site: str) -> str:
    """The configuration without its line for X-Forwarded-For: nginx then passes on what the client sends."""
    return "".join(line for line in site.splitlines(keepends=True) if "X-Forwarded-For" not in line)


def below_sub_path(*, is_removed: bool) -> str:
    """The site with Molecule below /molecule/. `is_removed`: nginx removes that prefix."""
    location = SUB_PATH.replace(":8000;", ":8000/;") if is_removed else SUB_PATH
    assert is_removed == (location != SUB_PATH)
    return LOCATION.sub(lambda _found: location, SITE)


@contextmanager
def nginx(folder: Path, upstream: str, site: str = SITE) -> Iterator[Proxy]:
    """Runs in front of `upstream` until the block ends."""
    port = free_port()
    site = with_addresses(
        site, {"listen 443": f"listen 127.0.0.1:{port}", "/etc/ssl/": f"{folder}/", "http://127.0.0.1:8000": upstream}
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, site=site))
    with running([program("nginx"), "-p", str(folder), "-c", str(configuration)], folder, port) as proxy:
        yield proxy


@contextmanager
def caddy(folder: Path, upstream: str, site: str = CADDY_SITE) -> Iterator[Proxy]:
    """Runs in front of `upstream` until the block ends."""
    port = free_port()
    name = site.partition(" {")[0]
    certificate = f"tls {folder}/molecule.pem {folder}/molecule.key"
    site = with_addresses(
        site,
        {f"{name} {{": f"https://127.0.0.1:{port} {{\n  {certificate}", "127.0.0.1:8000": urlsplit(upstream).netloc},
    )
    configuration = folder / "Caddyfile"
    configuration.write_text(f"{{\n  admin off\n  auto_https disable_redirects\n}}\n{site}")
    command = [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(configuration)]
    with running(command, folder, port) as proxy:
        yield proxy


def with_addresses(site: str, actual: dict[str, str]) -> str:
    """The configuration of the page with the addresses and files of this test."""
    for documented, replacement in actual.items():
        assert documented in site
        site = site.replace(documented, replacement)
    return site


def program(name: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert path, f"{name} is not installed; .ci/run installs it"
    return path


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[Proxy]:
    proxy = Proxy(f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=make_certificate(folder)))
    environment = {"PATH": "/usr/bin", "HOME": str(folder)}
    with (folder / "output").open("wb") as output, process(command, environment, output), proxy.client() as client:
        until(lambda: _answers(client), f"{command[0]} to answer")
        yield proxy


def make_certificate(folder: Path) -> Path:
    """Writes molecule.pem, for 127.0.0.1 and signed by itself, and molecule.key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = folder / "molecule.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "molecule.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def _answers(client: httpx.Client) -> bool:
    try:
        client.get("/")
    except httpx.TransportError:
        return False
    return True
