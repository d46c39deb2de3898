"""The canvas in Chromium with 300, 1,000 and all workspaces: first paint, frames while panning and zooming, memory.

Times count from the moment when the list of workspaces has arrived. Frames are those of Chromium's own trace, with the
page's CPU slowed down fourfold.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from playwright.sync_api import CDPSession, Page, Route, sync_playwright

from tests.bench.bench import Bench
from tests.bench.table import Figure
from tests.e2e.conftest import ARGUMENTS, CHROMIUM
from tests.e2e.stack import web
from tests.scripts import sizes

COUNTS = (300, 1000, 10_000)
PAINTED_MS = {300: 1000, 1000: 1000, 10_000: 3000}
SLOWDOWN = 4
GESTURE_SECONDS = 4.0
EVENTS_A_SECOND = 50
EVENT_SECONDS = 20.0
SCRIPTS_KB = {"at once": 52, "in all": 68}
FRAMES = "disabled-by-default-devtools.timeline.frame,devtools.timeline.frame,devtools.timeline"
VIEW = {"width": 1440, "height": 900}

# Notes when the list has arrived, when the first card is on the screen, and when the cards last changed.
WATCH = """
window.times = {};
new MutationObserver((changes) => {
  const added = changes.flatMap(({ addedNodes }) => [...addedNodes]);
  if (!added.some((node) => node.nodeType === 1 && node.matches(".card"))) return;
  times.changed = performance.now();
  if (times.painted !== undefined) return;
  times.painted = null;
  requestAnimationFrame(() => setTimeout(() => (times.painted = performance.now())));
}).observe(document, { childList: true, subtree: true });
"""
ARRIVED = "performance.getEntriesByType('resource').find(({ name }) => name.endsWith('/workspaces')).responseEnd"


def measure(bench: Bench) -> Iterator[Figure]:
    for what, most in SCRIPTS_KB.items():
        kilobytes = sum(sizes("canvas/js/main.js", with_later=what == "in all").values()) / 1024
        yield Figure(what=f"canvas: own scripts {what}, gzip", value=kilobytes, unit="KB", target=most, at_most=True)
    with web(bench.platform, DEBUG="true", PROXY_SCHEME="false") as (url, _):
        headers = {"Authorization": f"Bearer {bench.platform.operator_token}"}
        rows = httpx.get(f"{url}/workspaces", headers=headers, timeout=60).json()
        for count in [count for count in COUNTS if count <= len(rows)]:
            with _page(url, bench, rows[:count]) as page:
                yield from _measured(page, bench, count)


def _measured(page: Page, bench: Bench, count: int) -> Iterator[Figure]:
    what = f"canvas of {count:,}"
    page.wait_for_function("() => times.painted > 0", timeout=120_000)
    page.wait_for_function("() => performance.now() - times.changed > 1500", timeout=120_000)
    painted, changed = page.evaluate(f"() => [times.painted - {ARRIVED}, times.changed - {ARRIVED}]")
    yield Figure(what=f"{what}: first paint", value=painted, unit="ms", target=PAINTED_MS[count], at_most=True)
    yield Figure(what=f"{what}: last change of the first view", value=changed, unit="ms")
    yield Figure(what=f"{what}: cards in the page", value=page.locator(".card[data-id]").count(), unit="")
    session = page.context.new_cdp_session(page)
    for name, gesture in (("panning", _pan), ("zooming", _zoom)):
        yield Figure(what=f"{what}: {name}, CPU slowed {SLOWDOWN}-fold", value=_frames(session, gesture), target=55)
    before = _heap_mb(session)
    yield Figure(what=f"{what}: heap", value=before, unit="MB")
    _send_heartbeats(bench)
    after = _heap_mb(session)
    yield Figure(what=f"{what}: heap after {EVENTS_A_SECOND * EVENT_SECONDS:g} heartbeats", value=after, unit="MB")


@contextmanager
def _page(url: str, bench: Bench, rows: list[Any]) -> Iterator[Page]:
    """The canvas with the given rows; events are those of the whole organisation."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_context(viewport=VIEW).new_page()  # type: ignore[arg-type]
        page.goto(f"{url}/admin/login/?next=/health")
        page.fill("[name=username]", bench.platform.username)
        page.fill("[name=password]", bench.platform.password)
        page.click("[type=submit]")
        page.wait_for_url(f"{url}/health")
        page.add_init_script(WATCH)

        def cut(route: Route) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, json=rows)

        page.route("**/workspaces", cut)
        page.goto(url)
        yield page
        browser.close()


def _frames(session: CDPSession, gesture: Any) -> float:
    """Frames that Chromium drew in a second of a gesture."""
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    traced: list[dict[str, Any]] = []
    session.on("Tracing.dataCollected", lambda part: traced.extend(part["value"]))
    ended: list[bool] = []
    session.on("Tracing.tracingComplete", lambda _: ended.append(True))
    session.send("Tracing.start", {"categories": FRAMES, "transferMode": "ReportEvents"})
    gesture(session)
    session.send("Tracing.end")
    while not ended:
        session.send("Runtime.evaluate", {"expression": "0"})
    session.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    drawn = sorted(event["ts"] for event in traced if event["name"] == "DrawFrame")
    return float((len(drawn) - 1) / ((drawn[-1] - drawn[0]) / 1e6))


def _pan(session: CDPSession) -> None:
    _wheel(session, "{ deltaX: 24 * Math.sin(n / 40), deltaY: 16 * Math.cos(n / 40) }")


def _zoom(session: CDPSession) -> None:
    _wheel(session, "{ deltaY: -3 * Math.sin(n / 30), ctrlKey: true }")


def _wheel(session: CDPSession, turn: str) -> None:
    """One turn of the wheel in each frame: sent from here, one would wait for the other."""
    gesture = f"""new Promise((ended) => {{
      const began = performance.now();
      let n = 0;
      const next = () => {{
        if (performance.now() - began > {1000 * GESTURE_SECONDS}) return ended();
        const event = {{ clientX: 720, clientY: 450, bubbles: true, cancelable: true, ...{turn} }};
        document.getElementById("view").dispatchEvent(new WheelEvent("wheel", event));
        n += 1;
        requestAnimationFrame(next);
      }};
      next();
    }})"""
    session.send("Runtime.evaluate", {"expression": gesture, "awaitPromise": True})


def _heap_mb(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 2**20


def _send_heartbeats(bench: Bench) -> None:
    """Of the first agents, which every page shows."""
    began = time.perf_counter()
    with httpx.Client(base_url=bench.platform.url, headers={"X-Forwarded-Proto": "https"}) as client:
        for number in range(int(EVENTS_A_SECOND * EVENT_SECONDS)):
            agent = bench.agents[number % 300]
            body = {"workspace_id": agent.id, "active_tasks": number % 3, "current_task": f"Task {number}"}
            client.post("/registry/heartbeat", json=body, headers={"Authorization": f"Bearer {agent.token}"})
            time.sleep(max(0.0, number / EVENTS_A_SECOND - (time.perf_counter() - began)))
