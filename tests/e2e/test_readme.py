"""The README's commands, pasted into a shell beside `make run` on a port of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.stack import ROOT, until
from tests.molecule.test_run import Runner, ensure_stopped, temporary_state

LEASE_SECONDS = "3"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A checkout as the commands see it: `.venv`, `.molecule` and the examples."""
    with temporary_state() as state:
        checkout = state.parent
        (checkout / ".venv").symlink_to(sys.prefix)
        (checkout / "examples").symlink_to(ROOT / "examples")
        runner = Runner(checkout / ".molecule", LEASE_SECONDS=LEASE_SECONDS)
        try:
            runner.wait_until_serving()
            yield checkout
        finally:
            ensure_stopped(runner)


def snippets(heading: str) -> list[str]:
    """The shell commands under one heading, in order."""
    section = (ROOT / "README.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def bash(folder: Path, script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def names(folder: Path) -> list[str]:
    address = (folder / ".molecule" / "lock").read_text()
    token = (folder / ".molecule" / "operator-token").read_text().strip()
    rows = httpx.get(f"{address}/workspaces", headers={"Authorization": f"Bearer {token}"}).raise_for_status().json()
    return [row["name"] for row in rows]


def test_the_five_minutes_work_on_any_port(folder: Path) -> None:
    shell = bash(folder, "\n".join(snippets("Five minutes")))
    output, _ = shell.communicate(timeout=60)
    assert shell.returncode == 0
    expected = ['{"status":"ok"}', '"name": "Visitor"', "STREAM_LIVE", "WORKSPACE_OFFLINE", '"status":"removed"']
    places = [output.find(text) for text in expected]
    assert -1 not in places, output
    assert places == sorted(places), output
    assert names(folder) == []


def test_the_example_agent_starts_as_written(folder: Path) -> None:
    setup = snippets("Five minutes")[0]
    shell = bash(folder, "\n".join([setup, *snippets("Connect your own agent")]))
    with shell:
        try:
            until(lambda: "Writer" in names(folder), "the example agent to register")
        finally:
            os.killpg(shell.pid, signal.SIGTERM)
