"""Behind a real nginx each client counts by its own address, whatever it claims in its headers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.proxies import SITE, Proxy, nginx, without_addresses
from tests.e2e.stack import Platform, running_platform

HTML = {"Accept": "text/html"}
MADE_UP = [f"203.0.113.{number}" for number in range(140)]


@pytest.fixture
def platform() -> Iterator[Platform]:
    with running_platform(PROXY_SCHEME="true", PROXY_ADDRESSES="1", LOGIN_ATTEMPTS="10") as running:
        yield running


@pytest.fixture
def platform_that_trusts_the_scheme() -> Iterator[Platform]:
    with running_platform(PROXY_SCHEME="true", RATE_LIMIT_STRANGERS="120", LOGIN_ATTEMPTS="10") as running:
        yield running


class Browser:
    """A client at an address of its own."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def log_in(self, username: str, password: str, **headers: str) -> int:
        page = "/admin/login/"
        token = self.client.get(page).cookies["csrftoken"]
        form = {"username": username, "password": password, "csrfmiddlewaretoken": token}
        sent = {"Referer": f"{self.client.base_url}{page}", **headers}
        return self.client.post(page, data=form, headers=sent).status_code


@contextmanager
def browser(proxy: Proxy, address: str) -> Iterator[Browser]:
    with proxy.client(address, headers=HTML) as client:
        yield Browser(client)


def test_failed_logins_from_another_address_do_not_lock_an_operator_out(platform: Platform, tmp_path: Path) -> None:
    with (
        nginx(tmp_path, platform.url) as proxy,
        browser(proxy, "127.0.0.2") as stranger,
        browser(proxy, "127.0.0.3") as operator,
    ):
        guessed = [stranger.log_in("op", f"wrong {number}") for number in range(10)]
        assert guessed == [200] * 9 + [429]
        assert stranger.log_in("op", platform.password, **{"X-Forwarded-For": "127.0.0.3"}) == 429
        assert operator.log_in("op", platform.password) == 302


def test_many_names_from_one_address_are_refused_and_others_are_not(platform: Platform, tmp_path: Path) -> None:
    with (
        nginx(tmp_path, platform.url) as proxy,
        browser(proxy, "127.0.0.2") as stranger,
        browser(proxy, "127.0.0.3") as operator,
    ):
        guessed = [stranger.log_in(f"name-{number}", "wrong") for number in range(21)]
        assert guessed == [200] * 20 + [429]
        assert operator.log_in("op", platform.password) == 302


def test_behind_a_proxy_that_sets_only_the_scheme_made_up_addresses_change_nothing(
    platform_that_trusts_the_scheme: Platform, tmp_path: Path
) -> None:
    """The limit is per minute, and the requests may fall into two of them: so they are sent twice."""
    with (
        nginx(tmp_path, platform_that_trusts_the_scheme.url, without_addresses(SITE)) as proxy,
        proxy.client() as client,
        browser(proxy, "127.0.0.2") as stranger,
    ):
        guessed = [stranger.log_in("op", "wrong", **{"X-Forwarded-For": address}) for address in MADE_UP[:10]]
        assert guessed == [200] * 9 + [429]
        for path in ("/workspaces", "/registry/discover/00000000-0000-0000-0000-000000000000"):
            statuses = [client.get(path, headers={"X-Forwarded-For": address}).status_code for address in MADE_UP * 2]
            assert 429 in statuses, path
