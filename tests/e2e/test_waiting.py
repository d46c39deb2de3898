"""Every wait has a limit, and locks, slow reads and outages do not delay other requests.

A client that gives up after PATIENCE_SECONDS stands for "an answer in time": what waits without a bound takes longer.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from activity.cache_versions import LOG
from molecule.embedded import running_postgres
from tests.e2e.stack import ROOT, Agent, Platform, free_port, manage, running_platform, until, web_command

PATIENCE_SECONDS = 10.0
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
WAITS_FOR_LOCK = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' HAVING count(*) >= %s"


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """Of its own: these tests hold locks on whole tables."""
    with running_platform() as running:
        until(lambda: running.api.get("/health/ready").json()["status"] == "ok", "it to be ready")
        yield running


def connected(platform: Platform, **options: Any) -> "psycopg.Connection[Any]":
    """As the owner, who may change tables."""
    return psycopg.connect(platform.environment["DATABASE_OWNER_URL"], **options)


@contextmanager
def holding(platform: Platform, statement: str, *values: object) -> Iterator[None]:
    """A transaction elsewhere holds what the statement locks."""
    with connected(platform) as holder:
        holder.execute(statement, values)
        yield
        holder.rollback()


def holding_log(platform: Platform) -> Any:
    return holding(platform, "SELECT pg_advisory_xact_lock(%s)", LOG.lock_id)


def until_waiting(platform: Platform, least: int) -> None:
    # As the serving role: others do not see what its sessions wait for.
    with psycopg.connect(platform.environment["DATABASE_URL"], autocommit=True) as looking:
        until(lambda: looking.execute(WAITS_FOR_LOCK, [least]).fetchone(), f"{least} statements to wait for a lock")


def ask(platform: Platform, path: str, **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {platform.operator_token}"}
    return httpx.get(f"{platform.url}{path}", headers=headers, **{"timeout": PATIENCE_SECONDS, **options})


def assert_reads_are_answered(platform: Platform, agent: Agent) -> None:
    paths = ("/workspaces", "/health/ready", "/admin/login/", f"/workspaces/{agent.id}", "/health")
    assert [ask(platform, path).status_code for path in paths] == [200] * len(paths)
    headers = {"Authorization": f"Bearer {agent.token}"}
    answer = httpx.get(f"{agent.url}/workspaces/{agent.id}/state", headers=headers, timeout=PATIENCE_SECONDS)
    assert answer.status_code == 200


def create(platform: Platform, name: str, timeout: float) -> int | None:
    """The status; None when the client gave up."""
    headers = {"Authorization": f"Bearer {platform.operator_token}"}
    try:
        return httpx.post(
            f"{platform.url}/workspaces", json={"name": name}, headers=headers, timeout=timeout
        ).status_code
    except httpx.TimeoutException:
        return None


def test_retries_of_one_agent_behind_its_locked_row_delay_no_other_request(platform: Platform) -> None:
    other, locked = platform.agent("other"), platform.create("locked")
    body = {"id": locked["id"], "url": "http://a:1", "agent_card": {"name": "locked"}}
    headers = {"Authorization": f"Bearer {locked['enrolment_token']}"}

    def register() -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{platform.url}/registry/register", json=body, headers=headers, timeout=1)

    with (
        holding(platform, "SELECT FROM workspaces WHERE id = %s FOR UPDATE", locked["id"]),
        ThreadPoolExecutor(10) as clients,
    ):
        retries = [clients.submit(register) for _ in range(10)]
        until_waiting(platform, 1)
        assert_reads_are_answered(platform, other)
        assert ask(platform, "/events").status_code == 200
        for retry in retries:
            retry.result()
        assert_reads_are_answered(platform, other)


def test_a_change_that_waits_for_a_lock_for_too_long_may_be_tried_again(platform: Platform) -> None:
    locked = platform.create("locked")
    with holding(platform, "SELECT FROM workspaces WHERE id = %s FOR UPDATE", locked["id"]):
        answer = platform.api.patch(f"/workspaces/{locked['id']}", json={"name": "new"}, timeout=PATIENCE_SECONDS)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.json() == {"error": "the database is busy, try again"}
    assert platform.api.patch(f"/workspaces/{locked['id']}", json={"name": "new"}).status_code == 200


def test_a_statement_that_takes_too_long_may_be_tried_again(platform: Platform) -> None:
    """A view instead of the table makes the query slow, as a bad plan or a hostile filter would."""
    assert platform.api.put("/canvas/viewport", json={"x": 1, "y": 2, "zoom": 1}).status_code == 200
    with connected(platform, autocommit=True) as owner:
        owner.execute("ALTER TABLE canvas_viewport RENAME TO away")
        owner.execute("CREATE VIEW canvas_viewport AS SELECT * FROM away WHERE pg_sleep(60)::text IS NOT NULL")
        try:
            answer = ask(platform, "/canvas/viewport", timeout=2 * PATIENCE_SECONDS)
        finally:
            owner.execute("DROP VIEW canvas_viewport")
            owner.execute("ALTER TABLE away RENAME TO canvas_viewport")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.json() == {"error": "the database is busy, try again"}


def test_writers_that_wait_for_the_log_delay_no_reader(platform: Platform) -> None:
    agent = platform.agent("reader")
    with ThreadPoolExecutor(20) as clients, holding_log(platform):
        changes = [clients.submit(create, platform, f"writer {number}", 30) for number in range(20)]
        until_waiting(platform, 1)
        assert_reads_are_answered(platform, agent)
        assert {change.result() for change in changes} == {503}


def test_reads_of_the_past_delay_no_other_reader(platform: Platform) -> None:
    agent = platform.agent("reader")
    assert platform.api.patch(f"/workspaces/{agent.id}", json={"name": "renamed"}).status_code == 200
    with connected(platform) as writer:
        writer.execute(
            "INSERT INTO structure_events (event_type, workspace_id, payload, actor)"
            " SELECT event_type, workspace_id, payload, actor FROM structure_events, generate_series(1, 200000)"
            " WHERE workspace_id = %s AND event_type = 'WORKSPACE_UPDATED'",
            [agent.id],
        )
    with ThreadPoolExecutor(20) as clients:
        travels = [clients.submit(ask, platform, "/canvas/snapshot?at=999999999", timeout=120) for _ in range(20)]
        wait(travels, 0.5)
        assert_reads_are_answered(platform, agent)
        assert not all(travel.done() for travel in travels), "they would have to be slow"
        assert {travel.result().status_code for travel in travels} <= {200, 503}
        assert ask(platform, "/canvas/snapshot?at=999999999", timeout=120).status_code == 200


def test_a_request_whose_client_has_hung_up_is_not_begun(platform: Platform) -> None:
    with ThreadPoolExecutor(30) as clients:
        with holding_log(platform):
            patient = [clients.submit(create, platform, "patient", 30) for _ in range(10)]
            until_waiting(platform, 1)
            gone = [clients.submit(create, platform, "gone", 0.3) for _ in range(20)]
            assert [one.result() for one in gone] == [None] * 20
        assert 201 in {one.result() for one in patient}
    names = [workspace["name"] for workspace in platform.api.get("/workspaces").json()]
    assert "patient" in names
    assert "gone" not in names


def test_a_browser_gets_a_page_that_says_to_try_again(platform: Platform) -> None:
    """With DEBUG, in which Django's own answer would be a page with what the request contained."""
    with httpx.Client(base_url=platform.url, headers=HTML, timeout=PATIENCE_SECONDS) as client:
        token = client.get("/admin/login/").cookies["csrftoken"]
        form = {"username": platform.username, "password": platform.password, "csrfmiddlewaretoken": token}
        assert client.post("/admin/login/", data=form).status_code == 302
        for table, path in (("workspaces", "/admin/registry/workspace/"), ("django_session", "/")):
            with holding(platform, f"LOCK TABLE {table}"):
                answer = client.get(path)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert "The database is busy, try again." in answer.text
            assert client.get(path).status_code == 200


@contextmanager
def web(environment: dict[str, str], port: int) -> Iterator[str]:
    """Another web process; yields its URL."""
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(web_command(port), cwd=ROOT, env=environment)
    try:
        until(lambda: is_up(url), "the web process to answer")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def test_while_postgresql_is_down_all_requests_fail_at_once() -> None:
    with running_platform() as platform, ThreadPoolExecutor(120) as clients:
        state = stop_postgres(platform)
        answers = [clients.submit(ask, platform, "/workspaces") for _ in range(120)]
        assert {answer.result().status_code for answer in answers} == {503}
        assert {answer.result().headers["Retry-After"] for answer in answers} == {"2"}
        with httpx.Client(base_url=platform.url, headers=platform.api.headers, timeout=PATIENCE_SECONDS) as client:
            in_a_row = clients.submit(lambda: [client.get("/workspaces").status_code for _ in range(20)])
            assert in_a_row.result(4 * PATIENCE_SECONDS) == [503] * 20
        with running_postgres(state):
            until(lambda: ask(platform, "/workspaces").status_code == 200, "it to serve again")


def stop_postgres(platform: Platform) -> Path:
    """Return its state folder, to start it again."""
    with connected(platform) as server:
        state = Path(server.info.host).parent
    os.kill(int((state / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGINT)
    until(lambda: not (state / "postgres" / "postmaster.pid").exists(), "PostgreSQL to stop")
    return state


def test_readiness_is_told_while_all_connection_slots_are_taken() -> None:
    with running_platform() as platform, ExitStack() as slots:
        until(lambda: platform.api.get("/health/ready").json()["status"] == "ok", "it to be ready")
        take_all_slots(platform, slots)
        assert ask(platform, "/health/ready").status_code == 200, "its own connection was open before"
        assert ask(platform, "/health").status_code == 200


def test_readiness_of_a_process_that_starts_without_a_free_slot() -> None:
    with running_platform() as platform, ExitStack() as slots:
        take_all_slots(platform, slots)
        port = free_port()
        with web(platform.environment | {"PORT": str(port)}, port) as url:
            for _ in range(2):
                assert httpx.get(f"{url}/health/ready", timeout=PATIENCE_SECONDS).status_code == 503
            assert httpx.get(f"{url}/health", timeout=PATIENCE_SECONDS).status_code == 200
            slots.close()
            until(lambda: httpx.get(f"{url}/health/ready", timeout=PATIENCE_SECONDS).status_code == 200, "a free slot")


def take_all_slots(platform: Platform, slots: ExitStack) -> None:
    try:
        while True:
            slots.enter_context(connected(platform))
    except psycopg.OperationalError as error:
        assert "slots" in str(error)  # noqa: PT017  # how many there are is not known


def test_without_redis_it_serves_and_says_that_it_is_degraded() -> None:
    with running_platform() as platform:
        until(lambda: platform.api.get("/health/ready").json()["status"] == "ok", "it to be ready")
        with redis.Redis.from_url(platform.environment["REDIS_URL"]) as server:
            os.kill(server.info("server")["process_id"], signal.SIGTERM)
        until(lambda: platform.api.get("/health/ready").json()["status"] != "ok", "the outage to be seen")
        answer = platform.api.get("/health/ready")
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        assert "redis" in answer.json()["reason"]
        assert httpx.get(f"{platform.url}/health/ready").json()["status"] == "degraded"


def test_a_pool_that_cannot_work_is_refused_at_the_start(platform: Platform) -> None:
    environment = platform.environment | {"DATABASE_POOL_SIZE": "3"}
    with pytest.raises(subprocess.CalledProcessError) as checked:
        manage(environment, "check")
    assert "molecule.E008" in checked.value.stderr
    started = subprocess.run(
        web_command(free_port()), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert started.returncode != 0
    assert "DATABASE_POOL_SIZE must be at least" in started.stderr


def test_the_limits_of_web_processes_are_not_those_of_commands(platform: Platform) -> None:
    show = (
        "from django.db import connection as c; u = c.cursor(); u.execute('SHOW lock_timeout'); print(u.fetchone()[0])"
    )
    assert manage(platform.environment, "shell", "-v0", "-c", show).strip() == "0"
