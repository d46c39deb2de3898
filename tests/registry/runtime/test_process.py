"""The process backend: the contract, and what concerns processes only."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from registry.config.contents import Content
from registry.runtime import confinement, folders, process_table
from registry.runtime.backend import Liveness, NotRunnable, Refused, Resource, Unavailable
from registry.runtime.process import ProcessBackend
from registry.runtime.process_table import Identity
from tests.registry.racing import together
from tests.registry.runtime.contract import READY, WAITS, Contract, Created, a_spec, until

Start = Callable[..., Resource]


def pid_of(resource: Resource) -> int:
    return Identity.parse(resource.resource_id).pid


class TestProcess(Contract):
    def test_one_that_was_killed_is_dead_and_says_so(self, backend: ProcessBackend, start: Start) -> None:
        started = start()
        os.kill(pid_of(started), signal.SIGKILL)
        until(lambda: backend.probe(started.workspace_id).liveness == Liveness.DEAD)
        assert backend.probe(started.workspace_id).detail == "was killed by SIGKILL"

    def test_it_has_a_session_of_its_own(self, start: Start) -> None:
        started = start()
        assert os.getsid(pid_of(started)) == pid_of(started) != os.getsid(0)

    def test_two_supervisors_that_start_it_at_once_start_it_once(self, root: Path, start: Start) -> None:
        backends, spec, created = [ProcessBackend(root), ProcessBackend(root)], a_spec(), Created()
        together(*(lambda backend=backend: backend.start(spec, created) for backend in backends))
        try:
            assert created[0] == created[1]
            mark = f"CONFIGS_DIR={backends[0].paths(spec.workspace_id, 2).configs}".encode()
            assert process_table.members(Identity("none", 0, 0), mark) == [pid_of(created[0])]
        finally:
            backends[0].remove(spec.workspace_id)
            backends[1].list_owned()

    def test_another_supervisor_of_the_host_finds_and_stops_it(
        self, backend: ProcessBackend, root: Path, start: Start
    ) -> None:
        started = start()
        other = ProcessBackend(root)
        assert other.list_owned() == [started]
        assert other.probe(started.workspace_id).liveness == Liveness.ALIVE
        other.stop(started.workspace_id)
        assert backend.probe(started.workspace_id).liveness == Liveness.DEAD

    def test_a_number_that_is_used_again_is_never_signalled(self, backend: ProcessBackend, root: Path) -> None:
        with subprocess.Popen(["sleep", "600"], start_new_session=True) as innocent:
            try:
                workspace_id = uuid4()
                found = process_table.identify(innocent.pid)
                assert found is not None
                earlier = Identity(found.boot, found.pid, found.started - 1)
                folder = folders.of(root, workspace_id)
                folder.path.mkdir(parents=True)
                folder.note.write_text(json.dumps({"resource_id": str(earlier), "generation": 1}))
                assert backend.probe(workspace_id).liveness == Liveness.DEAD
                backend.stop(workspace_id)
                backend.remove(workspace_id)
                assert innocent.poll() is None
            finally:
                innocent.kill()

    def test_what_left_the_session_is_stopped_too(self, backend: ProcessBackend, start: Start) -> None:
        started = start(f"setsid sleep 602 & {WAITS}")
        mark = f"CONFIGS_DIR={backend.paths(started.workspace_id, 2).configs}".encode()
        leader = Identity.parse(started.resource_id)
        until(lambda: len(process_table.members(leader, mark)) == 2)
        os.kill(leader.pid, signal.SIGKILL)
        backend.stop(started.workspace_id)
        assert process_table.members(leader, mark) == []

    def test_a_crash_leaves_nothing_of_its_session_to_the_next_start(
        self, backend: ProcessBackend, start: Start
    ) -> None:
        first = start(f"sleep 603 & echo $!; echo {READY}; exit 1")
        left = process_table.identify(int(backend.logs(first.workspace_id, lines=2).split()[0]))
        assert left is not None
        until(lambda: backend.probe(first.workspace_id).liveness == Liveness.DEAD)
        start(workspace_id=first.workspace_id)
        assert not process_table.is_running(left)

    def test_remove_leaves_no_process_and_no_file(self, backend: ProcessBackend, root: Path, start: Start) -> None:
        workspace_id = uuid4()
        kept = backend.paths(workspace_id, 2).workspace
        started = start(f"mkdir -p {kept}/a/b; chmod 0 {kept}/a; {WAITS}", workspace_id=workspace_id)
        backend.remove(workspace_id)
        assert not process_table.is_running(Identity.parse(started.resource_id))
        assert [path.name for path in root.iterdir() if path.name != "users.lock"] == []

    def test_a_link_of_the_agent_leads_the_platform_nowhere(
        self, backend: ProcessBackend, root: Path, start: Start
    ) -> None:
        outside = root.parent / "outside"
        outside.mkdir()
        (outside / "kept").write_text("kept")
        workspace_id = uuid4()
        start(f"mkdir skills; ln -s {outside} skills/a; {WAITS}", workspace_id=workspace_id)
        backend.stop(workspace_id)
        files = {**a_spec().files, "skills/a/kept": Content(b"overwritten")}
        start(workspace_id=workspace_id, generation=2, files=files)
        assert (outside / "kept").read_text() == "kept"

    def test_a_log_is_bounded(self, backend: ProcessBackend, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(folders, "LOG_BYTES", 1000)
        started = start(f"for n in $(seq 300); do echo line $n; done; {WAITS}")
        backend.probe(started.workspace_id)
        folder = folders.of(backend.root, started.workspace_id)
        assert folder.log.stat().st_size == 0
        assert backend.logs(started.workspace_id, lines=2) == f"line 300\n{READY}"
        assert sum(path.stat().st_size for path in folder.path.glob("log*")) <= 1000

    def test_a_note_that_cannot_be_read_is_unknown_and_not_dead(
        self, backend: ProcessBackend, root: Path, start: Start
    ) -> None:
        started = start()
        folder = folders.of(root, started.workspace_id)
        text = folder.note.read_text()
        folder.note.write_text("half of it")
        assert backend.probe(started.workspace_id).liveness == Liveness.UNKNOWN
        with pytest.raises(Unavailable):
            backend.stop(started.workspace_id)
        folder.note.write_text(text)
        assert backend.probe(started.workspace_id).liveness == Liveness.ALIVE

    def test_it_is_limited(self, start: Start, backend: ProcessBackend) -> None:
        started = start(f"ulimit -d; ulimit -c; {WAITS}")
        assert backend.logs(started.workspace_id, lines=3).split("\n")[:2] == [str(512 * 1024), "0"]

    def test_a_command_that_does_not_exist_is_in_the_log(self, backend: ProcessBackend, start: Start) -> None:
        started = start(files={"config.yaml": Content(b"entrypoint: nowhere")}, ready=False)
        until(lambda: backend.probe(started.workspace_id).liveness == Liveness.DEAD)
        assert backend.probe(started.workspace_id).detail == "exited with status 127"
        assert "nowhere: not found" in backend.logs(started.workspace_id, lines=5)

    def test_agent_py_is_run_where_config_yaml_says_nothing(self, backend: ProcessBackend, start: Start) -> None:
        agent = f"import time\nprint('{READY}')\ntime.sleep(600)\n".encode()
        started = start(files={"agent.py": Content(agent)})
        assert backend.probe(started.workspace_id).liveness == Liveness.ALIVE

    def test_others_reach_the_agent_that_listens(self, backend: ProcessBackend, start: Start) -> None:
        command = "exec python3 -m http.server --bind $AGENT_HOST $AGENT_PORT"
        started = start(f"echo {READY}; {command}")
        assert started.url is not None

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{started.url}/agent.sh").text.endswith(command)
            return False

        until(answers)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can run agents as other users")
    def test_each_agent_has_a_user_of_its_own_that_may_not_become_another(
        self, backend: ProcessBackend, start: Start
    ) -> None:
        script = f"id -u; grep NoNewPrivs /proc/self/status; cat /proc/*/environ > /dev/null 2>&1; {WAITS}"
        users = []
        for started in (start(script), start(script)):
            user, privileges = backend.logs(started.workspace_id, lines=3).split("\n")[:2]
            assert privileges.split()[1] == "1"
            users.append(int(user))
            assert Path("/proc", str(pid_of(started))).stat().st_uid == int(user)
        assert users == [folders.FIRST_USER, folders.FIRST_USER + 1]

    def test_tier_1_is_refused_without_bubblewrap(
        self, backend: ProcessBackend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(confinement, "sandbox_problem", confinement.sandbox_problem.__wrapped__)
        monkeypatch.setattr(confinement, "SANDBOX", "no-such-sandbox")
        with pytest.raises(Refused, match="not installed"):
            backend.check(a_spec(tier=1))

    @pytest.mark.skipif(confinement.sandbox_problem() != "", reason=confinement.sandbox_problem())
    def test_tier_1_sees_little_and_writes_nothing(self, backend: ProcessBackend, start: Start) -> None:
        script = f"touch file /usr/file || echo refused; ls /tmp | wc -l; ls -d /proc/[0-9]* | wc -l; {WAITS}"
        started = start(script, tier=1)
        [*_, refused, files, processes, _] = backend.logs(started.workspace_id, lines=10).split("\n")
        assert (refused, files) == ("refused", "1")
        assert int(processes) < 6
        backend.stop(started.workspace_id)
        assert backend.paths(started.workspace_id, 1).workspace is None

    @pytest.mark.parametrize("text", [b"name: Agent", b"entrypoint: ''", b""])
    def test_without_a_command_it_is_not_runnable(self, backend: ProcessBackend, text: bytes) -> None:
        with pytest.raises(NotRunnable, match="no entrypoint"):
            backend.check(a_spec(files={"config.yaml": Content(text)}))

    @pytest.mark.parametrize("text", [b"entrypoint: [a]", b"entrypoint: sh 'unfinished", b"{"])
    def test_a_command_that_cannot_be_read_is_refused(self, backend: ProcessBackend, text: bytes) -> None:
        with pytest.raises(Refused, match=r"config\.yaml"):
            backend.check(a_spec(files={"config.yaml": Content(text)}))


def test_a_process_is_known_by_its_start() -> None:
    found = process_table.identify(os.getpid())
    assert found is not None
    assert process_table.is_running(found)
    assert Identity.parse(str(found)) == found
    assert not process_table.is_running(Identity(found.boot, found.pid, found.started + 1))
    assert not process_table.is_running(Identity("another", found.pid, found.started))


def test_a_lock_that_is_held_is_waited_for_but_not_for_ever(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "LOCK_SECONDS", 0.1)
    with folders.locked(root / "a.lock"):
        with pytest.raises(Unavailable, match="another supervisor"), folders.locked(root / "a.lock"):
            pass
        (root / "a.lock").unlink()
        with folders.locked(root / "a.lock"):
            pass
