"""What must be true after all of it, asked of the rows, the log, the agents and every listening client."""

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from tests.chaos.churn import Churn
from tests.chaos.play import PATIENCE_SECONDS, Play
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
SILENT = ("offline", "failed")
# From the last web process's death until its pulse counts as stale (registry/loops.py), leases run out as usual.
STALE_SECONDS = 10.0


def check(play: Play, churn: Churn) -> None:
    """Raises AssertionError with each thing that is wrong."""
    for crowd in play.crowds:
        crowd.tell("calm")
    play.listeners.tell("go_on")
    _resume_all(play, churn)
    _eventually(play, lambda: list(_wrong_states(play)), "workspaces in a state that is not their agent's")
    for what, wrong in (
        ("acknowledged beats that are not in PostgreSQL", play.lost_beats()),
        ("answers that an agent should never get", _strange(play)),
        ("answers that an operator should never get", churn.strange),
        ("operations that were granted and did not happen", _undone(play, churn)),
        ("steps that do not begin where the last one ended", list(_broken_steps(play))),
        ("workspaces declared dead too early", list(_too_early(play))),
    ):
        assert not wrong, play.explained(what, wrong)
    # Nobody beats any more, so the log ends somewhere.
    for crowd in play.crowds:
        crowd.tell("hold")
    log = _log(play)
    _eventually(play, lambda: _behind(play, log), "clients that have not heard everything")
    wrong = list(_misheard(play, log))
    assert not wrong, play.explained("clients that heard something else than the log says", wrong)
    play.say(f"{len(log)} events, each heard once and in order by all {play.size.listeners} clients")
    play.say(f"rebuild --check: {_replayed(play)}")
    play.say(f"agents were answered {_answers(play)}, the operator {dict(churn.answers)}")


def _eventually(play: Play, wrong: Callable[[], list[str]], what: str) -> None:
    try:
        until(lambda: not wrong(), what, seconds=PATIENCE_SECONDS)
    except AssertionError:
        raise AssertionError(play.explained(what, wrong())) from None


def _resume_all(play: Play, churn: Churn) -> None:
    """Parents first, as nobody can be resumed below somebody paused."""

    def paused() -> list[tuple[Any, ...]]:
        return play.stage.query("SELECT id::text FROM workspaces WHERE status = 'paused'")

    def resume() -> bool:
        for (who,) in paused():
            churn.resume(who)
        return not paused()

    until(resume, "everything paused to be resumed", seconds=PATIENCE_SECONDS)


def _wrong_states(play: Play) -> Iterator[str]:
    statuses = dict(play.stage.query("SELECT id::text, status FROM workspaces"))
    for i, report in play.reports().items():
        state, status = report["state"], statuses.get(i)
        fits = {
            "alive": status == "online",
            "dead": status in (*SILENT, "removed"),
            "removed": status == "removed",
        }
        if not fits[state]:
            yield f"{i} is {status}, its agent is {state}: {report}"


def _strange(play: Play) -> list[str]:
    return [f"{i}: {answer}" for i, report in play.reports().items() for answer in report["strange"]]


def _undone(play: Play, churn: Churn) -> list[str]:
    renamed = dict(
        play.stage.query(
            "SELECT payload->'changes'->'name'->>1, workspace_id::text FROM structure_events"
            " WHERE event_type = 'WORKSPACE_UPDATED'"
        )
    )
    removed = {i for (i,) in play.stage.query("SELECT id::text FROM workspaces WHERE status = 'removed'")}
    known = {i for (i,) in play.stage.query("SELECT id::text FROM workspaces")}
    return [
        *(f"{who} was renamed to {name}" for name, who in churn.names.items() if renamed.get(name) != who),
        *(f"{who} was removed" for who in churn.removed - removed),
        *(f"{who} was created" for who in set(churn.ids) - known),
    ]


def _broken_steps(play: Play) -> Iterator[str]:
    """Two supervisors that both noticed one death, or a step decided on a status that was not the last."""
    status: dict[str, str] = {}
    events = play.stage.query(
        "SELECT seq, event_type, workspace_id::text, payload->>'from', actor FROM structure_events ORDER BY seq"
    )
    for seq, event, who, came_from, actor in events:
        if event not in REACHED:
            continue
        if came_from is not None and came_from != status.get(who):
            yield f"seq {seq}: {event} of {who} by {actor} from {came_from}, but it was {status.get(who)}"
        status[who] = REACHED[event]


def _too_early(play: Play) -> Iterator[str]:
    """Before a whole lease was over since the last beat, or while no agent could have reached us."""
    events = play.stage.query(
        "SELECT seq, workspace_id::text, extract(epoch FROM created_at)::float,"
        " extract(epoch FROM (payload->>'last_heartbeat_at')::timestamptz)::float"
        " FROM structure_events WHERE event_type = 'WORKSPACE_OFFLINE'"
    )
    for seq, who, at, beaten in events:
        if beaten is not None and at - beaten < play.size.lease:
            yield f"seq {seq}: {who} went offline {at - beaten:.3f} s after a beat"
        for down, up in play.outages:
            if down + STALE_SECONDS < at < up + play.size.lease:
                yield f"seq {seq}: {who} went offline {at - down:.1f} s into an outage of {up - down:.1f} s"


def _log(play: Play) -> list[tuple[int, str, str]]:
    return [
        (seq, event, who)
        for seq, event, who in play.stage.query(
            "SELECT seq, event_type, workspace_id::text FROM structure_events ORDER BY seq"
        )
    ]


def _behind(play: Play, log: list[tuple[int, str, str]]) -> list[str]:
    last = log[-1][0]
    positions = play.listeners.tell("positions")
    return [f"client {n} is at {at}, the log at {last}" for n, at in enumerate(positions) if at < last]


def _misheard(play: Play, log: list[tuple[int, str, str]]) -> Iterator[str]:
    """Missing, doubled, swapped or other than in the log."""
    known = {seq: (seq, event, who) for seq, event, who in log}
    for number, client in enumerate(play.listeners.tell("report")):
        heard = [(seq, event, who) for seq, event, who in client["heard"]]
        if heard == log:
            continue
        times = Counter(seq for seq, _event, _who in heard)
        yield f"client {number}, whose sockets closed with {client['closes']}:"
        yield f"  missing: {[known[seq] for seq in known.keys() - times.keys()][:20]}"
        yield f"  doubled: {[(seq, count) for seq, count in times.items() if count > 1][:20]}"
        yield f"  not in the log: {[one for one in heard if known.get(one[0]) != one][:20]}"
        swapped = [(a[0], b[0]) for a, b in pairwise(heard) if a[0] >= b[0]]
        yield f"  out of order: {swapped[:20]}"


def _replayed(play: Play) -> str:
    try:
        return manage(play.stage.environment, "rebuild", "--check").strip().splitlines()[-1]
    except subprocess.CalledProcessError as failed:
        raise AssertionError(play.explained("the log and the tables differ", failed.stdout.splitlines())) from None


def _answers(play: Play) -> dict[str, int]:
    answers: Counter[str] = Counter()
    for report in play.reports().values():
        answers.update(report["answers"])
    return dict(answers)
