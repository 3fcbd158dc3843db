"""The evidence of one check: why, the numbers, and how certain they are."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_fragility.checks.kind import NOTHING
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import Record
from pytest_fragility.checks.wording import Table, own_noise_advice
from pytest_fragility.report.page.marks import Mark


@dataclass(frozen=True)
class Evidence:
    """What a check's verdict rests on.

    Parameters
    ----------
    link
        The element's id.
    mark
        The verdict.
    name
        The check's id.
    reason
        One sentence.
    table
        The numbers; None where there are none.
    texts
        What else is to be known, one sentence or two each.
    """

    link: str
    mark: Mark
    name: str
    reason: str
    table: Table | None = None
    texts: list[str] = field(default_factory=list)


def evidence_of(record: Record, mark: Mark) -> Evidence:
    """Return a check's evidence; `mark` is its verdict."""
    kind, noise = kind_of(record), own_noise_advice(record)
    table, texts = None, []
    if record["evidence"]:
        table, texts = kind.table(record), kind.texts(record)
    if record["admissibility_reason"]:
        word = record["admissibility"].capitalize()
        texts.append(f"{word}: {record['admissibility_reason']}.")
    if kind.about != NOTHING:
        texts.append(f"{kind.certainty(record)}.")
    if noise:
        texts.append(f"{noise}.")
    return Evidence(mark.link, mark, record["check"], record["reason"], table, texts)
