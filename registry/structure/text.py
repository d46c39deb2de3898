"""Rules for the names and roles of workspaces."""

import re
import unicodedata

from django.core.exceptions import ValidationError

MAX_NAME = 255
MAX_ROLE = 10_000
# Zero-width joiners are part of ordinary text: of emoji families, and of Persian and Indic words.
JOINER = re.compile(r"(?<=[^\s\u200c\u200d])[\u200c\u200d](?=[^\s\u200c\u200d])")
LINE_BREAKS = re.compile(r"\s*[\r\n\u2028\u2029]\s*")
# Invisible, although Unicode counts them as letters or symbols.
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
VISIBLE = frozenset("LNPS")
CONTROL = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def clean_name(text: str) -> str:
    """Return the name in NFC without surrounding spaces. Raises ValidationError unless it is one line of 1-255
    characters, one of them visible, without control, format or bidirectional characters."""
    name = _normal(text)
    if "\n" in name or "\r" in name:
        raise ValidationError("must be one line", code="line_break")
    _check(name, MAX_NAME)
    return name


def shortened_name(text: str) -> str:
    """Return clean_name() of the first 255 characters, with line breaks as spaces: an Agent Card's name may be longer
    than a workspace's, and have several lines."""
    line = LINE_BREAKS.sub(" ", _normal(text))
    return clean_name(line[:MAX_NAME].rstrip("\u200c\u200d"))


def first_line(text: str) -> str:
    """Return what lists and cards show of a text of several lines."""
    return text.strip().partition("\n")[0].rstrip()


def clean_role(text: str | None) -> str | None:
    """Return the role in NFC with \\n between its lines, None for an empty one. Raises ValidationError unless it has at
    most 10,000 characters, one of them visible, and no control characters but line breaks and tabs."""
    role = _normal(text or "").replace("\r\n", "\n").replace("\r", "\n")
    if not role:
        return None
    _check(role, MAX_ROLE, allowed="\n\t")
    return role


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _check(text: str, longest: int, allowed: str = "") -> None:
    if len(text) > longest:
        raise ValidationError(f"must have at most {longest:,} characters, has {len(text):,}", code="max_length")
    for character in JOINER.sub("", text):
        if unicodedata.category(character) in CONTROL and character not in allowed:
            raise ValidationError(
                f"must not contain control or invisible characters (U+{ord(character):04X})", code="control_character"
            )
    if not any(unicodedata.category(one)[0] in VISIBLE and one not in BLANK for one in text):
        raise ValidationError("must have a visible character", code="invisible")
