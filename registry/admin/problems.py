"""Problems of workspaces as operators read them: a word or two, and the colour of a badge."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from registry.admin import formats
from registry.models import Status
from registry.organisation.attention import Kind, Problem

TONES = {
    Kind.SECRETS: Status.FAILED,
    Kind.ENVIRONMENT: Status.DEGRADED,
    Kind.REFUSED: Status.FAILED,
    Kind.ENROLMENT_EXPIRED: Status.DEGRADED,
    Kind.TOKEN_EXPIRES: Status.DEGRADED,
}
"""The colours of problems that are no status of their own."""
WORDS = {
    Kind.SECRETS: "Secrets cannot be opened",
    Kind.ENVIRONMENT: "Environment missing",
    Kind.ENROLMENT_EXPIRED: "Enrolment expired",
    Kind.TOKEN_EXPIRES: "Token expires",
}


def badge(problem: Problem) -> SafeString:
    """The problem in a word or two, in its colour."""
    return formats.badge(TONES.get(problem.kind, problem.kind), word(problem))


def word(problem: Problem) -> str:
    """The problem in a word or two."""
    return WORDS.get(problem.kind, str(problem.kind).capitalize())


def when(problem: Problem) -> SafeString | str:
    """When it began; for a token, when it expires, and for flapping, when it ends; "" where that is not known."""
    if problem.at is None:
        return ""
    if problem.kind == Kind.FLAPPING:
        return format_html("until {}", formats.absolute(problem.at))
    return formats.until(problem.at) if problem.kind == Kind.TOKEN_EXPIRES else formats.relative(problem.at)
