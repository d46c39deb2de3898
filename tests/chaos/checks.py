"""What must be true after all faults: checks of the rows, the log, the agents and every client."""

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from tests.chaos.churn import Churn
from tests.chaos.experiment import PATIENCE_SECONDS, Experiment
from tests.e2e.stack import manage, until

REACHED = {
    "WORKSPACE_PROVISIONING": "provisioning",
    "WORKSPACE_PROVISION_FAILED": "failed",
    "WORKSPACE_ONLINE": "online",
    "WORKSPACE_OFFLINE": "offline",
    "WORKSPACE_DEGRADED": "degraded",
    "WORKSPACE_PAUSED": "paused",
    "WORKSPACE_REMOVED": "removed",
}
# One that was resumed after its agent died waits for an agent.
SILENT = ("offline", "provisioning")
# After the last web process dies its heartbeat still counts as fresh for this long, and leases end as usual
# (registry/supervision/jobs.py).
STALE_SECONDS = 10.0


def check(experiment: Experiment, churn: Churn) -> None:
    """Raises AssertionError, which lists what is wrong."""
    for client_process in experiment.client_processes:
        client_process.call("calm")
    experiment.listeners.call("resume")
    _resume_all(experiment, churn)
    _eventually(
        experiment, lambda: list(_wrong_states(experiment)), "workspaces whose status does not match their agent"
    )
    for what, wrong in (
        ("acknowledged heartbeats that are not in PostgreSQL", experiment.lost_beats()),
        ("unexpected answers to agents", _unexpected(experiment)),
        ("unexpected answers to the operator", churn.unexpected),
        ("operations that were acknowledged and did not happen", _lost_operations(experiment, churn)),
        ("events whose `from` is not the status before them", list(_inconsistent_events(experiment))),
        ("workspaces that went offline too early", list(_too_early(experiment))),
    ):
        assert not wrong, experiment.explained(what, wrong)
    # Without heartbeats no new event happens, so the log has an end.
    for client_process in experiment.client_processes:
        client_process.call("hold")
    log = _log(experiment)
    _eventually(experiment, lambda: _behind(experiment, log), "clients that have not received everything")
    wrong = list(_differences(experiment, log))
    assert not wrong, experiment.explained("clients whose events differ from the log", wrong)
    experiment.say(f"{len(log)} events, each received once and in order by all {experiment.size.listeners} clients")
    experiment.say(f"rebuild --check: {_replayed(experiment)}")
    experiment.say(f"answers to agents: {_answers(experiment)}; to the operator: {dict(churn.answers)}")


def _eventually(experiment: Experiment, wrong: Callable[[], list[str]], what: str) -> None:
    try:
        until(lambda: not wrong(), what, seconds=PATIENCE_SECONDS)
    except AssertionError:
        raise AssertionError(experiment.explained(what, wrong())) from None


def _resume_all(experiment: Experiment, churn: Churn) -> None:
    """Until none is left: a workspace cannot be resumed while its parent is paused."""

    def paused() -> list[tuple[Any, ...]]:
        return experiment.system.query("SELECT id::text FROM workspaces WHERE status = 'paused'")

    def resume() -> bool:
        for (who,) in paused():
            churn.resume(who)
        return not paused()

    until(resume, "everything paused to be resumed", seconds=PATIENCE_SECONDS)


def _wrong_states(experiment: Experiment) -> Iterator[str]:
    statuses = dict(experiment.system.query("SELECT id::text, status FROM workspaces"))
    for i, report in experiment.reports().items():
        state, status = report["state"], statuses.get(i)
        fits = {
            "alive": status == "online",
            "dead": status in (*SILENT, "removed"),
            "removed": status == "removed",
        }
        if not fits[state]:
            yield f"{i} is {status}, its agent is {state}: {report}"


def _unexpected(experiment: Experiment) -> list[str]:
    return [f"{i}: {answer}" for i, report in experiment.reports().items() for answer in report["unexpected"]]


def _lost_operations(experiment: Experiment, churn: Churn) -> list[str]:
    renamed = dict(
        experiment.system.query(
            "SELECT payload->'changes'->'name'->>1, workspace_id::text FROM structure_events"
            " WHERE event_type = 'WORKSPACE_UPDATED'"
        )
    )
    removed = {i for (i,) in experiment.system.query("SELECT id::text FROM workspaces WHERE status = 'removed'")}
    known = {i for (i,) in experiment.system.query("SELECT id::text FROM workspaces")}
    return [
        *(f"{who} was renamed to {name}" for name, who in churn.names.items() if renamed.get(name) != who),
        *(f"{who} was removed" for who in churn.removed - removed),
        *(f"{who} was created" for who in set(churn.ids) - known),
    ]


def _inconsistent_events(experiment: Experiment) -> Iterator[str]:
    """As when two supervisors both handle one lease, or one decides on a status that has changed since."""
    status: dict[str, str] = {}
    events = experiment.system.query(
        "SELECT seq, event_type, workspace_id::text, payload->>'from', actor FROM structure_events ORDER BY seq"
    )
    for seq, event, who, came_from, actor in events:
        if event not in REACHED:
            continue
        if came_from is not None and came_from != status.get(who):
            yield f"seq {seq}: {event} of {who} by {actor} from {came_from}, but it was {status.get(who)}"
        status[who] = REACHED[event]


def _too_early(experiment: Experiment) -> Iterator[str]:
    """Less than one lease after the last heartbeat, or during an outage in which no agent could reach the platform."""
    events = experiment.system.query(
        "SELECT seq, workspace_id::text, extract(epoch FROM created_at)::float,"
        " extract(epoch FROM (payload->>'last_heartbeat_at')::timestamptz)::float"
        " FROM structure_events WHERE event_type = 'WORKSPACE_OFFLINE'"
    )
    for seq, who, at, last_heartbeat in events:
        if last_heartbeat is not None and at - last_heartbeat < experiment.size.lease:
            yield f"seq {seq}: {who} went offline {at - last_heartbeat:.3f} s after a heartbeat"
        for down, up in experiment.outages:
            if down + STALE_SECONDS < at < up + experiment.size.lease:
                yield f"seq {seq}: {who} went offline {at - down:.1f} s into an outage of {up - down:.1f} s"


def _log(experiment: Experiment) -> list[tuple[int, str, str]]:
    return [
        (seq, event, who)
        for seq, event, who in experiment.system.query(
            "SELECT seq, event_type, workspace_id::text FROM structure_events ORDER BY seq"
        )
    ]


def _behind(experiment: Experiment, log: list[tuple[int, str, str]]) -> list[str]:
    last = log[-1][0]
    positions = experiment.listeners.call("positions")
    return [f"client {n} is at {at}, the log at {last}" for n, at in enumerate(positions) if at < last]


def _differences(experiment: Experiment, log: list[tuple[int, str, str]]) -> Iterator[str]:
    """Events that a client missed, received twice, out of order, or not as they are in the log."""
    known = {seq: (seq, event, who) for seq, event, who in log}
    for number, client in enumerate(experiment.listeners.call("report")):
        received = [(seq, event, who) for seq, event, who in client["received"]]
        if received == log:
            continue
        times = Counter(seq for seq, _event, _who in received)
        yield f"client {number}, whose sockets closed with {client['closes']}:"
        yield f"  missing: {[known[seq] for seq in known.keys() - times.keys()][:20]}"
        yield f"  received twice: {[(seq, count) for seq, count in times.items() if count > 1][:20]}"
        yield f"  not in the log: {[one for one in received if known.get(one[0]) != one][:20]}"
        swapped = [(a[0], b[0]) for a, b in pairwise(received) if a[0] >= b[0]]
        yield f"  out of order: {swapped[:20]}"


def _replayed(experiment: Experiment) -> str:
    try:
        return manage(experiment.system.environment, "rebuild", "--check").strip().splitlines()[-1]
    except subprocess.CalledProcessError as failed:
        raise AssertionError(
            experiment.explained("the log and the tables differ", failed.stdout.splitlines())
        ) from None


def _answers(experiment: Experiment) -> dict[str, int]:
    answers: Counter[str] = Counter()
    for report in experiment.reports().values():
        answers.update(report["answers"])
    return dict(answers)
