"""A Molecule agent in one file, made to be copied: it registers, beats, reports what it does, and knows when to stop.

    WORKSPACE_ID=… ENROLMENT_TOKEN=… python agent.py --name Writer --token-file writer.token

It needs httpx and nothing else. With --stdin it reports what it reads, one JSON object a line, such as
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

BEAT_FIELDS = ("current_task", "active_tasks", "error_rate", "sample_error")
WORTH_RETRYING = (429, 500, 502, 503, 504)


class Stop(Exception):
    """The platform's answer will not change by asking again. Its status code, and its text."""


class Agent:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.platform = httpx.Client(base_url=options.platform, timeout=10)
        kept: Path | None = options.token_file
        self.token = kept.read_text().strip() if kept and kept.exists() else os.environ.get("WORKSPACE_TOKEN", "")
        self.inputs = [sys.stdin] if options.stdin else []
        self.unfinished_line = b""
        self.beat: dict[str, Any] = {}
        self.started = time.monotonic()

    def run(self) -> NoReturn:
        """Beat every `interval` seconds, and at once when there is news. Returns by Stop or by a signal."""
        self.register()
        _say(f"registered {self.options.name} ({self.options.id})")
        while True:
            self.heartbeat()
            self.listen(self.options.interval)

    def register(self) -> None:
        """With our token; before we have one, with an enrolment token; without that, enrolment must be open."""
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
        if self.options.token_file:  # a new token is said once, so it is kept at once
            self.options.token_file.touch(mode=0o600)
            self.options.token_file.write_text(self.token)

    def heartbeat(self) -> None:
        uptime = int(time.monotonic() - self.started)
        body = {"workspace_id": self.options.id, "uptime_seconds": uptime} | self.beat
        self.post("/registry/heartbeat", body, self.token)

    def report(self, summary: str) -> None:
        entry = {"activity_type": "agent_log", "summary": summary, "status": "ok"}
        self.post(f"/workspaces/{self.options.id}/activity", entry, self.token)

    def post(self, path: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        """Ask until there is an answer, ever more slowly. Raises Stop: 410 removed, 401 no good token, and the like."""
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
            time.sleep(pause * random.uniform(1.0, 1.3))  # noqa: S311  # so that a fleet does not come back as one
            wait = min(30.0, wait * 2)

    def listen(self, seconds: float) -> None:
        """Sleep, or take what comes on standard input meanwhile."""
        ready, _, _ = select.select(self.inputs, [], [], seconds)
        if not ready:
            return
        chunk = os.read(sys.stdin.fileno(), 65536)
        if not chunk:
            self.inputs = []
        *lines, self.unfinished_line = (self.unfinished_line + chunk).split(b"\n")
        for line in lines:
            self.take(json.loads(line))

    def take(self, news: dict[str, Any]) -> None:
        """What the next beats say, and what happened."""
        self.beat |= {name: news[name] for name in BEAT_FIELDS if name in news}
        if "activity" in news:
            self.report(news["activity"])


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        epilog="Tokens come from ENROLMENT_TOKEN or WORKSPACE_TOKEN, never from arguments."
    )
    parser.add_argument("--platform", default=os.environ.get("MOLECULE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--id", default=os.environ.get("WORKSPACE_ID"), help="the workspace to be (WORKSPACE_ID)")
    parser.add_argument("--name", default="Example agent")
    parser.add_argument("--description", default="An example to copy")
    parser.add_argument("--url", default="remote://no-inbound", help="where others reach it; the default says nowhere")
    parser.add_argument("--interval", type=float, default=15.0, help="seconds between beats")
    parser.add_argument("--token-file", type=Path, help="where its token is kept (0600) for the next start")
    parser.add_argument("--stdin", action="store_true", help="report what standard input says")
    options = parser.parse_args()
    if options.token_file and not options.id:
        parser.error("--token-file needs --id: a token is one workspace's")
    options.id = options.id or str(uuid4())  # a new one; for open enrolment
    return options


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        Agent(_options()).run()
    except Stop as stop:
        status, text = stop.args
        _say(f"stopping, the platform says {status}: {text}")
        return 0 if status == 410 else 1  # removed is an end, not a failure: nobody should restart us


if __name__ == "__main__":
    sys.exit(main())
