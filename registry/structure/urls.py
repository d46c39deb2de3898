"""The rule for agents' URLs, for the API and the admin."""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

MAX_URL = 2048


def validate_agent_url(text: str) -> None:
    """Accept an http(s) URL with a host, or a placeholder of another scheme for an agent that cannot be called.

    Raises ValidationError, whose message continues a sentence that begins with the field's name. A user name or a
    password is refused because the URL is kept in the append-only log and shown to other workspaces.
    """
    if len(text) > MAX_URL:
        raise ValidationError(f"must have at most {MAX_URL:,} characters", code="max_length")
    try:
        parts = urlsplit(text)
        is_absolute = bool(parts.scheme and parts.netloc and (parts.port is None or parts.port))
    except ValueError:
        is_absolute = False
    if not is_absolute or any(one.isspace() or not one.isprintable() for one in text):
        raise ValidationError("must be an http(s) URL, or a placeholder such as remote://no-inbound", code="invalid")
    if "@" in parts.netloc:
        raise ValidationError("must not contain a user name or password", code="user_info")
    if parts.scheme in ("http", "https") and not parts.hostname:
        raise ValidationError("must name a host", code="invalid")
