"""Requests generated from the OpenAPI description: no 500, and no status that the description does not list."""

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.e2e.stack import Platform

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))


BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("who", ["operator", "workspace"])
def test_every_route_answers_with_a_documented_status(platform: Platform, who: str) -> None:
    token = platform.operator_token if who == "operator" else platform.agent("fuzzed").token
    described = platform.api.get("/api/schema").json()
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=platform.url)
    undocumented: list[str] = []
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        documented = set(described["paths"][operation.path][operation.method]["responses"])
        _fuzz(operation, documented, {"Authorization": f"Bearer {token}"}, undocumented)
    assert not undocumented, "\n".join(undocumented)


def _fuzz(operation: Any, documented: set[str], headers: dict[str, str], undocumented: list[str]) -> None:
    @BOUNDED
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        answer = case.call(headers=headers)
        if answer.status_code in (500, 502, 504) or str(answer.status_code) not in documented:
            undocumented.append(f"{answer.status_code} {case.as_curl_command()} {answer.text[:200]}")

    ask()
