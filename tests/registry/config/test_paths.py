"""Which paths a file may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.config import paths
from registry.exceptions import Invalid

GOOD = [
    "config.yaml", "skills/review/SKILL.md", "a b.md", ".env.example", "…/ä/日本.md", "x" * 255,
    "/".join(["d"] * 16), "/".join(["d" * 100] * 5) + "/abcdefg", "...", "auth_token",
]  # fmt: skip
BAD = [
    "", "/", "/etc/passwd", "a//b", "a/", "./a", "a/./b", "..", "../a", "a/../../b", "a/..", "C:/a", "c:\\a",
    "a\\..\\b",    "a\nb", "a\x00b", "a\u202eb", "a\u200bb", "\ud800", " ", "a/ /b", ".auth_token", "a/.AUTH_TOKEN/b",
    "/".join(["d"] * 17), "x" * 256, "ä" * 128, "/".join(["d" * 100] * 5) + "/abcdefgh",
]  # fmt: skip


@pytest.mark.parametrize("path", GOOD)
def test_a_relative_path_is_accepted(path: str) -> None:
    assert paths.clean(path) == path


@pytest.mark.parametrize("path", BAD)
def test_a_path_that_could_leave_its_folder_or_cannot_be_a_file_is_refused(path: str) -> None:
    with pytest.raises(Invalid) as refused:
        paths.clean(path)
    assert refused.value.field == "path"


def test_the_limits_are_at_512_characters_and_16_parts() -> None:
    assert len(GOOD[7]) == 512
    assert len(BAD[-1]) == 513


def test_equal_letters_are_one_path() -> None:
    assert paths.clean("cafe\u0301.md") == "caf\u00e9.md"


@given(st.text(alphabet=st.sampled_from("ab./\\: \n\u0301"), max_size=30))
def test_what_is_accepted_stays_below_its_folder(path: str) -> None:
    try:
        clean = paths.clean(path)
    except Invalid:
        return
    assert clean == paths.clean(clean)
    assert not {"", ".", ".."} & set(clean.split("/"))
    assert not clean.startswith("/")


def test_a_path_is_not_a_file_and_a_folder() -> None:
    paths.check_together(["a/b/c", "a/b/d", "a/bc"])
    with pytest.raises(Invalid, match=r'"a/b" is a file, not a folder'):
        paths.check_together(["a/b", "a/bc", "a/b/c/d"])
