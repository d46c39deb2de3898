"""What a page of the admin needs to follow /ws: its position in the log, and a badge for every state.

Its scripts fetch pages in the background, of which they take parts.
"""

from typing import Any

from activity import events
from activity.events import Position
from registry.admin import states
from registry.admin.lists.columns import LAST_TASK

BACKGROUND = "X-Background"
"""The header that ui/background.js sends."""


def is_unseen(request: Any) -> bool:
    """Whether the page is not displayed. Messages and one-time tokens are kept for the next one that is."""
    return request.method == "HEAD" or is_in_background(request)


def is_in_background(request: Any) -> bool:
    """Whether a script fetches it."""
    return BACKGROUND in request.headers


def note_position(request: Any) -> None:
    """Call it before the view reads anything, so that the page is at least as new as its position."""
    if request.method == "GET" and request.user.has_perm("registry.view_workspace"):
        request.log_position = events.position()


def context(request: Any) -> dict[str, Any]:
    """Without `live` for a page that does not follow the log."""
    own = {"is_unseen": is_unseen(request)}
    position: Position | None = getattr(request, "log_position", None)
    if position is None:
        return own
    socket = f"{request.META['SCRIPT_NAME']}/ws"
    return {**own, "live": {"position": position, "socket": socket, "badges": states.badges(), "last_task": LAST_TASK}}
