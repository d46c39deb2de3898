"""Masking: in one pass, overlapping values as one span, and in every form in which a value may be sent."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from activity.log import Entry
from registry.models import Workspace
from registry.secrets import masking, store
from registry.secrets.masking import Mask, MaskedValue

Make = Callable[..., Workspace]
PEM = "-----BEGIN KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END KEY-----\n"


@pytest.fixture
def shown(make_workspace: Make) -> Callable[[dict[str, str], Any], Any]:
    """What a JSON body looks like in a report of a workspace with these secrets."""

    def show(secrets: dict[str, str], body: Any) -> Any:
        workspace = make_workspace()
        for key, value in secrets.items():
            store.set_for_workspace(workspace.id, key, value, actor="test")
        entry = Entry(activity_type="agent_log", request_body=body)
        [(_, masked)] = masking.mask([(workspace.id, entry)])
        return masked.request_body

    return show


def test_a_replacement_is_never_masked_again(shown: Any) -> None:
    """Each key's name contains the values that come after it: masked again, 60 characters became 600 KB."""
    letters = "ABCDEF"
    secrets = {f"{letter * 60}_{after * 60}": letter * 6 for letter, after in pairwise(letters)}
    text = "AAAAAA" * 10
    masked = shown(secrets, text)
    assert masked.count("[secret ") == 1
    assert len(masked) < 200


def test_the_output_is_bounded_however_long_a_key_is(shown: Any) -> None:
    masked = shown({"K" * 128: "abcdef"}, "abcdef " * 1000)
    assert len(masked) <= 7000 * 8
    assert "abcdef" not in masked
    assert masked.startswith("[secret KKKK")


@pytest.mark.parametrize(
    ("secrets", "text", "expected"),
    [
        ({"A": "abcdef123", "B": "123ghijkl"}, "x abcdef123ghijkl y", "x [secret A] y"),
        ({"A": "abcdef", "B": "def123456789"}, "x abcdef123456789 y", "x [secret B] y"),
        ({"A": "secret-one", "B": "secret-one-longer"}, "secret-one-longer secret-one", "[secret B] [secret A]"),
        ({"A": "one-two"}, "one-twoone-two", "[secret A][secret A]"),
        ({"A": "ababab"}, "xabababababx", "x[secret A]x"),
        ({"A": "aaaaaa", "B": "aaabbb"}, "aaaaaaaaabbb", "[secret A]"),
        ({"A": "abcabcab", "B": "cabx99"}, "abcabcabcabx99!", "[secret A]!"),
        ({"A": "abcdef", "B": "abcdef"}, "abcdef", "[secret A]"),
    ],
)
def test_overlapping_values_are_masked_as_one_span(
    shown: Any, secrets: dict[str, str], text: str, expected: str
) -> None:
    assert shown(secrets, text) == expected


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("12345678", 12345678),
        ("12345678", 12345678.0),
        ("12345678", -12345678),
        ("0012345678", 12345678),
        ("3.14159", 3.14159),
        ("1234567890123456789012", 1234567890123456789012),
        ("1234567890123456789012", 1234567890123456789012.0),
        ("1234567.50", 1234567.5),
        ("+4915112345", 4915112345),
    ],
)
def test_a_number_is_masked_as_a_json_number(shown: Any, value: str, sent: Any) -> None:
    masked = shown({"PIN": value}, {"deep": [sent, True, None, 12, 0.5, 999999999]})
    assert "[secret PIN]" in masked["deep"][0]
    assert masked["deep"][1:] == [True, None, 12, 0.5, 999999999]


@pytest.mark.parametrize(
    "sent",
    [
        PEM,
        PEM.strip(),
        PEM.replace("\n", "\r\n"),
        PEM.replace("\n", "\r"),
        json.dumps(PEM)[1:-1],
        json.dumps(PEM.replace("\n", "\r\n"))[1:-1],
        json.dumps({"key": PEM}),
    ],
)
@pytest.mark.parametrize("stored", [PEM, PEM.replace("\n", "\r\n")])
def test_a_value_of_several_lines_is_masked_with_any_line_ends(shown: Any, stored: str, sent: str) -> None:
    masked = shown({"PEM": stored}, f"before {sent} after")
    assert "[secret PEM]" in masked
    assert "MIIE" not in masked
    assert "END KEY" not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


@pytest.mark.parametrize(
    "sent",
    ['pass"wörd\\1/x', json.dumps('pass"wörd\\1/x'), json.dumps('pass"wörd\\1/x', ensure_ascii=False),
     json.dumps('pass"wörd\\1/x').replace("/", "\\/"), "pass%22w%C3%B6rd%5C1%2Fx", "pass%22w%c3%b6rd%5c1%2fx"],
)  # fmt: skip
def test_a_value_is_masked_as_json_and_in_urls(shown: Any, sent: str) -> None:
    masked = shown({"PASS": 'pass"wörd\\1/x'}, f"<{sent}>")
    assert masked.replace('"', "") == "<[secret PASS]>"


def test_a_long_repetitive_value_takes_no_quadratic_time(shown: Any) -> None:
    """Compared at each place, this would be 60 thousand million steps."""
    assert shown({"A": "a" * 60_000}, "a" * 1_000_000) == "[secret A]"
    nearly = "a" * 59_999 + "b"
    assert shown({"A": nearly}, "a" * 1_000_000 + nearly) == "a" * 1_000_000 + "[secret A]"


def test_keys_of_objects_are_masked(shown: Any) -> None:
    assert shown({"A": "canary-value"}, {"canary-value": {"x canary-value": 1}}) == {"[secret A]": {"x [secret A]": 1}}


def test_short_values_are_left_in_the_text(shown: Any) -> None:
    assert shown({"A": "12345", "B": " abc ", "C": "1.5"}, ["12345 abc ", 12345, 1.5]) == ["12345 abc ", 12345, 1.5]


def test_each_string_of_a_large_body_is_compared_with_what_the_body_contains_only() -> None:
    compared: list[str] = []

    class Noted(str):
        def __contains__(self, other: Any) -> bool:
            compared.append(other)
            return super().__contains__(other)

    many = Mask(tuple(MaskedValue(f'secret "{n}"\n', f"[{n}]") for n in range(100)))
    texts = [Noted("a"), Noted('b "secret'), Noted('the secret "7"\n!')]
    assert many.json(texts[:2]) == texts[:2]
    assert compared == []
    assert many.json([*texts, {'secret "7"\n': 1}]) == ["a", 'b "secret', "the [7]!", {"[7]": 1}]
    assert set(compared) == {'secret "7"\n'}
