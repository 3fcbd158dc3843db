"""The README taken apart: headings, links, blocks of code, tables; and text without its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# a question mark is a number that is not known
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]\d+)?|\?(?=[],])")
_VERDICT = re.compile(r"\b(?:kept|BROKEN|broken|inconcl\.|inconclusive)(?!\w)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what it says, and the line on which it begins."""

    language: str
    text: str
    line: int

    def __str__(self) -> str:
        return f"line-{self.line}"


PROSE = _FENCED.sub("", README)
BLOCKS = [
    Block(found[1], found[2], README.count("\n", 0, found.start()) + 2)
    for found in _FENCED.finditer(README)
]


def blocks(language: str) -> list[Block]:
    """Return the blocks in a language."""
    return [block for block in BLOCKS if block.language == language]


def block_with(words: str) -> str:
    """Return the one block that has some words."""
    found = [block.text for block in BLOCKS if words in block.text]
    assert len(found) == 1, f"README.md: {len(found)} blocks with {words!r}, expected one"
    return found[0]


def section(heading: str) -> str:
    """Return what stands below a heading, up to the next of the same depth."""
    depth = heading.partition(" ")[0]
    (found,) = re.findall(rf"^{re.escape(heading)}\n(.*?)(?=^{depth} |\Z)", README, re.S | re.M)
    return str(found)


def anchors() -> set[str]:
    """Return the anchors that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.+)$", PROSE, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> list[str]:
    """Return where links and pictures point to."""
    return re.findall(r"\]\(([^)\s]+)\)", PROSE)


def table_below(text: str, header: str) -> list[list[str]]:
    """Return the rows of the table whose header begins so, cell by cell."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(header):
            break
    else:
        raise AssertionError(f"no table with the header {header}")
    next(lines)
    return list(_rows(lines))


def _rows(lines: Iterator[str]) -> Iterator[list[str]]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def names(cell: str) -> list[str]:
    """Return what stands in a cell as code."""
    return re.findall(r"`([^`]+)`", cell)


def shape(text: str) -> list[str]:
    """Return a text's lines without numbers, verdicts and marks, which may turn out otherwise."""
    plain = _VERDICT.sub("VERDICT", _NUMBER.sub("#", text.replace("~ ", "  ").replace("]~", "]")))
    return [re.sub(r"(?<=\S) +", " ", line).rstrip() for line in plain.splitlines()]


def unwrapped(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())
