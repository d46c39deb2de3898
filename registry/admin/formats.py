"""How the admin writes a status, a time, a workspace, JSON. No style attributes: a strict CSP refuses them."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

EMPTY = mark_safe('<span class="empty">-</span>')
MINUTE, HOUR, DAY = 60, 3600, 86400


def badge(tone: str, word: str) -> SafeString:
    """`tone` is a workspace status; its colour is the canvas's."""
    return format_html('<span class="badge badge-{}">{}</span>', tone, word)


def span(seconds: float) -> str:
    """A duration in its largest whole unit. static/registry/admin.js says the same."""
    whole = max(0, int(seconds))
    for size, unit in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def absolute(moment: datetime | None) -> SafeString:
    if moment is None:
        return EMPTY
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), _to_the_second(moment))


def relative(moment: datetime | None, *, absent: str = "never") -> SafeString:
    """ "12 s ago", kept fresh by admin.js; the absolute time on hover."""
    if moment is None:
        return format_html('<span class="empty">{}</span>', absent)
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{} ago</time>',
        moment.isoformat(),
        _to_the_second(moment),
        span((timezone.now() - moment).total_seconds()),
    )


def workspace_link(workspace_id: UUID | None, name: str | None) -> SafeString:
    """Without a name (nobody we know) the id stands for itself."""
    if workspace_id is None:
        return EMPTY
    if name is None:
        return format_html("<code>{}</code>", workspace_id)
    return link(reverse("admin:registry_workspace_change", args=[workspace_id]), name)


def link(url: str, text: object) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, text)


def pretty(value: Any) -> SafeString:
    if value is None:
        return EMPTY
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)
    return format_html('<pre class="json" tabindex="0">{}</pre>', text)


def text(value: object) -> SafeString | str:
    return EMPTY if value in (None, "") else str(value)


def short(value: str | None, length: int = 60) -> SafeString:
    """One line; all of it on hover."""
    if not value:
        return EMPTY
    return format_html('<span title="{}">{}</span>', value, Truncator(value).chars(length))


def _to_the_second(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S %Z")
