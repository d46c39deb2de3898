"""`requirements.txt`: the packages that an agent needs. The platform's user installs them, so options, addresses and
paths are refused: only names, versions and markers are passed on."""

import re

from registry.config.contents import Files
from registry.runtime.backend import Refused

FILE = "requirements.txt"
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
EXTRAS = rf"(?:\[ *{NAME}(?: *, *{NAME})* *\])?"
VERSION = r"(?:===|==|~=|!=|<=|>=|<|>) *[A-Za-z0-9.*+!_-]+"
MARKER = r"[A-Za-z0-9_ .'\"()<>=!~,-]+"
REQUIREMENT = re.compile(rf"{NAME} *{EXTRAS} *(?:{VERSION}(?: *, *{VERSION})*)? *(?:;{MARKER})?")
COMMENT = re.compile(r"(?:^|\s)#.*")
LONGEST_SHOWN = 80


def read(files: Files) -> tuple[str, ...]:
    """The requirements, sorted; none without such a file. Raises Refused, which names the line."""
    if FILE not in files:
        return ()
    try:
        text = files[FILE].data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused("invalid_requirements", f"{FILE}: must be UTF-8") from None
    lines = [COMMENT.sub("", line).strip() for line in text.split("\n")]
    for number, line in enumerate(lines, 1):
        if line and not _is_requirement(line):
            problem = "must be a name with versions, as in requests>=2.32; options, addresses and paths are not allowed"
            raise Refused("invalid_requirements", f"{FILE}, line {number}: {line[:LONGEST_SHOWN]!r} {problem}")
    return tuple(sorted({line for line in lines if line}))


def _is_requirement(line: str) -> bool:
    """pip reads what follows a word with a dash as options."""
    return REQUIREMENT.fullmatch(line) is not None and not any(word.startswith("-") for word in line.split())
