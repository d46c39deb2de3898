"""Which lines of a `requirements.txt` are passed on to pip."""

import pytest

from registry.config.contents import Content
from registry.runtime import requirements
from registry.runtime.backend import Refused


def read(text: str | bytes) -> tuple[str, ...]:
    return requirements.read({"requirements.txt": Content(text if isinstance(text, bytes) else text.encode())})


def test_names_versions_extras_and_markers_are_kept() -> None:
    lines = [
        "PyYAML",
        "a2a-sdk[http-server, grpc]==1.3.0",
        "openai >=3, <4",
        "six==1.*",
        'uvloop~=0.23; sys_platform != "win32" and python_version >= "3.11"',
    ]
    assert read("\n".join(lines)) == tuple(sorted(lines))


def test_comments_order_and_repetitions_do_not_matter() -> None:
    assert read("# what it needs\r\n\r\nb==1  # why\n  a\n") == read("\ufeffa\nb==1\na\n") == ("a", "b==1")


def test_without_the_file_there_are_none() -> None:
    assert requirements.read({}) == read("# nothing\n") == ()


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "--index-url https://evil.example",
        "-r other.txt",
        "six --config-settings=a=b",
        'six; python_version > "3" --hash=sha256:00',
        'six; python_version > "3" --no-deps',
        "six==1 --no-binary",
        "https://evil.example/six.whl",
        "six @ https://evil.example/six.whl",
        "./six",
        "../six.whl",
        "/tmp/six.whl",
        "git+https://evil.example/six",
        "six==${SECRET}",
        "six \\",
        "six 1.0",
        "six==",
        "six; ${SECRET}",
        "a\vb",
        "s\u0131x",
    ],
)
def test_everything_else_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(Refused, match=r"requirements\.txt, line 2: ") as refused:
        read(f"first==1\n{line}\n")
    assert refused.value.reason == "invalid_requirements"


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(Refused, match="UTF-8"):
        read(b"\xff\xfe")
