"""Heartbeats from any route: each has its token's rate limit and its own result."""

from collections.abc import Sequence
from enum import Enum
from typing import Any

from activity.group_commit import BUSY, Unwritten
from registry.exceptions import Busy
from registry.identity import rate_limits, refusals, tokens
from registry.liveness import heartbeats
from registry.liveness.heartbeats import Beat

TOO_MANY = {"error": "too many heartbeats", "code": "throttled"}


class Result(Enum):
    """The result of a heartbeat. For REFUSED, heartbeats.errors() says why."""

    ACCEPTED = 1
    OVER_LIMIT = 2
    REFUSED = 3


def commit(beats: Sequence[Beat]) -> list[Result | Unwritten]:
    """Commit the heartbeats that are within their rate limits; accepted ones count against it.

    BUSY ones changed nothing, and are neither accepted nor refused.
    """
    admitted = rate_limits.BEATS.admit([beat.token for beat in beats])
    within_limit = [beat for beat, fits in zip(beats, admitted, strict=True) if fits]
    accepted, busy = heartbeats.commit(within_limit)
    rate_limits.BEATS.charge([(within_limit[n].token, token_id) for n, token_id in accepted.items()])
    known = dict.fromkeys(accepted, Result.ACCEPTED) | dict.fromkeys(busy, BUSY)
    results = iter([known.get(n, Result.REFUSED) for n in range(len(within_limit))])
    return [next(results) if fits else Result.OVER_LIMIT for fits in admitted]


def errors(
    beats: Sequence[Beat], results: Sequence[Result | Unwritten], client_address: str
) -> list[dict[str, str] | None]:
    """The error of each heartbeat as the API says it, None for accepted ones. Notes the refused tokens."""
    refused = [beat for beat, result in zip(beats, results, strict=True) if result is Result.REFUSED]
    for beat in refused:
        if beat.token:
            refusals.note(beat.workspace_id, beat.token, client_address)
    reasons = iter(heartbeats.errors(refused))
    known = {Result.ACCEPTED: None, Result.OVER_LIMIT: TOO_MANY, BUSY: Busy().as_body}
    return [next(reasons).as_body if result is Result.REFUSED else known[result] for result in results]


def has_refused(errors: Sequence[dict[str, str] | None]) -> bool:
    """Whether one of them was refused, not only busy."""
    return any(error and error["code"] != Busy.code for error in errors)


def count_refused(beats: Sequence[Beat], client_address: str) -> None:
    """Count a request with refused heartbeats: for the first valid token in it, or for the address if there is none.

    So hosts behind the same address (NAT) do not use up each other's limit.
    """
    callers = tokens.callers({beat.token for beat in beats if beat.token})
    first = next((beat.token for beat in beats if beat.token in callers), None)
    if first is None:
        rate_limits.STRANGERS.add(client_address)
    else:
        rate_limits.BATCHES.charge([(first, callers[first].token_id)])


def is_over_limit(beats: Sequence[Beat]) -> bool:
    """Whether one of the tokens has been in too many requests with refused heartbeats."""
    return any(rate_limits.BATCHES.is_over(beat.token) for beat in beats)


def response_body(bodies: Sequence[Any], errors: Sequence[dict[str, str] | None]) -> dict[str, list[dict[str, Any]]]:
    """The response that the serializer BeatResults describes, for the request's `beats`."""
    return {"results": [_result(body, error) for body, error in zip(bodies, errors, strict=True)]}


def _result(body: Any, error: dict[str, str] | None) -> dict[str, Any]:
    named = body.get("workspace_id") if isinstance(body, dict) else None
    return {"workspace_id": named, "status": "error" if error else "ok", **(error or {})}
