"""How verdicts are shown: never by colour alone."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fragility.checks.kind import NOTHING
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import BROKEN, INADMISSIBLE, INCONCLUSIVE, KEPT, Record
from pytest_fragility.checks.wording import NOTHING as DASH

SIGNS = {KEPT: "✓", BROKEN: "✗", INCONCLUSIVE: "?"}
SILENT = "silent"


@dataclass(frozen=True)
class Mark:
    """One verdict on a page.

    Parameters
    ----------
    check
        The check's id; empty for what several checks say together.
    verdict
        As in the document.
    sign, word
        What is shown.
    style
        ``kept``, ``broken``, ``inconclusive``, or ``silent`` where a check says nothing.
    link
        Where the evidence is: an element's id.
    """

    check: str
    verdict: str
    sign: str
    word: str
    style: str
    link: str


def mark_of(record: Record, link: str) -> Mark:
    """Return how one check's verdict is shown; `link` is where its evidence is."""
    verdict = record["verdict"]
    said = _silence(record)
    if said is not None:
        return Mark(record["check"], verdict, DASH, said, SILENT, link)
    seeds = f" {len(record['seeds'])}" if record["looks"] else ""
    return Mark(record["check"], verdict, SIGNS[verdict], f"{verdict}{seeds}", verdict, link)


def mark_of_verdict(verdict: str, more: str = "") -> Mark:
    """Return how a verdict over several checks is shown."""
    return Mark("", verdict, SIGNS[verdict], f"{verdict}{more}", verdict, "")


def _silence(record: Record) -> str | None:
    """Return why a check says nothing about the measure; None where it does."""
    if record["admissibility"] == INADMISSIBLE:
        return "not admissible"
    if not record["applicable"]:
        return "does not apply"
    return "asserts nothing" if kind_of(record).about == NOTHING else None
