"""Charts as SVG, from plain functions. Each part has a title, and a table says the same to screen readers.

Attributes and classes only: the content security policy refuses styles in elements.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate, groupby

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from activity.traffic import Traffic
from registry.liveness.availability import Window

WIDTH, BAR_HEIGHT = 720, 96
STRIP_HEIGHT = 22
GAP = 2
# Ratios of availability, from which a part of the strip has the colour of a status.
GOOD, FAIR, POOR = 0.995, 0.9, 0.5
NOT_EXPECTED = "not expected"


def calls(hours: Sequence[tuple[datetime, Traffic]]) -> SafeString:
    """A bar for each hour, its errors at the bottom. The highest bar has the whole height. Words where no bar is."""
    most = max((found.calls for _hour, found in hours), default=0)
    if not most:
        return format_html('<p class="quiet">{}</p>', "No calls.")
    step = WIDTH / max(len(hours), 1)
    bars = format_html_join("", "{}", ((_bar(n, step, most, hour, found),) for n, (hour, found) in enumerate(hours)))
    svg = format_html(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="Calls and errors by hour">{}</svg>',
        WIDTH,
        BAR_HEIGHT,
        bars,
    )
    rows = ((_hour(hour), f"{found.calls:,}", f"{found.errors:,}") for hour, found in hours)
    return svg + _axis([_hour(hour) for hour, _found in hours]) + _table(("Hour", "Calls", "Errors"), rows)


def statuses(strip: Sequence[str | None], window: Window) -> SafeString:
    """The worst status in each part of the window."""
    return _strip([(status or "", status or NOT_EXPECTED) for status in strip], window)


def ratios(parts: Sequence[float | None], window: Window) -> SafeString:
    """How available all workspaces together were in each part of the window."""
    return _strip([_ratio(part) for part in parts], window)


def spark(strip: Sequence[str | None], spoken: str) -> SafeString:
    """The worst status in each part of a window, as a strip the size of a word. `spoken` says what it means."""
    parts = [(status, len(list(same))) for status, same in groupby(strip)]
    starts = accumulate((length for _status, length in parts), initial=0)
    # A list has a thousand of them: put together as text, which they can be, of statuses and numbers only.
    rects = "".join(
        f'<rect class="{status}" x="{start}" width="{length}" height="1"/>'
        for (status, length), start in zip(parts, starts, strict=False)
        if status
    )
    return format_html(
        '<svg class="chart strip spark" viewBox="0 0 {} 1" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>",
        len(strip),
        spoken,
        spoken,
        mark_safe(rects),  # noqa: S308
    )


def percent(ratio: float | None) -> str:
    """ "99.2%", without rounding up to 100; "-" for None."""
    if ratio is None:
        return "-"
    return "100%" if ratio == 1 else f"{int(ratio * 1000) / 10:g}%"


def _bar(n: int, step: float, most: int, hour: datetime, found: Traffic) -> SafeString:
    height = _height(found.calls, most)
    errors = min(_height(found.errors, most), height)
    title = f"{_hour(hour)}: {found.calls:,} calls, {found.errors:,} errors"
    place = {"x": f"{n * step + GAP:.1f}", "width": f"{step - 2 * GAP:.1f}"}
    return format_html(
        '<g><title>{title}</title><rect class="calls" x="{x}" y="{y}" width="{width}" height="{height}" rx="2"/>'
        '<rect class="errors" x="{x}" y="{error_y}" width="{width}" height="{errors}"/></g>',
        title=title,
        y=BAR_HEIGHT - height,
        height=height,
        error_y=BAR_HEIGHT - errors,
        errors=errors,
        **place,
    )


def _height(count: int, most: int) -> int:
    """What is there can be seen, however small."""
    return max(round(BAR_HEIGHT * count / most), 1 if count else 0)


def _axis(labels: list[str]) -> SafeString:
    """The first and the last. Not in the drawing, whose texts would grow and shrink with it."""
    shown = format_html_join("", "<span>{}</span>", ((label,) for label in (labels[:1] + labels[-1:])))
    return format_html('<p class="axis" aria-hidden="true">{}</p>', shown)


def _strip(parts: Sequence[tuple[str, str]], window: Window) -> SafeString:
    step, seconds = WIDTH / max(len(parts), 1), (window.until - window.since) / max(len(parts), 1)
    named = [(css, word, _hour(window.since + n * seconds)) for n, (css, word) in enumerate(parts)]
    rects = (
        (css, f"{n * step:.1f}", f"{step - GAP:.1f}", STRIP_HEIGHT, start, word)
        for n, (css, word, start) in enumerate(named)
    )
    one = '<rect class="{}" x="{}" width="{}" height="{}" rx="2"><title>{}: {}</title></rect>'
    svg = format_html(
        '<svg class="chart strip" viewBox="0 0 {} {}" role="img" preserveAspectRatio="none" '
        'aria-label="Availability">{}</svg>',
        WIDTH,
        STRIP_HEIGHT,
        format_html_join("", one, rects),
    )
    ends = _axis([_hour(window.since), _hour(window.until)])
    return svg + ends + _table(("From", "Availability"), ((start, word) for _css, word, start in named))


def _ratio(ratio: float | None) -> tuple[str, str]:
    if ratio is None:
        return "", NOT_EXPECTED
    css = "online" if ratio >= GOOD else "degraded" if ratio >= FAIR else "offline" if ratio >= POOR else "failed"
    return css, percent(ratio)


def _table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> SafeString:
    """For screen readers. In an element of its own, as a table is never smaller than its content."""
    return format_html(
        '<div class="visually-hidden"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        format_html_join("", '<th scope="col">{}</th>', ((head,) for head in heads)),
        format_html_join(
            "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows)
        ),
    )


def _hour(moment: datetime) -> str:
    return f"{moment:%d %b %H:%M} UTC"
