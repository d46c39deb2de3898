"""Requests made up from the API's own description: no 5xx, and no status that it does not mention."""

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
def test_what_the_description_promises(platform: Platform, who: str) -> None:
    token = platform.operator_token if who == "operator" else platform.agent("fuzzed").token
    described = platform.api.get("/api/schema").json()
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=platform.url)
    wrong: list[str] = []
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        promised = set(described["paths"][operation.path][operation.method]["responses"])
        _fuzz(operation, promised, {"Authorization": f"Bearer {token}"}, wrong)
    assert not wrong, "\n".join(wrong)


def _fuzz(operation: Any, promised: set[str], headers: dict[str, str], wrong: list[str]) -> None:
    @BOUNDED
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        answer = case.call(headers=headers)
        if answer.status_code in (500, 502, 504) or str(answer.status_code) not in promised:
            wrong.append(f"{answer.status_code} {case.as_curl_command()} {answer.text[:200]}")

    ask()
