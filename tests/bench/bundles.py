"""A bundle with as many workspaces as one may have: the dry run, the import and the export."""

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.bench import Bench
from tests.bench.machine import Cpu
from tests.bench.table import Figure

WORKSPACES = 500
TARGET_MS = 5000
TEAMS = 20
FILES = {f"notes/{n}.md": "What the agent has to know. " * 40 for n in range(3)}


def measure(bench: Bench) -> Iterator[Figure]:
    text = json.dumps(_bundle())
    what = f"{WORKSPACES} workspaces, {len(text) / 1e6:.1f} MB"
    yield _timed(bench, f"bundle of {what}: dry run", "POST", "/bundles/import?dry_run=true", text)[0]
    figure, created = _timed(bench, f"bundle of {what}: import", "POST", "/bundles/import", text, target=TARGET_MS)
    yield figure
    yield _timed(bench, f"bundle of {what}: export", "GET", f"/bundles/export/{created['workspace_id']}")[0]


def _timed(
    bench: Bench, what: str, method: str, path: str, text: str | None = None, *, target: float | None = None
) -> tuple[Figure, Any]:
    before, began = Cpu.now(bench.roots(bench.platform.web.pid)), time.perf_counter()
    headers = {"Content-Type": "application/json"}
    answer = bench.platform.api.request(method, path, content=text, headers=headers, timeout=60)
    took = time.perf_counter() - began
    spent = Cpu.now(bench.roots(bench.platform.web.pid)).since(before)
    answer.raise_for_status()
    figure = Figure(what=what, value=1000 * took, unit="ms", target=target, at_most=True, cpu_ms=1000 * spent.total)
    return figure, answer.json()


def _bundle() -> dict[str, Any]:
    members = [_member(f"Member {n}") for n in range(WORKSPACES - TEAMS - 1)]
    teams = [{**_member(f"Team {n}"), "sub_workspaces": members[n::TEAMS]} for n in range(TEAMS)]
    return {"schema": "1.0", **_member("Lead"), "sub_workspaces": teams}


def _member(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "role": "Reconciles invoices",
        "tier": 2,
        "model": "m",
        "system_prompt": "You reconcile invoices.",
        "skills": [{"id": "sort", "files": {"SKILL.md": "# Sort"}}],
        "prompts": {"config.yaml": f"name: {name}\nskills: [sort]\n", **FILES},
        "layout": {"x": 1, "y": 2},
    }
