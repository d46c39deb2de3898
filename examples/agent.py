"""A Molecule agent in one file, meant to be copied: it registers, sends heartbeats, reports activity, stops on 410.

    WORKSPACE_ID=… ENROLMENT_TOKEN=… python agent.py --name Writer --token-file writer.token

It needs only httpx. With --stdin it reports what it reads, one JSON object per line, such as
{"current_task": "Write the report", "active_tasks": 1, "error_rate": 0.0, "activity": "Opened the archive"}
"""

import argparse
import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import httpx

HEARTBEAT_FIELDS = ("current_task", "active_tasks", "error_rate", "sample_error")
WORTH_RETRYING = (429, 500, 502, 503, 504)


class Stop(Exception):
    """An answer that a retry will not change: its status code and text."""


class Agent:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.platform = httpx.Client(base_url=options.platform, timeout=10)
        file: Path | None = options.token_file
        self.token = file.read_text().strip() if file and file.exists() else os.environ.get("WORKSPACE_TOKEN", "")
        self.inputs = [sys.stdin] if options.stdin else []
        self.unfinished_line = b""
        self.fields: dict[str, Any] = {}
        self.started = time.monotonic()

    def run(self) -> NoReturn:
        """Send a heartbeat every `interval` seconds, and at once after new input. Raises Stop."""
        self.register()
        _say(f"registered {self.options.name} ({self.options.id})")
        while True:
            self.heartbeat()
            self.listen(self.options.interval)

    def register(self) -> None:
        """With the stored token, or else with an enrolment token; without either, enrolment must be open."""
        enrolment = os.environ.get("ENROLMENT_TOKEN", "")
        card = {"name": self.options.name, "description": self.options.description, "version": "1.0.0", "skills": []}
        body = {"id": self.options.id, "url": self.options.url, "agent_card": card}
        try:
            answer = self.post("/registry/register", body, self.token or enrolment)
        except Stop as refusal:
            if refusal.args[0] != 401 or not (self.token and enrolment):
                raise
            answer = self.post("/registry/register", body, enrolment)
        self.token = answer.get("auth_token", self.token)
        if self.options.token_file:  # a token is shown only once
            self.options.token_file.touch(mode=0o600)
            self.options.token_file.write_text(self.token)

    def heartbeat(self) -> None:
        uptime = int(time.monotonic() - self.started)
        body = {"workspace_id": self.options.id, "uptime_seconds": uptime} | self.fields
        self.post("/registry/heartbeat", body, self.token)

    def report(self, summary: str) -> None:
        entry = {"activity_type": "agent_log", "summary": summary, "status": "ok"}
        self.post(f"/workspaces/{self.options.id}/activity", entry, self.token)

    def post(self, path: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        """POST, with retries at growing intervals. Raises Stop, for example for 410 (removed) or 401 (bad token)."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        wait = 1.0
        while True:
            try:
                response = self.platform.post(path, json=body, headers=headers)
            except httpx.TransportError as error:
                what, pause = type(error).__name__, wait
            else:
                if response.is_success:
                    answer: dict[str, Any] = response.json()
                    return answer
                if response.status_code not in WORTH_RETRYING:
                    raise Stop(response.status_code, response.text)
                asked = response.headers.get("Retry-After", "")
                what, pause = str(response.status_code), max(wait, float(asked) if asked.isdecimal() else 0)
            _say(f"{path}: {what}, trying again in {pause:.0f} s")
            time.sleep(pause * random.uniform(1.0, 1.3))  # noqa: S311  # spreads the retries of many agents
            wait = min(30.0, wait * 2)

    def listen(self, seconds: float) -> None:
        """Sleep, or until there is input."""
        ready, _, _ = select.select(self.inputs, [], [], seconds)
        if not ready:
            return
        chunk = os.read(sys.stdin.fileno(), 65536)
        if not chunk:
            self.inputs = []
        *lines, self.unfinished_line = (self.unfinished_line + chunk).split(b"\n")
        for line in lines:
            self.accept(json.loads(line))

    def accept(self, update: dict[str, Any]) -> None:
        """Update the next heartbeats, and report activity."""
        self.fields |= {name: update[name] for name in HEARTBEAT_FIELDS if name in update}
        if "activity" in update:
            self.report(update["activity"])


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        epilog="Tokens come from ENROLMENT_TOKEN or WORKSPACE_TOKEN, never from arguments."
    )
    parser.add_argument("--platform", default=os.environ.get("MOLECULE_URL", "http://127.0.0.1:8000"))
    parser.add_argument(
        "--id",
        default=os.environ.get("WORKSPACE_ID"),
        help="the id of the workspace (WORKSPACE_ID); default: a new one",
    )
    parser.add_argument("--name", default="Example agent")
    parser.add_argument("--description", default="An example to copy")
    parser.add_argument(
        "--url", default="remote://no-inbound", help="where other agents can call it; the default: nowhere"
    )
    parser.add_argument("--interval", type=float, default=15.0, help="seconds between heartbeats")
    parser.add_argument("--token-file", type=Path, help="file that keeps its token (mode 0600) for the next start")
    parser.add_argument("--stdin", action="store_true", help="report what is read on standard input")
    options = parser.parse_args()
    if options.token_file and not options.id:
        parser.error("--token-file needs --id: a token belongs to one workspace")
    options.id = options.id or str(uuid4())  # a new workspace, which needs open enrolment
    return options


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        Agent(_options()).run()
    except Stop as stop:
        status, text = stop.args
        _say(f"stopping: the platform answered {status}: {text}")
        return 0 if status == 410 else 1  # removed is no failure: a process manager should not restart it


if __name__ == "__main__":
    sys.exit(main())
