"""The System page of a real platform: it follows what happens, and lets the supervisor prune."""

import os
import signal
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.conftest import signed_in
from tests.e2e.stack import Platform, stopped, until

ROWS = 700
OLD_ROWS = """
INSERT INTO activity_logs (workspace_id, activity_type, created_at)
SELECT id, 'error', now() - interval '30 days' + n * interval '1 s' FROM workspaces, generate_series(1, %s) n
"""
FIRST_RUN = "SELECT detail->>'finished_at' FROM loop_ticks WHERE name = 'retention'"
# A job counts as stopped after 10 s, and the page is fetched every 5 s.
NOTICED_MS = 60_000


@pytest.fixture
def page(alone: Platform, browser: Browser) -> Iterator[Page]:
    yield from signed_in(alone, browser)


@pytest.fixture
def database(alone: Platform) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    with psycopg.connect(alone.environment["DATABASE_OWNER_URL"], autocommit=True) as connection:
        yield connection


def test_pruning_is_confirmed_and_its_progress_is_shown(page: Page, alone: Platform, database) -> None:
    alone.create("Had much to do")
    until(lambda: (database.execute(FIRST_RUN).fetchone() or [None])[0], "the run at the supervisor's start")
    database.execute(OLD_ROWS, [ROWS])
    page.goto(f"{alone.url}/admin/system/")
    expect(page.locator(".page-head .badge")).to_have_text("All healthy")
    expect(page.get_by_text("Leading", exact=True)).to_be_visible()
    expect(page.get_by_text("Serving", exact=True)).to_be_visible()
    page.get_by_role("link", name="Prune now…").click()
    expect(page.locator("#content")).to_contain_text(f"Deletes {ROWS} rows of activity")
    page.get_by_role("button", name="Prune activity").click()
    expect(page.get_by_text("Pruning begins within a few seconds.")).to_be_visible()
    page.evaluate("window.isFirst = true")
    expect(page.locator("#system")).to_contain_text(f"{ROWS} rows removed in", timeout=NOTICED_MS)
    expect(page.locator("#system")).to_contain_text("for op")
    assert page.evaluate("window.isFirst"), "the page was loaded again"
    assert database.execute("SELECT count(*) FROM activity_logs").fetchone() == (0,)


def test_a_supervisor_that_hangs_is_seen_without_a_reload(page: Page, alone: Platform) -> None:
    page.goto(f"{alone.url}/admin/system/")
    expect(page.get_by_text("Leading", exact=True)).to_be_visible()
    page.evaluate("window.isFirst = true")
    with stopped(alone.supervisor.pid):
        expect(page.get_by_text("Silent", exact=True)).to_be_visible(timeout=NOTICED_MS)
        expect(page.locator("#system")).to_contain_text("start manage.py supervise")
    expect(page.get_by_text("Leading", exact=True)).to_be_visible(timeout=NOTICED_MS)
    assert page.evaluate("window.isFirst"), "the page was loaded again"


def test_without_postgresql_it_says_what_answers(alone: Platform) -> None:
    """The last test of this module: PostgreSQL is not started again."""
    postmaster = (alone.state / "postgres" / "postmaster.pid").read_text().split()[0]
    os.kill(int(postmaster), signal.SIGINT)

    def answer() -> httpx.Response:
        headers = {"Accept": "text/html", "Cookie": f"sessionid={'s' * 32}"}
        return httpx.get(f"{alone.url}/admin/system/", headers=headers, timeout=30)

    found = until(lambda: (one := answer()).status_code == 503 and one, "PostgreSQL to be missed")
    assert "so nobody can be signed in. Redis answers." in found.text
    assert "/health/ready" in found.text
