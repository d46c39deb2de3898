"""The rules for names and roles."""

import unicodedata

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from registry.structure.text import MAX_NAME, MAX_ROLE, clean_name, clean_role

ORDINARY = ["CEO", "Ümlaut & Söhne", "研究", "👩‍👩‍👧 family", "❤️‍🔥", "می‌خواهم", "क्‍ष", "a_b-c.d"]
INVISIBLE = ["\u200b", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u0007", "\u2028", "\u0000", "\U000e0041"]
BLANK = ["", "   ", "\u00a0", "\u3164", "\u2800", "\u0301", "\u200d", "\ufe0f"]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_kept(text: str) -> None:
    assert clean_name(f"  {text}\n") == unicodedata.normalize("NFC", text)
    assert clean_role(text) == clean_name(text)


@pytest.mark.parametrize("character", INVISIBLE, ids=ascii)
def test_control_format_and_bidirectional_characters_are_refused(character: str) -> None:
    for rule in (clean_name, clean_role):
        with pytest.raises(ValidationError, match=f"U\\+{ord(character):04X}"):
            rule(f"a{character}b")


@pytest.mark.parametrize("text", BLANK, ids=ascii)
def test_a_name_without_a_visible_character_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        clean_name(text)


@pytest.mark.parametrize("text", ["a\u200d", "\u200da", "a\u200d\u200db", "a \u200db"], ids=ascii)
def test_a_joiner_is_refused_unless_it_is_between_two_characters(text: str) -> None:
    with pytest.raises(ValidationError, match="U\\+200D"):
        clean_name(text)


def test_equivalent_unicode_spellings_become_one() -> None:
    assert clean_name("Zoe\u0308") == clean_name("Zoë")


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\r\nb"])
def test_a_name_is_one_line_and_a_role_may_have_several(text: str) -> None:
    with pytest.raises(ValidationError, match="one line"):
        clean_name(text)
    assert clean_role(f"{text}\n\tc") == "a\nb\n\tc"


def test_the_length_limits() -> None:
    assert clean_name("x" * MAX_NAME)
    assert clean_role("x" * MAX_ROLE)
    with pytest.raises(ValidationError, match="at most 255 characters, has 256"):
        clean_name("x" * (MAX_NAME + 1))
    with pytest.raises(ValidationError, match="at most 10,000 characters, has 10,001"):
        clean_role("x" * (MAX_ROLE + 1))


@pytest.mark.parametrize("text", [None, "", " \n "])
def test_an_empty_role_becomes_none(text: str | None) -> None:
    assert clean_role(text) is None


@given(st.text(max_size=300))
def test_a_cleaned_name_is_accepted_unchanged(text: str) -> None:
    try:
        name = clean_name(text)
    except ValidationError:
        return
    assert clean_name(name) == clean_role(name) == name
