"""People with an account, or none, who misuse the admin."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import quote

import httpx

from tests.e2e.stack import Platform
from tests.hostile.measures import Pulse, typical_beat

SLOW_PATTERN = "(.*)" * 9 + r"\1\2\3\4\5\6\7\8\9x"
REQUESTS = 12
NAMES = 150
# How many times as long as without the attack a heartbeat may take.
BOUND = 25.0


@contextmanager
def browser(platform: Platform, timeout: float = 30) -> Iterator[httpx.Client]:
    """A signed-in operator's browser."""
    with httpx.Client(base_url=platform.url, timeout=timeout) as client:
        assert _sign_in(client, platform.username, platform.password).status_code == 302
        yield client


def _sign_in(client: httpx.Client, username: str, password: str) -> httpx.Response:
    page = client.get("/admin/login/")
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    if found is None:  # refused before the form was shown
        return page
    form = {"csrfmiddlewaretoken": found[1], "username": username, "password": password, "next": "/health"}
    return client.post("/admin/login/", data=form)


def test_searches_that_never_end_leave_every_other_route_free(platform: Platform) -> None:
    platform.create("a" * 100)
    agent = platform.agent("beside a search")
    with browser(platform, timeout=1) as client, ThreadPoolExecutor(REQUESTS) as senders:

        def search(_: int) -> None:
            with suppress(httpx.TimeoutException):
                client.get(f"/admin/registry/workspace/?name__regex={quote(SLOW_PATTERN)}")

        list(senders.map(search, range(REQUESTS)))
        with httpx.Client(base_url=platform.url, headers=platform.api.headers, timeout=15) as reader:
            for path in ("/workspaces", "/events", "/health/ready", "/admin/login/"):
                assert reader.get(path).status_code == 200, path
        assert agent.beat().status_code == 200


def test_passwords_tried_over_many_names_do_not_slow_an_agents_heartbeats(platform: Platform) -> None:
    agent = platform.agent("beside a login")
    idle = typical_beat(agent, 2)

    def attempt(number: int) -> int:
        with httpx.Client(base_url=platform.url, timeout=60) as client:
            return _sign_in(client, f"name {number}", "wrong").status_code

    with Pulse(agent) as pulse, ThreadPoolExecutor(REQUESTS) as senders:
        statuses = list(senders.map(attempt, range(NAMES)))
    print(f"{idle:.4f} s idle, {pulse.typical:.4f} s; {sorted(set(statuses))}")
    assert set(statuses) <= {200, 429, 503}
    assert attempt(NAMES) == 429, "the address has had its failures"
    assert set(pulse.answers) == {200}
    assert pulse.typical < BOUND * idle
