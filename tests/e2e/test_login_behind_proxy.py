"""Logins behind a real nginx: each client counts by its own address, whatever it claims in its headers."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.stack import Platform, free_port, process, running_platform, until

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
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {upstream};
      proxy_set_header Host $host:$server_port;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""
HTML = {"Accept": "text/html"}


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[str]:
    """Runs in front of `upstream` until the block ends; returns its address."""
    command = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert command, "nginx-light is not installed; .ci/run installs it"
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, upstream=upstream))
    with process([command, "-p", str(folder), "-c", str(configuration)], {"PATH": "/usr/bin"}):
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(url), "nginx to answer")
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def platform() -> Iterator[Platform]:
    with running_platform(SECURE_PROXY="true", LOGIN_ATTEMPTS="10") as running:
        yield running


class Browser:
    """A client at an address of its own."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        self.url, self.client = url, client

    def log_in(self, username: str, password: str, **headers: str) -> int:
        token = self.client.get("/admin/login/").cookies["csrftoken"]
        form = {"username": username, "password": password, "csrfmiddlewaretoken": token}
        sent = {"Referer": f"{self.url}/admin/login/".replace("http:", "https:"), **headers}
        return self.client.post("/admin/login/", data=form, headers=sent).status_code


@contextmanager
def browser(url: str, address: str) -> Iterator[Browser]:
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(base_url=url, transport=transport, headers=HTML, timeout=20) as client:
        yield Browser(url, client)


def test_failed_logins_from_another_address_do_not_lock_an_operator_out(platform: Platform, tmp_path: Path) -> None:
    with (
        nginx(tmp_path, platform.url) as url,
        browser(url, "127.0.0.2") as stranger,
        browser(url, "127.0.0.3") as operator,
    ):
        guessed = [stranger.log_in("op", f"wrong {number}") for number in range(10)]
        assert guessed == [200] * 9 + [429]
        assert stranger.log_in("op", platform.password, **{"X-Forwarded-For": "127.0.0.3"}) == 429
        assert operator.log_in("op", platform.password) == 302


def test_many_names_from_one_address_are_refused_and_others_are_not(platform: Platform, tmp_path: Path) -> None:
    with (
        nginx(tmp_path, platform.url) as url,
        browser(url, "127.0.0.2") as stranger,
        browser(url, "127.0.0.3") as operator,
    ):
        guessed = [stranger.log_in(f"name-{number}", "wrong") for number in range(21)]
        assert guessed == [200] * 20 + [429]
        assert operator.log_in("op", platform.password) == 302
