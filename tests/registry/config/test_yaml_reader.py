"""YAML from strangers: what is read, what is refused, and where the error says it is."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.config import yaml_reader
from registry.exceptions import Invalid

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def read(text: str | bytes) -> object:
    return yaml_reader.read(text if isinstance(text, bytes) else text.encode(), name="f.yaml").value


def test_what_json_has_is_read() -> None:
    text = "a: 1\nb: [1.5, true, no, null, ~, -3]\nc: |\n  two\n  lines\nd: {e: 'x'}\nf:\n"
    values = {"a": 1, "b": [1.5, True, False, None, None, -3], "c": "two\nlines\n", "d": {"e": "x"}, "f": None}
    assert read(text) == values


@pytest.mark.parametrize("text", ["2024-01-31", "12:30:45", "0x1F", "0o17", "1_000", "9" * 19, ".inf", ".nan", "1e5"])
def test_what_json_does_not_have_stays_text(text: str) -> None:
    assert read(f"a: {text}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("a: 1\nb: [1,\nc: 2", "line 4, column 1", "did not find"),
        ("a: 1\n a: 2", "line 2, column 3", "mapping values"),
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4, column 3", "'c' is there twice"),
        ("a: !!python/object/apply:os.system ['true']", "line 1, column 4", "tag .* is not supported"),
        ("a: !include x.yaml", "line 1, column 4", "tag !include is not supported"),
        ("a: !!binary aGk=", "line 1, column 4", "is not supported"),
        ("a: *b", "line 1, column 4", "b is not known"),
        ("a: &a [*a]", "line 1, column 8", "contains itself"),
        ("? [a, b]\n: 1", "line 1, column 3", "a key must be a text"),
        ("a: 1\n---\nb: 2", "line 2, column 1", "only one document"),
        ("a: " + "[" * 40 + "]" * 40, "line 1, column 35", "nested deeper than 32"),
        ("a: [" + "x," * 20_001 + "]", "line 1, column", "more than 20,000 values"),
        (BOMB, "line", "more than 20,000 values"),
        ("a: \x01", "f.yaml", "control characters|special characters"),
        ('a: "b\\0"', "line 1, column 4", "must not contain a NUL"),
        ('"b\\0": 1', "line 1, column 1", "must not contain a NUL"),
    ],
)
def test_an_error_says_where_and_why(text: str, where: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as refused:
        read(text)
    assert refused.value.message.startswith("f.yaml")
    assert where in refused.value.message


def test_what_is_no_utf8_or_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(Invalid, match="must be UTF-8"):
        read(b"a: \xff")
    with pytest.raises(Invalid, match="larger than 256 KiB"):
        read(b"a: " + b"[" * 256 * 1024)


def test_a_bomb_costs_no_memory() -> None:
    tracemalloc.start()
    with pytest.raises(Invalid):
        read(BOMB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


def test_merge_keys_and_aliases_are_read() -> None:
    assert read("base: &b {x: 1, y: 2}\na:\n  <<: *b\n  y: 3\nc: *b") == {
        "base": {"x": 1, "y": 2},
        "a": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 2},
    }


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!?|> \n'\"#%@,0~<."), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        value = read(text)
    except Invalid:
        return
    json.dumps(value, allow_nan=False)
