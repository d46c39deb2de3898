"""What README.md and docs/ show as code: fenced blocks, in the order of each page, and code inside of sentences."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^ *```", re.MULTILINE)
INLINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block. Its first line is ```language, or ```language target."""

    page: str
    line: int
    language: str
    target: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.language}"


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text()
    found = [_block(page, text, match) for match in FENCED.finditer(text)]
    assert 2 * len(found) == len(FENCE.findall(text)), f"{page}: a block has no end"
    return found


def inline_code(page: str) -> list[str]:
    """Code inside of sentences, with line ends as spaces."""
    return [" ".join(code.split()) for code in INLINE.findall(_sentences(page))]


def links(page: str) -> list[tuple[Path, str]]:
    """The files in this checkout to which a page links, each with the anchor, or ""."""
    found = [link.partition("#") for link in LINK.findall(_sentences(page)) if "://" not in link]
    here = ROOT / page
    return [((here.parent / path).resolve() if path else here, anchor) for path, _, anchor in found]


def anchors(path: Path) -> set[str]:
    """Of the headings, as GitHub names them."""
    headings = HEADING.findall(FENCED.sub("", path.read_text()))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _sentences(page: str) -> str:
    return FENCED.sub("", (ROOT / page).read_text())


def _block(page: str, text: str, match: "re.Match[str]") -> Block:
    language, _, target = match[3].strip().partition(" ")
    line = text.count("\n", 0, match.start()) + 1
    return Block(page=page, line=line, language=language, target=target, text=textwrap.dedent(match[4]))
