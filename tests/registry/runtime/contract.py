"""What every backend must do. A test module of a backend defines the fixture `backend` and inherits Contract.

The agents are shell scripts, which every image has.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from registry.config.contents import Content
from registry.runtime.backend import Backend, Liveness, NotRunnable, Observation, Refused, Resource, Spec

PATIENCE_SECONDS = 30.0
CANARY = "canary-7c1f0e4d9b"
TOKEN = "mol_ws_0123456789ab_canary"
CONFIG = b"entrypoint: sh agent.sh\n"
READY = "the agent is ready"
WAITS = f"echo {READY}\nexec sleep 600\n"


def until(check: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not check():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.02)


def a_spec(script: str = WAITS, *, workspace_id: UUID | None = None, **fields: object) -> Spec:
    files = {"config.yaml": Content(CONFIG), "agent.sh": Content(script.encode())}
    given = {"generation": 1, "tier": 2, "runtime": "any", "token": TOKEN, "files": files} | fields
    return Spec(workspace_id=workspace_id or uuid4(), **given)  # type: ignore[arg-type]


class Created(list[Resource]):
    """What `created` was called with."""

    def __call__(self, resource: Resource) -> None:
        self.append(resource)


class Contract:
    @pytest.fixture
    def start(self, backend: Backend) -> Iterator[Callable[..., Resource]]:
        """Starts what a_spec() makes, and removes it at the end. Waits until the agent is ready."""
        started: list[UUID] = []

        def start(script: str = WAITS, *, ready: bool = True, **fields: object) -> Resource:
            spec = a_spec(script, **fields)  # type: ignore[arg-type]
            started.append(spec.workspace_id)
            before = times_ready(backend, spec.workspace_id)
            backend.prepare(spec)
            resource = backend.start(spec, Created())
            if ready:
                until(lambda: times_ready(backend, spec.workspace_id) > before)
            return resource

        yield start
        for workspace_id in started:
            backend.remove(workspace_id)

    def test_it_runs_and_is_alive(self, backend: Backend, start: Callable[..., Resource]) -> None:
        started = start(generation=3)
        assert backend.probe(started.workspace_id) == Observation(liveness=Liveness.ALIVE, resource=started)
        assert started.generation == 3

    def test_it_is_named_before_the_agent_does_anything(self, backend: Backend) -> None:
        spec = a_spec()

        def refuse(resource: Resource) -> None:
            assert backend.logs(spec.workspace_id, lines=50) == ""
            raise KeyError(resource.resource_id)

        with pytest.raises(KeyError):
            backend.start(spec, refuse)
        assert backend.probe(spec.workspace_id).liveness == Liveness.DEAD
        assert backend.logs(spec.workspace_id, lines=50) == ""
        backend.remove(spec.workspace_id)

    def test_the_same_generation_is_started_once(self, backend: Backend, start: Callable[..., Resource]) -> None:
        started = start()
        created = Created()
        again = backend.start(a_spec(workspace_id=started.workspace_id), created)
        assert [again, *created] == [started, started]

    def test_logs_are_the_last_lines(self, backend: Backend, start: Callable[..., Resource]) -> None:
        script = f"for n in 1 2 3 4 5; do echo line $n; done; echo to stderr >&2; {WAITS}"
        started = start(script)
        assert backend.logs(started.workspace_id, lines=3).splitlines() == ["line 5", "to stderr", READY]

    def test_stop_ends_it_and_keeps_what_it_wrote(self, backend: Backend, start: Callable[..., Resource]) -> None:
        workspace_id = uuid4()
        kept = backend.paths(workspace_id, 2).workspace
        first = start(f"echo kept > {kept}/file; {WAITS}", workspace_id=workspace_id)
        backend.stop(workspace_id)
        assert backend.probe(workspace_id).liveness == Liveness.DEAD
        assert backend.list_owned() == []
        backend.stop(workspace_id)
        second = start(f"cat {kept}/file; {WAITS}", workspace_id=workspace_id, generation=2)
        assert "kept" in backend.logs(workspace_id, lines=2)
        assert first.resource_id != second.resource_id

    def test_what_ignores_sigterm_is_killed_with_its_children(
        self, backend: Backend, start: Callable[..., Resource], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("registry.runtime.process.TERMINATE_SECONDS", 0.2)
        started = start("trap '' TERM; (trap '' TERM; sleep 601) & " + f"echo {READY}; while :; do sleep 1; done")
        backend.stop(started.workspace_id)
        assert backend.probe(started.workspace_id).liveness == Liveness.DEAD

    def test_an_agent_that_ends_is_dead_and_says_how(self, backend: Backend, start: Callable[..., Resource]) -> None:
        started = start("exit 3", ready=False)
        until(lambda: backend.probe(started.workspace_id).liveness == Liveness.DEAD)
        assert backend.probe(started.workspace_id).detail == "exited with status 3"
        assert backend.probe(started.workspace_id).resource == started

    def test_another_generation_replaces_a_dead_one(self, backend: Backend, start: Callable[..., Resource]) -> None:
        first = start("exit 3", ready=False)
        until(lambda: backend.probe(first.workspace_id).liveness == Liveness.DEAD)
        second = start(workspace_id=first.workspace_id, generation=2)
        assert backend.list_owned() == [second]

    def test_what_runs_is_listed(self, backend: Backend, start: Callable[..., Resource]) -> None:
        started = [start(), start()]
        assert sorted(one.resource_id for one in backend.list_owned()) == sorted(one.resource_id for one in started)

    def test_remove_leaves_nothing(self, backend: Backend, start: Callable[..., Resource]) -> None:
        started = start()
        backend.remove(started.workspace_id)
        assert backend.list_owned() == []
        assert backend.probe(started.workspace_id).liveness == Liveness.DEAD
        assert backend.logs(started.workspace_id, lines=50) == ""
        backend.remove(started.workspace_id)

    def test_the_agent_gets_its_files_and_its_token(self, backend: Backend, start: Callable[..., Resource]) -> None:
        workspace_id = uuid4()
        configs = backend.paths(workspace_id, 2).configs
        script = f"cd {configs}; cat skills/a/SKILL.md; wc -c < .auth_token; stat -c %a .auth_token run; {WAITS}"
        files = {
            "config.yaml": Content(CONFIG),
            "agent.sh": Content(script.encode()),
            "skills/a/SKILL.md": Content(b"how to\n"),
            "run": Content(b"", executable=True),
        }
        start(workspace_id=workspace_id, files=files)
        lines = ["how to", str(len(TOKEN)), "600", "755", READY]
        assert backend.logs(workspace_id, lines=50).split("\n") == lines

    def test_a_file_that_is_gone_from_the_database_is_gone_here(
        self, backend: Backend, start: Callable[..., Resource]
    ) -> None:
        workspace_id = uuid4()
        first = {**a_spec().files, "old": Content(b"")}
        start(workspace_id=workspace_id, files=first)
        backend.stop(workspace_id)
        start(f"ls; {WAITS}", workspace_id=workspace_id, generation=2)
        assert "old" not in backend.logs(workspace_id, lines=3).split("\n")

    def test_it_has_its_own_environment_only(
        self, backend: Backend, start: Callable[..., Resource], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECRETS_ENCRYPTION_KEY", "of-the-platform")
        started = start(f"env; {WAITS}", environment={"API_KEY": CANARY, "TWO_LINES": "a\nb"})
        text = backend.logs(started.workspace_id, lines=50)
        assert f"API_KEY={CANARY}" in text
        assert "TWO_LINES=a\nb" in text
        assert "of-the-platform" not in text
        assert "DATABASE_URL" not in text

    def test_it_is_told_where_it_listens(self, backend: Backend, start: Callable[..., Resource]) -> None:
        script = f"echo $AGENT_HOST $AGENT_PORT $AGENT_URL; {WAITS}"
        urls = set()
        for _ in range(2):
            started = start(script, environment={"AGENT_URL": "http://of.a.secret", "AGENT_PORT": "1"})
            host, port, url = backend.logs(started.workspace_id, lines=2).splitlines()[0].split()
            assert (host != "", 1 < int(port) < 65536) == (True, True)
            assert url == started.url
            urls.add(url)
        assert len(urls) == 2

    def test_secrets_are_in_no_arguments_names_or_logs_of_the_platform(
        self, backend: Backend, start: Callable[..., Resource], caplog: pytest.LogCaptureFixture
    ) -> None:
        started = start(environment={"API_KEY": CANARY})
        backend.probe(started.workspace_id)
        backend.stop(started.workspace_id)
        shown = [caplog.text, repr(backend.list_owned()), repr(started), repr(a_spec(environment={"KEY": CANARY}))]
        shown += [text for text in arguments() if "pytest" not in text]
        assert [text for text in shown if CANARY in text or TOKEN in text] == []

    def test_what_it_cannot_give_is_refused(self, backend: Backend) -> None:
        for tier in {1, 2, 3, 4} - backend.capabilities.tiers:
            with pytest.raises(Refused, match=f"tier {tier}"):
                backend.check(a_spec(tier=tier))

    def test_tiers_that_reach_the_host_need_a_setting(self, backend: Backend, settings: object) -> None:
        for tier, name in ((3, "RUNTIME_ALLOW_PRIVILEGED"), (4, "RUNTIME_ALLOW_HOST")):
            with pytest.raises(Refused, match=name):
                backend.check(a_spec(tier=tier))

    def test_a_refusal_starts_nothing(self, backend: Backend) -> None:
        spec = a_spec(tier=4)
        with pytest.raises(Refused):
            backend.start(spec, Created())
        assert backend.list_owned() == []

    def test_a_workspace_without_files_is_not_runnable(self, backend: Backend) -> None:
        with pytest.raises(NotRunnable, match="no files"):
            backend.check(a_spec(files={}))


def times_ready(backend: Backend, workspace_id: UUID) -> int:
    """A log is kept when its agent is started again."""
    return backend.logs(workspace_id, lines=10_000).count(READY)


def arguments() -> Iterator[str]:
    """The arguments of every process of this host."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdecimal():
                yield Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
