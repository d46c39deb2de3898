"""`make demo`: twelve agents, three levels deep, each a process of examples/agent.py, so that there is life to watch.

It uses the platform of this checkout, or starts one. The organisation is kept in .molecule/demo/ and used again.
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
    """One agent of the organisation: a real process that we tell, line by line, what to say about itself."""

    def __init__(self, role: Role, seat: dict[str, str], platform: str) -> None:
        self.role = role
        self.workspace_id = seat["id"]
        self.environment = os.environ | {"MOLECULE_URL": platform, "ENROLMENT_TOKEN": seat["enrolment_token"]}
        self.log = FOLDER / f"{role.key}.log"
        self.process: subprocess.Popen[str] | None = None
        self.silent = False

    def start(self) -> None:
        role = self.role
        command = [PYTHON, str(AGENT), "--id", self.workspace_id, "--name", role.name, "--description", role.role]
        command += ["--token-file", str(FOLDER / f"{role.key}.token"), "--interval", str(BEAT_SECONDS), "--stdin"]
        if setpriv := shutil.which("setpriv"):
            # KILL, not TERM: it also ends an agent that is silent, which here means stopped.
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
        self.silent = False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def tell(self, **news: Any) -> None:
        if self.process is None or self.process.stdin is None or self.silent:
            return
        try:
            self.process.stdin.write(f"{json.dumps(news)}\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has just ended; the next look at it tells why
            return

    def work(self) -> None:
        task = random.choice(self.role.tasks)  # noqa: S311  # no secret
        self.tell(current_task=task, active_tasks=1, activity=f"Started: {task}")

    def rest(self) -> None:
        self.tell(current_task="", active_tasks=0, activity="Done, waiting for work")

    def fall_silent(self) -> None:
        self._signal(signal.SIGSTOP)
        self.silent = True

    def wake_up(self) -> None:
        self._signal(signal.SIGCONT)
        self.silent = False

    def last_words(self) -> str | None:
        """Why it ended, if it did so without us."""
        if self.process is None or self.process.poll() is None:
            return None
        self.process = None
        return (self.log.read_text().splitlines() or ["it said nothing"])[-1]

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Play:
    """What happens, and what the platform makes of it."""

    def __init__(self, api: httpx.Client, members: dict[str, Member]) -> None:
        self.api = api
        self.members = members
        self.statuses: dict[str, str] = {}

    def go_on(self) -> None:
        """Round after round, until Ctrl-C."""
        while True:
            scenes = list(SCENES)
            started = time.monotonic()
            while (now := time.monotonic() - started) < ROUND_SECONDS:
                while scenes and scenes[0][0] <= now:
                    _, key, act = scenes.pop(0)
                    say(act(self.members[key]))
                self._everyday()
                time.sleep(TICK_SECONDS)

    def _everyday(self) -> None:
        """Somebody takes up or ends a task; we look whether all are there."""
        somebody = random.choice(list(self.members.values()))  # noqa: S311
        random.choice([somebody.work, somebody.work, somebody.rest])()  # noqa: S311
        for member in self.members.values():
            if words := member.last_words():
                say(f"{member.role.name} has ended: {words}")
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
    member.tell(
        error_rate=0.7, sample_error="TimeoutError: staging did not answer within 30 s", activity="Tests time out"
    )
    return f"{member.role.name} has trouble: 70 % of the calls fail, so it reports an error rate of 0.7"


def _recover(member: Member) -> str:
    member.tell(error_rate=0.0, sample_error="", activity="Tests pass again")
    return f"{member.role.name} is well again: error rate 0"


def _fall_silent(member: Member) -> str:
    member.fall_silent()
    return (
        f"{member.role.name} goes silent (its process is stopped): the platform notices when its lease of a minute ends"
    )


def _wake_up(member: Member) -> str:
    member.wake_up()
    return f"{member.role.name} wakes up and beats again"


def _crash(member: Member) -> str:
    member.stop()
    return f"{member.role.name} crashes (its process is killed): that, too, shows a minute later"


def _restart(member: Member) -> str:
    member.start()
    return f"{member.role.name} is started again, with the token it kept"


SCENES = (
    (10.0, "quality", _degrade),
    (20.0, "growth", _fall_silent),
    (60.0, "librarian", _crash),
    (100.0, "quality", _recover),
    (105.0, "growth", _wake_up),
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
        seats = _seats(api)
        members = {role.key: Member(role, seats[role.key], platform) for role in ORG}
        for member in members.values():
            stack.callback(member.stop)
            member.start()
        say(f"{len(members)} agents are starting. Watch them at {platform}/ - Ctrl-C stops them")
        Play(api, members).go_on()
    return 0


@contextmanager
def _platform() -> Iterator[str]:
    """The address of this checkout's platform; one that we started stops with us."""
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
            sys.exit(1)  # it has said why
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


def _seats(api: httpx.Client) -> dict[str, dict[str, str]]:
    """The workspace of each role, made where it is missing: its id, and the token that lets its agent in once."""
    path = FOLDER / "organisation.json"
    seats: dict[str, dict[str, str]] = json.loads(path.read_text()) if path.exists() else {}
    living = {row["id"] for row in _checked(api.get("/workspaces"))}
    for role in ORG:
        if seats.get(role.key, {}).get("id") not in living:
            (FOLDER / f"{role.key}.token").unlink(missing_ok=True)
            parent = seats[role.parent]["id"] if role.parent else None
            seats[role.key] = _create(api, role, parent)
            path.touch(mode=0o600)
            path.write_text(json.dumps(seats, indent=2))
    return seats


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
