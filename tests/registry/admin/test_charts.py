"""Charts: what is drawn is what the numbers say, and a table says it too."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from activity.traffic import Traffic
from registry.admin import charts
from registry.liveness.availability import Window

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
WINDOW = Window(NOON - timedelta(hours=4), NOON)


def heights(svg: str, css: str) -> list[int]:
    return [int(one) for one in re.findall(rf'<rect class="{css}"[^>]* height="(\d+)"', svg)]


def test_bars_are_as_high_as_their_calls() -> None:
    hours = [(NOON + timedelta(hours=n), Traffic(calls, calls // 2)) for n, calls in enumerate((0, 50, 100))]
    svg = charts.calls(hours)
    assert heights(svg, "calls") == [0, 48, 96]
    assert heights(svg, "errors") == [0, 25 * 96 // 100, 48]
    assert "31 Jan 14:00 UTC: 100 calls, 50 errors" in svg
    assert "<td>31 Jan 13:00 UTC</td><td>50</td><td>25</td>" in svg


def test_one_error_among_many_calls_can_be_seen() -> None:
    assert heights(charts.calls([(NOON, Traffic(100_000, 1))]), "errors") == [1]


@pytest.mark.parametrize("hours", [[], [(NOON, Traffic())]])
def test_no_calls_are_said_in_words(hours: list[tuple[datetime, Traffic]]) -> None:
    assert charts.calls(hours) == '<p class="quiet">No calls.</p>'


def test_a_strip_has_the_status_of_each_part() -> None:
    svg = charts.statuses(["online", None, "failed", "degraded"], WINDOW)
    assert re.findall(r'<rect class="(\w*)"', svg) == ["online", "", "failed", "degraded"]
    assert "<title>31 Jan 10:00 UTC: failed</title>" in svg
    assert "<td>31 Jan 09:00 UTC</td><td>not expected</td>" in svg


def test_a_strip_of_ratios_is_coloured_by_how_good_they_are() -> None:
    svg = charts.ratios([1.0, 0.95, 0.6, 0.1, None], WINDOW)
    assert re.findall(r'<rect class="(\w*)"', svg) == ["online", "degraded", "offline", "failed", ""]


@pytest.mark.parametrize(
    ("ratio", "text"), [(1, "100%"), (0.9999, "99.9%"), (0.992, "99.2%"), (0.5, "50%"), (0, "0%"), (None, "-")]
)
def test_a_ratio_is_never_rounded_up(ratio: float | None, text: str) -> None:
    assert charts.percent(ratio) == text


def test_drawings_have_no_styles() -> None:
    """The content security policy refuses them."""
    assert "style" not in charts.calls([(NOON, Traffic(1, 1))]) + charts.statuses(["online"], WINDOW)
