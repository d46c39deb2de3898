"""Beats as they come in, whichever way: each within its token's budget, each with its own answer."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from registry.identity import rate_limits, refusals
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat

TOO_MANY = {"error": "too many heartbeats", "code": "throttled"}


class Outcome(Enum):
    """REFUSED by the registry; heartbeats.errors() says why."""

    ACCEPTED = 1
    OVER_LIMIT = 2
    REFUSED = 3


def commit(beats: Sequence[Beat]) -> list[Outcome]:
    """Commit those that are within their budgets, and count those that are taken."""
    admitted = rate_limits.BEATS.admit([beat.token for beat in beats])
    given = [beat for beat, fits in zip(beats, admitted, strict=True) if fits]
    accepted = heartbeats.commit(given) if given else {}
    rate_limits.BEATS.charge([(given[n].token, token_id) for n, token_id in accepted.items()])
    outcomes = iter([Outcome.ACCEPTED if n in accepted else Outcome.REFUSED for n in range(len(given))])
    return [next(outcomes) if fits else Outcome.OVER_LIMIT for fits in admitted]


def problems(beats: Sequence[Beat], outcomes: Sequence[Outcome], client_address: str) -> list[dict[str, str] | None]:
    """What is wrong with each beat, as API errors say it; None for accepted ones. Notes the refused tokens."""
    refused = [beat for beat, outcome in zip(beats, outcomes, strict=True) if outcome is Outcome.REFUSED]
    for beat in refused:
        if beat.token:
            refusals.note(beat.workspace_id, beat.token, client_address)
    errors = iter(heartbeats.errors(refused))
    said = {Outcome.ACCEPTED: None, Outcome.OVER_LIMIT: TOO_MANY}
    return [next(errors).as_body if outcome is Outcome.REFUSED else said[outcome] for outcome in outcomes]


def results(bodies: Sequence[Any], problems: Sequence[dict[str, str] | None]) -> dict[str, list[dict[str, Any]]]:
    """BeatResults."""
    return {"results": [_result(body, problem) for body, problem in zip(bodies, problems, strict=True)]}


def _result(body: Any, problem: dict[str, str] | None) -> dict[str, Any]:
    named = body.get("workspace_id") if isinstance(body, dict) else None
    return {"workspace_id": named, "status": "error" if problem else "ok", **(problem or {})}
