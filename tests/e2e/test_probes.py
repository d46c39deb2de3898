"""Production settings, asked directly and over plain HTTP, as a kubelet and as Prometheus ask a pod."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from molecule.embedded import running_postgres
from tests.e2e.stack import Platform, running_platform, stopped, until

TOKEN = "0123456789abcdef0123456789abcdef"
PRODUCTION = {
    "DEBUG": "false",
    "ALLOWED_HOSTS": "molecule.example",
    "PROXY_SCHEME": "true",
    "METRICS_TOKEN": TOKEN,
}
KUBELET = {"Host": "10.1.2.3:8000", "User-Agent": "kube-probe/1.29", "Accept": "*/*", "Connection": "close"}
PROMETHEUS = {
    "Host": "10.1.2.3:8000",
    "User-Agent": "Prometheus/3.5.0",
    "Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.7,*/*;q=0.1",
    "Authorization": f"Bearer {TOKEN}",
}
# Longer than the probes' own limit, shorter than for ever.
CLIENT_SECONDS = 20.0


@pytest.fixture(scope="module")
def production() -> Iterator[Platform]:
    with running_platform(**PRODUCTION) as platform:
        until(lambda: ask(platform, "/health/ready").json()["status"] == "ok", "the platform to be ready")
        yield platform


def ask(platform: Platform, path: str, headers: dict[str, str] = KUBELET, method: str = "GET") -> httpx.Response:
    return httpx.request(method, f"{platform.url}{path}", headers=headers, timeout=CLIENT_SECONDS)


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
def test_a_kubelet_is_answered(production: Platform, path: str) -> None:
    answer = ask(production, path)
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert ask(production, path, method="HEAD").status_code == 200


def test_a_kubelet_learns_no_details(production: Platform) -> None:
    answer = ask(production, "/health/ready")
    assert set(answer.json()) == {"status", "checks"}
    assert all(check == {"ok": True} for check in answer.json()["checks"].values())
    assert "server" not in answer.headers


def test_prometheus_is_answered_with_its_token_only(production: Platform) -> None:
    answer = ask(production, "/metrics", PROMETHEUS)
    assert answer.status_code == 200
    assert 'molecule_up{dependency="postgres"} 1.0' in answer.text
    assert ask(production, "/metrics").status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/workspaces"),
        ("GET", "/health/"),
        ("GET", "/health/ready/"),
        ("GET", "/healthy"),
        ("GET", "/metrics/more"),
        ("POST", "/registry/heartbeat"),
    ],
)
def test_everything_else_is_as_strict_as_before(production: Platform, method: str, path: str) -> None:
    named = KUBELET | {"Host": "molecule.example"}
    assert ask(production, path, named, method).status_code == 301
    assert ask(production, path, KUBELET | {"X-Forwarded-Proto": "https"}, method).status_code == 400


def test_only_questions_are_answered_by_address(production: Platform) -> None:
    for path in ("/health", "/health/ready", "/metrics"):
        assert ask(production, path, method="POST").status_code == 400


def test_it_lives_and_is_not_ready_while_the_database_hangs(production: Platform) -> None:
    """A stopped server keeps its connections and answers nothing on them."""
    with ExitStack() as stack:
        for pid in [postmaster(production), *children(postmaster(production))]:
            stack.enter_context(stopped(pid))
        for _ in range(2):
            assert ask(production, "/health/ready").status_code == 503
            metrics = ask(production, "/metrics", PROMETHEUS)
            assert metrics.status_code == 503 or 'molecule_up{dependency="postgres"} 0.0' in metrics.text
            assert ask(production, "/health").status_code == 200
    until(lambda: ask(production, "/health/ready").status_code == 200, "it to be ready again")


def test_it_lives_and_is_not_ready_while_the_database_is_away(production: Platform) -> None:
    os.kill(postmaster(production), signal.SIGINT)
    until(lambda: ask(production, "/health/ready").status_code == 503, "the outage to be seen")
    checks = ask(production, "/health/ready").json()["checks"]
    assert [name for name, check in checks.items() if check["ok"]] == ["redis", "expiry-hints"]
    assert ask(production, "/health").status_code == 200
    metrics = ask(production, "/metrics", PROMETHEUS)
    assert metrics.status_code == 200
    assert 'molecule_up{dependency="postgres"} 0.0' in metrics.text
    with running_postgres(production.state):
        until(lambda: ask(production, "/health/ready").status_code == 200, "it to be ready again")


def postmaster(platform: Platform) -> int:
    return int((platform.state / "postgres/postmaster.pid").read_text().split()[0])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
