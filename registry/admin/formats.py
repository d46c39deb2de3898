"""HTML of statuses, times, workspaces and JSON. Without style attributes, which the content security policy refuses."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from markupsafe import escape

from activity import clock
from activity.routes import address
from registry.structure.text import first_line

EMPTY = mark_safe('<span class="empty">-</span>')
NO_WORKSPACE = str(UUID(int=0))
"""Stands for an id in an address."""
LONGEST_NAME = 80
"""What lists show of a name."""
MINUTE, HOUR, DAY = 60, 3600, 86400
UNITS = ((DAY, "d", "day"), (HOUR, "h", "hour"), (MINUTE, "min", "minute"), (1, "s", "second"))


def html(template: str, *values: object) -> SafeString:
    """Django's format_html() in less than half the time: a list has a thousand parts."""
    return SafeString(template.format(*map(escape, values)))


def badge(tone: str, word: str, *, title: str = "") -> SafeString:
    """`tone` is a workspace status, whose colour the badge takes."""
    tooltip = html(' title="{}"', title) if title else ""
    return html('<span class="badge badge-{}"{}>{}</span>', tone, tooltip, word)


def span(seconds: float) -> str:
    """Returns a duration in its largest whole unit, "2 h"."""
    count, short_unit, _long_unit = _largest_unit(seconds)
    return f"{count} {short_unit}"


def long_span(seconds: float) -> str:
    """Returns a duration in its largest whole unit, "2 hours"."""
    count, _short_unit, long_unit = _largest_unit(seconds)
    return counted(count, long_unit)


def counted(count: int, noun: str) -> str:
    """ "1 workspace", "3 workspaces"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(milliseconds: int | None) -> str:
    """Returns "800 ms" or "2.1 s"; "" for None."""
    if milliseconds is None:
        return ""
    return f"{milliseconds:,} ms" if milliseconds < 1000 else f"{milliseconds / 1000:,.1f} s"


def age(seconds: float) -> str:
    """Returns "now" or "12 s ago", as age() in ui/time.js."""
    return "now" if seconds < 1 else f"{span(seconds)} ago"


def absolute(moment: datetime | None) -> SafeString:
    """Returns the time in UTC."""
    if moment is None:
        return EMPTY
    return html('<time datetime="{}">{}</time>', moment.isoformat(), _to_the_second(moment))


def relative(moment: datetime | None, *, absent: str = "never", live: str = "") -> SafeString:
    """ "12 s ago", kept up to date in the browser; the absolute time is the title.

    `live`: what the live stream calls it; then it is empty without a time, until one comes.
    """
    slot = html(' data-live="{}"', live) if live else ""
    if moment is None:
        return html("<time{}></time>", slot) if live else html('<span class="empty">{}</span>', absent)
    return html(
        '<time datetime="{}" title="{}" data-relative{}>{}</time>',
        moment.isoformat(),
        _to_the_second(moment),
        slot,
        age((clock.now() - moment).total_seconds()),
    )


def until(moment: datetime | None) -> SafeString:
    """ "in 3 hours", or the time itself once it has passed; empty without one."""
    if moment is None or moment <= clock.now():
        return absolute(moment)
    left = long_span((moment - clock.now()).total_seconds())
    return html('<time datetime="{}" title="{}">in {}</time>', moment.isoformat(), _to_the_second(moment), left)


def workspace_link(workspace_id: UUID | None, name: str | None) -> SafeString:
    """The name is cut; without one, as for a workspace that is not in the database, returns the id unlinked."""
    if workspace_id is None:
        return EMPTY
    if name is None:
        return html("<code>{}</code>", workspace_id)
    page = address("admin:registry_workspace_change", NO_WORKSPACE).replace(NO_WORKSPACE, str(workspace_id))
    return link(page, short(name, LONGEST_NAME))


def link(url: str, text: object) -> SafeString:
    """Returns a link whose text is escaped."""
    return html('<a href="{}">{}</a>', url, text)


def pretty(value: Any) -> SafeString:
    """Returns JSON with indentation, in a box."""
    if value is None:
        return EMPTY
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return html('<pre class="json" tabindex="0">{}</pre>', text)


def text(value: object) -> SafeString:
    """Returns a user's text, in its own direction; EMPTY for none."""
    return EMPTY if value in (None, "") else html('<span dir="auto">{}</span>', value)


def short(value: str | None, length: int = 60) -> SafeString:
    """Returns the first line of a user's text, cut to `length` characters; then the whole text is the title."""
    if not value:
        return EMPTY
    line = first_line(value)
    # Truncator looks at every character, which is most of the time of a list.
    shown = line if len(line) <= length else Truncator(line).chars(length)
    if shown == value:
        return text(value)
    return html('<span title="{}" dir="auto">{}</span>', value, shown)


def _largest_unit(seconds: float) -> tuple[int, str, str]:
    whole = max(0, int(seconds))
    size, short_unit, long_unit = next((unit for unit in UNITS if whole >= unit[0]), UNITS[-1])
    return whole // size, short_unit, long_unit


def _to_the_second(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S %Z")
