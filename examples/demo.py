"""`make demo`: twelve agents on three levels that work, fail and recover, each a process of examples/agent.py.

It uses the platform that runs in this checkout, or starts one. The organisation is stored in .molecule/demo/, and
used again at the next start.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from molecule import embedded
from molecule.run import BASE_DIR, PYTHON, STATE, running_at

FOLDER = STATE / "demo"
AGENT = BASE_DIR / "examples" / "agent.py"
BEAT_SECONDS = 5
TICK_SECONDS = 2.0
START_SECONDS = 60.0
ROUND_SECONDS = 180.0


@dataclass(frozen=True, kw_only=True)
class Role:
    key: str
    name: str
    role: str
    parent: str | None
    tier: int
    tasks: tuple[str, ...]


def _role(key: str, name: str, role: str, parent: str | None, tier: int, *tasks: str) -> Role:
    return Role(key=key, name=name, role=role, parent=parent, tier=tier, tasks=tasks)


# Parents before their children.
ORG = (
    _role("ceo", "Ada", "Chief executive", None, 4, "Review the quarter", "Decide on the roadmap"),
    _role("engineering", "Grace", "Head of engineering", "ceo", 3, "Plan the sprint", "Review the design of search"),
    _role("research", "Rosalind", "Head of research", "ceo", 3, "Choose the next question", "Read the findings"),
    _role("marketing", "Mary", "Head of marketing", "ceo", 3, "Plan the launch", "Approve the campaign"),
    _role("quality", "Edsger", "Quality engineer", "ceo", 2, "Run the regression suite", "Chase a flaky test"),
    _role("backend", "Linus", "Backend engineer", "engineering", 2, "Add paging to the API", "Fix a slow query"),
    _role("frontend", "Radia", "Frontend engineer", "engineering", 2, "Build the search page", "Polish the dark theme"),
    _role("writer", "Virginia", "Copywriter", "marketing", 1, "Draft the announcement", "Rewrite the home page"),
    _role("growth", "Alan", "Growth analyst", "marketing", 1, "Compare the channels", "Summarise the survey"),
    _role("social", "Jane", "Community manager", "marketing", 1, "Answer the forum", "Collect testimonials"),
    _role("analyst", "Florence", "Data analyst", "research", 2, "Clean the data set", "Chart the outcomes"),
    _role("librarian", "Jorge", "Librarian", "research", 1, "Index the archive", "Find prior work"),
)


class Member:
    """One agent of the organisation: a process that reports what it reads, line by line."""

    def __init__(self, role: Role, workspace: dict[str, str], platform: str) -> None:
        self.role = role
        self.workspace_id = workspace["id"]
        self.environment = os.environ | {"MOLECULE_URL": platform, "ENROLMENT_TOKEN": workspace["enrolment_token"]}
        self.log = FOLDER / f"{role.key}.log"
        self.process: subprocess.Popen[str] | None = None
        self.is_stopped = False

    def start(self) -> None:
        role = self.role
        command = [PYTHON, str(AGENT), "--id", self.workspace_id, "--name", role.name, "--description", role.role]
        command += ["--token-file", str(FOLDER / f"{role.key}.token"), "--interval", str(BEAT_SECONDS), "--stdin"]
        if setpriv := shutil.which("setpriv"):
            # KILL, not TERM: it also ends an agent that is stopped (SIGSTOP).
            command = [setpriv, "--pdeathsig", "KILL", "--", *command]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(  # noqa: S603
                command,
                env=self.environment,
                stdin=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.is_stopped = False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def send(self, **update: Any) -> None:
        if self.process is None or self.process.stdin is None or self.is_stopped:
            return
        try:
            self.process.stdin.write(f"{json.dumps(update)}\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has just ended; last_output() says why
            return

    def work(self) -> None:
        task = random.choice(self.role.tasks)  # noqa: S311  # no secret
        self.send(current_task=task, active_tasks=1, activity=f"Started: {task}")

    def rest(self) -> None:
        self.send(current_task="", active_tasks=0, activity="Done, waiting for work")

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)
        self.is_stopped = True

    def unfreeze(self) -> None:
        self._signal(signal.SIGCONT)
        self.is_stopped = False

    def last_output(self) -> str | None:
        """Its last line, if it ended by itself."""
        if self.process is None or self.process.poll() is None:
            return None
        self.process = None
        return (self.log.read_text().splitlines() or ["no output"])[-1]

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Scenario:
    """Makes the agents work, fail and recover, and prints how their statuses change."""

    def __init__(self, api: httpx.Client, members: dict[str, Member]) -> None:
        self.api = api
        self.members = members
        self.statuses: dict[str, str] = {}

    def run(self) -> None:
        """Repeat the steps until Ctrl-C."""
        while True:
            steps = list(STEPS)
            started = time.monotonic()
            while (now := time.monotonic() - started) < ROUND_SECONDS:
                while steps and steps[0][0] <= now:
                    _, key, act = steps.pop(0)
                    say(act(self.members[key]))
                self._work()
                time.sleep(TICK_SECONDS)

    def _work(self) -> None:
        """A random agent starts or ends a task. Reports agents that ended and statuses that changed."""
        anyone = random.choice(list(self.members.values()))  # noqa: S311
        random.choice([anyone.work, anyone.work, anyone.rest])()  # noqa: S311
        for member in self.members.values():
            if line := member.last_output():
                say(f"{member.role.name} has ended: {line}")
        self._watch()

    def _watch(self) -> None:
        try:
            rows = self.api.get("/workspaces").raise_for_status().json()
        except httpx.HTTPError as error:
            say(f"the platform does not answer ({type(error).__name__})")
            return
        names = {member.workspace_id: member.role.name for member in self.members.values()}
        for row in rows:
            before = self.statuses.get(row["id"])
            self.statuses[row["id"]] = row["status"]
            if row["id"] in names and before not in (None, row["status"]):
                say(f"    the platform shows {names[row['id']]} {row['status']} (was {before})")


def _degrade(member: Member) -> str:
    member.send(
        error_rate=0.7, sample_error="TimeoutError: staging did not answer within 30 s", activity="Tests time out"
    )
    return f"{member.role.name}: 70% of its calls fail, so it reports an error rate of 0.7"


def _recover(member: Member) -> str:
    member.send(error_rate=0.0, sample_error="", activity="Tests pass again")
    return f"{member.role.name} has recovered: error rate 0"


def _freeze(member: Member) -> str:
    member.freeze()
    return f"{member.role.name} stops sending heartbeats (SIGSTOP): offline when its lease of a minute ends"


def _unfreeze(member: Member) -> str:
    member.unfreeze()
    return f"{member.role.name} sends heartbeats again"


def _crash(member: Member) -> str:
    member.stop()
    return f"{member.role.name} crashes (SIGKILL): offline a minute later"


def _restart(member: Member) -> str:
    member.start()
    return f"{member.role.name} is started again, with its stored token"


STEPS = (
    (10.0, "quality", _degrade),
    (20.0, "growth", _freeze),
    (60.0, "librarian", _crash),
    (100.0, "quality", _recover),
    (105.0, "growth", _unfreeze),
    (140.0, "librarian", _restart),
)


def say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {message}", flush=True)


def main() -> int:
    embedded.exit_on_signals(0)
    with ExitStack() as stack:
        platform = stack.enter_context(_platform())
        FOLDER.mkdir(mode=0o700, exist_ok=True)
        headers = {"Authorization": f"Bearer {_operator_token()}"}
        api = stack.enter_context(httpx.Client(base_url=platform, headers=headers, timeout=10))
        created = _workspaces(api)
        members = {role.key: Member(role, created[role.key], platform) for role in ORG}
        for member in members.values():
            stack.callback(member.stop)
            member.start()
        say(f"{len(members)} agents are starting. Watch them at {platform}/ - Ctrl-C stops them")
        Scenario(api, members).run()
    return 0


@contextmanager
def _platform() -> Iterator[str]:
    """The address of the platform of this checkout. Starts one if none runs, and stops it at the end."""
    if running_at():
        yield _answering(None)
        return
    say("no platform runs in this checkout: starting one")
    command = [PYTHON, "-m", "molecule.run"]
    with embedded.process(
        command, stop_signal="TERM", output=sys.stdout, cwd=BASE_DIR, environment=os.environ
    ) as runner:
        yield _answering(runner)


def _answering(runner: "subprocess.Popen[bytes] | None") -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if runner is not None and runner.poll() is not None:
            sys.exit(1)  # it has printed why
        try:
            if (address := running_at()) and httpx.get(f"{address}/health", timeout=2).is_success:
                return address
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    sys.exit("demo: the platform does not answer")


def _operator_token() -> str:
    path = STATE / "operator-token"
    token = os.environ.get("OPERATOR_TOKEN") or (path.read_text().strip() if path.exists() else "")
    return token or sys.exit(f"demo: no operator token in {path}, and OPERATOR_TOKEN is not set")


def _workspaces(api: httpx.Client) -> dict[str, dict[str, str]]:
    """The id and enrolment token of the workspace of each role; creates those that are missing."""
    path = FOLDER / "organisation.json"
    created: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
    living = {row["id"] for row in _checked(api.get("/workspaces"))}
    for role in ORG:
        if created.get(role.key, {}).get("id") not in living:
            (FOLDER / f"{role.key}.token").unlink(missing_ok=True)
            parent = created[role.parent]["id"] if role.parent else None
            created[role.key] = _create(api, role, parent)
            path.touch(mode=0o600)
            path.write_text(json.dumps(created, indent=2))
    return created


def _create(api: httpx.Client, role: Role, parent_id: str | None) -> dict[str, str]:
    body = {"name": role.name, "role": role.role, "tier": role.tier, "parent_id": parent_id, "runtime": "example"}
    if parent_id is None:
        body["canvas"] = {"x": 80, "y": 80}
    created = _checked(api.post("/workspaces", json=body))
    return {"id": created["id"], "enrolment_token": created["enrolment_token"]}


def _checked(response: httpx.Response) -> Any:
    if not response.is_success:
        sys.exit(f"demo: {response.request.url}: {response.status_code} {response.text}")
    return response.json()


if __name__ == "__main__":
    sys.exit(main())
