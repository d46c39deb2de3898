"""HTML of statuses, times, workspaces and JSON. Without style attributes, which the content security policy refuses."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

from activity import clock
from registry.structure.text import first_line

EMPTY = mark_safe('<span class="empty">-</span>')
LONGEST_NAME = 80
"""What lists show of a name."""
MINUTE, HOUR, DAY = 60, 3600, 86400
UNITS = ((DAY, "d", "day"), (HOUR, "h", "hour"), (MINUTE, "min", "minute"), (1, "s", "second"))


def badge(tone: str, word: str, *, title: str = "") -> SafeString:
    """`tone` is a workspace status, whose colour the badge takes."""
    tooltip = format_html(' title="{}"', title) if title else ""
    return format_html('<span class="badge badge-{}"{}>{}</span>', tone, tooltip, word)


def span(seconds: float) -> str:
    """Returns a duration in its largest whole unit, "2 h"."""
    count, short_unit, _long_unit = _largest_unit(seconds)
    return f"{count} {short_unit}"


def long_span(seconds: float) -> str:
    """Returns a duration in its largest whole unit, "2 hours"."""
    count, _short_unit, long_unit = _largest_unit(seconds)
    return f"{count} {long_unit}" if count == 1 else f"{count} {long_unit}s"


def age(seconds: float) -> str:
    """Returns "now" or "12 s ago", as age() in ui/time.js."""
    return "now" if seconds < 1 else f"{span(seconds)} ago"


def absolute(moment: datetime | None) -> SafeString:
    """Returns the time in UTC."""
    if moment is None:
        return EMPTY
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), _to_the_second(moment))


def relative(moment: datetime | None, *, absent: str = "never") -> SafeString:
    """ "12 s ago", updated by admin.js; the absolute time is the title."""
    if moment is None:
        return format_html('<span class="empty">{}</span>', absent)
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        moment.isoformat(),
        _to_the_second(moment),
        age((clock.now() - moment).total_seconds()),
    )


def until(moment: datetime | None) -> SafeString:
    """ "in 3 hours", or the time itself once it has passed; empty without one."""
    if moment is None or moment <= clock.now():
        return absolute(moment)
    left = long_span((moment - clock.now()).total_seconds())
    return format_html('<time datetime="{}" title="{}">in {}</time>', moment.isoformat(), _to_the_second(moment), left)


def workspace_link(workspace_id: UUID | None, name: str | None) -> SafeString:
    """The name is cut; without one, as for a workspace that is not in the database, returns the id unlinked."""
    if workspace_id is None:
        return EMPTY
    if name is None:
        return format_html("<code>{}</code>", workspace_id)
    return link(reverse("admin:registry_workspace_change", args=[workspace_id]), short(name, LONGEST_NAME))


def link(url: str, text: object) -> SafeString:
    """Returns a link whose text is escaped."""
    return format_html('<a href="{}">{}</a>', url, text)


def pretty(value: Any) -> SafeString:
    """Returns JSON with indentation, in a box."""
    if value is None:
        return EMPTY
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html('<pre class="json" tabindex="0">{}</pre>', text)


def text(value: object) -> SafeString:
    """Returns a user's text, in its own direction; EMPTY for none."""
    return EMPTY if value in (None, "") else format_html('<span dir="auto">{}</span>', value)


def short(value: str | None, length: int = 60) -> SafeString:
    """Returns the first line of a user's text, cut to `length` characters; the whole text is the title."""
    if not value:
        return EMPTY
    return format_html('<span title="{}" dir="auto">{}</span>', value, Truncator(first_line(value)).chars(length))


def _largest_unit(seconds: float) -> tuple[int, str, str]:
    whole = max(0, int(seconds))
    size, short_unit, long_unit = next((unit for unit in UNITS if whole >= unit[0]), UNITS[-1])
    return whole // size, short_unit, long_unit


def _to_the_second(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S %Z")
