"""Audits as Markdown, for a job's summary on GitHub and for files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pytest_fragility._util.text import one_line
from pytest_fragility.checks.kind import NOTHING
from pytest_fragility.checks.records import NOT_APPLICABLE, verdict_of
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Record
from pytest_fragility.report.conclusion import audit_verdict
from pytest_fragility.report.verdict_table import audit_table

COUNTED = (KEPT, BROKEN, INCONCLUSIVE, NOT_APPLICABLE)
HEADER = ("measure", "task", "verdict", *COUNTED, "errors")

_PLAIN = re.compile(r"[\w .,:/+=-]+")


def markdown_summary(
    audits: Sequence[Sequence[Record]],
    errors: Sequence[int] = (),
    *,
    note: str = "",
    details: bool = True,
) -> str:
    """Return a table of measures and verdicts, and behind it the text of each audit.

    Parameters
    ----------
    audits
        One sequence of records per audit, from `pytest_fragility.checks.records.check_record`.
    errors
        How many checks of each audit ended in an error and left no record; none by default.
    note
        From `pytest_fragility.report.documents.unjudged_note`.
    details
        Whether the texts are there too.
    """
    counts = list(errors) or [0] * len(audits)
    lines = ["## Fragility"]
    if note:
        lines += ["", fenced(note)]
    if audits:
        lines += ["", _row(HEADER), _row(["---"] * len(HEADER))]
    for records, failed in zip(audits, counts, strict=True):
        lines.append(_row(_cells(records, failed)))
    if details:
        for records, failed in zip(audits, counts, strict=True):
            lines += ["", *_details(records, failed)]
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """Return a name as code in which neither Markdown nor HTML finds anything to interpret."""
    text = one_line(text)
    is_plain = _PLAIN.fullmatch(text) and text == text.strip()
    return f"`{text}`" if is_plain else code_element(text)


def code_element(text: str) -> str:
    """Return the same as an HTML element, for where Markdown is not read."""
    spelled = "".join(
        each if each.isalnum() or each == " " else f"&#{ord(each)};" for each in one_line(text)
    )
    return f"<code>{spelled}</code>"


def fenced(text: str) -> str:
    """Return a text as a code block, whatever it holds."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _cells(records: Sequence[Record], failed: int) -> list[str]:
    first = records[0]
    found = Counter(verdict_of(r) for r in records if kind_of(r).about != NOTHING)
    verdict = audit_verdict(records, errors=failed)
    return [
        code(first["measure"]),
        code(first["task"]),
        f"**{verdict}**" if verdict == BROKEN else verdict,
        *(str(found[each]) for each in COUNTED),
        str(failed),
    ]


def _details(records: Sequence[Record], failed: int) -> list[str]:
    measure, task = (code_element(records[0][name]) for name in ("measure", "task"))
    return [
        f"<details><summary>{measure} on {task}</summary>",
        "",
        fenced(audit_table(records, errors=failed)),
        "",
        "</details>",
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
