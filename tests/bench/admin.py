"""The admin's pages in a large organisation: how long the server takes for each, and what a browser has to load."""

import gzip
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urljoin

import httpx

from tests.bench.agents import identity
from tests.bench.bench import Bench, Server, serving
from tests.bench.machine import Cpu
from tests.bench.table import Figure
from tests.e2e.stack import manage

ROUNDS = 40
P95_MS = 50.0
KILOBYTES = 60.0
EVENTS = 100_000
ACTIVITY = 1_000_000
# Of the workspaces, one in so many is now in this state.
NOW = {"WORKSPACE_OFFLINE": 60, "WORKSPACE_DEGRADED": 250, "WORKSPACE_PROVISION_FAILED": 500, "WORKSPACE_PAUSED": 100}
LEAD = identity(0)
LIST = "/admin/registry/workspace/"
PAGES = {
    "overview": "/admin/",
    "workspaces": LIST,
    "workspaces, filtered": f"{LIST}?status=offline",
    "workspaces, searched": f"{LIST}?q=Agent+77",
    "workspace": f"{LIST}{LEAD}/change/",
    "activity": "/admin/activity/activitylog/",
    "activity of a workspace": f"/admin/activity/activitylog/?workspace={LEAD}",
    "activity, searched": "/admin/activity/activitylog/?q=figures",
    "audit log": "/admin/activity/structureevent/",
    "system": "/admin/system/",
    "search": "/search?q=agent+77",
}
# Every second workspace goes offline and comes back, again and again, in the last two days.
FLAPS = """
INSERT INTO structure_events (event_type, workspace_id, payload, actor, created_at)
SELECT CASE n %% 2 WHEN 0 THEN 'WORKSPACE_OFFLINE' ELSE 'WORKSPACE_ONLINE' END,
  ids[1 + (n / 2 * 2) %% array_length(ids, 1)],
  CASE n %% 2 WHEN 0 THEN '{"from": "online", "reason": "lease expired"}' ELSE '{"from": "offline"}' END::jsonb,
  'supervisor', now() - interval '48 hours' + n * interval '48 hours' / %(count)s
FROM generate_series(0, %(count)s - 1) AS n, (SELECT array_agg(id ORDER BY id) AS ids FROM workspaces) AS w
"""
STATES = """
INSERT INTO structure_events (event_type, workspace_id, payload, actor, created_at)
SELECT %(type)s, id, '{"from": "online", "reason": "of the benchmark"}', 'bench', now()
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM workspaces) AS w
WHERE n %% %(every)s = %(first)s
"""
CALLS = """
INSERT INTO activity_logs (workspace_id, activity_type, method, summary, request_body, response_body, duration_ms,
  status, created_at)
SELECT ids[1 + n %% array_length(ids, 1)], CASE n %% 3 WHEN 0 THEN 'a2a_receive' WHEN 1 THEN 'a2a_send' ELSE
  'agent_log' END, 'message/send', 'Asked for the figures of quarter ' || n,
  '{"text": "What were the figures of the last quarter?"}', '{"text": "They rose by four percent."}', n %% 3000,
  CASE WHEN n %% 50 = 0 THEN 'error' ELSE 'ok' END, now() - interval '72 hours' + n * interval '72 hours' / %(count)s
FROM generate_series(1, %(count)s) AS n, (SELECT array_agg(id ORDER BY id) AS ids FROM workspaces) AS w
"""
REFERENCE = re.compile(
    r"""(?:href|src)="([^"]+\.(?:css|js|svg|png|woff2))"|(?:from|import)\s*"([^"]+\.js)"|url\(["']?([^"')]+)"""
)


def measure(bench: Bench) -> Iterator[Figure]:
    _seed(bench)
    manage(bench.platform.environment, "collectstatic", "--no-input", "-v0")
    with serving(bench) as server, httpx.Client(base_url=server.url, headers={"X-Forwarded-Proto": "https"}) as client:
        yield _page(bench, server, client, "login", "/admin/login/")
        _sign_in(bench, client)
        for name, path in _with_tabs(client):
            yield _page(bench, server, client, name, path)


def _seed(bench: Bench) -> None:
    bench.database.execute(FLAPS, {"count": EVENTS})
    for number, (kind, every) in enumerate(NOW.items()):
        bench.database.execute(STATES, {"type": kind, "every": every, "first": number})
    bench.database.execute(CALLS, {"count": ACTIVITY})
    owner = bench.platform.environment["DATABASE_OWNER_URL"]
    manage({**bench.platform.environment, "DATABASE_URL": owner}, "rebuild", "--fix")
    # The seed has rewritten every row several times at once, which nothing does in life.
    bench.database.execute("VACUUM FULL workspaces")
    bench.database.execute("VACUUM ANALYZE")


def _sign_in(bench: Bench, client: httpx.Client) -> None:
    """The cookies are for HTTPS, which the client does not speak: it sends them as a header."""
    answer = client.get("/admin/login/")
    token = answer.cookies["csrftoken"]
    form = {
        "username": bench.platform.username,
        "password": bench.platform.password,
        "csrfmiddlewaretoken": token,
    }
    headers = {"Cookie": f"csrftoken={token}", "Referer": f"{client.base_url}".replace("http:", "https:")}
    answer = client.post("/admin/login/", data=form, headers=headers)
    assert answer.status_code == 302, answer.text
    client.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in answer.cookies.items())


def _with_tabs(client: httpx.Client) -> Iterator[tuple[str, str]]:
    """The pages, and the tabs of the workspace's."""
    for name, path in PAGES.items():
        yield name, path
        if name == "workspace":
            tabs = re.search(r'<nav[^>]*class="tabs".*?</nav>', client.get(path).text, re.DOTALL)
            for url, label in re.findall(r'<a[^>]*href="([^"]+)"[^>]*>\s*([^<]+)', tabs[0] if tabs else ""):
                if url != path:
                    yield f"workspace, {label.strip().lower()}", url


def _page(bench: Bench, server: Server, client: httpx.Client, name: str, path: str) -> Figure:
    for _ in range(5):
        answer = client.get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status_code} {answer.headers.get('Location', '')}")
    before, took = Cpu.now(bench.roots(server.pid)), []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        client.get(path)
        took.append(1000 * (time.perf_counter() - began))
    spent = Cpu.now(bench.roots(server.pid)).since(before)
    took.sort()
    p50, p95, p99 = (took[int(share * ROUNDS)] for share in (0.5, 0.95, 0.99))
    return replace(
        bench.figure(f"admin: {name}", ROUNDS, spent.at, spent),
        value=p95,
        unit="ms p95",
        target=P95_MS,
        at_most=True,
        latency_ms=(p50, p99),
        kilobytes=_weight(client, path) / 1000,
        most_kilobytes=KILOBYTES,
    )


def _weight(client: httpx.Client, path: str) -> int:
    """The bytes of a page with everything that it refers to, compressed."""
    total, left, seen = 0, [path], {path}
    while left:
        path = left.pop()
        answer = client.get(path)
        content = answer.content
        total += len(gzip.compress(content))
        if answer.headers["Content-Type"].partition(";")[0].endswith(("html", "css", "javascript")):
            found = {urljoin(path, next(filter(None, match))) for match in REFERENCE.findall(answer.text)}
            new = {url for url in found if url.startswith("/static/")} - seen
            seen |= new
            left += new
    return total
