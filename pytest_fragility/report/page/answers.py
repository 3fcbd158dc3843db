"""A page's first screen: whether the measure is fragile, to what, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from pytest_fragility.checks.kind import SLOPE
from pytest_fragility.checks.provenance import level_of, seeds_of, total_alpha
from pytest_fragility.checks.registry import ASKED_AS, kind_of
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Record
from pytest_fragility.checks.wording import LOG, capitalized, power
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.comparison import KindSummary
from pytest_fragility.report.conclusion import is_void
from pytest_fragility.report.documents import Document
from pytest_fragility.report.page.grid import change_in_words
from pytest_fragility.report.page.marks import Mark, mark_of_verdict
from pytest_fragility.report.verdict_table import CONSTANT, notes

HEADLINES = {KEPT: "No", BROKEN: "Yes", INCONCLUSIVE: "Undecided"}


@dataclass(frozen=True)
class Named:
    """A change by its name, with a link to the evidence."""

    name: str
    link: str


@dataclass(frozen=True)
class Finding:
    """What the checks of one kind say.

    Parameters
    ----------
    kind, asserts
        The kind, and what it demands.
    mark
        The worst verdict; None where no check of the kind applies.
    broken, undecided
        Under which changes.
    applicable
        How many checks apply.
    """

    kind: str
    asserts: str
    mark: Mark | None
    broken: list[Named]
    undecided: list[Named]
    applicable: int


@dataclass(frozen=True)
class Answers:
    """The three answers about one measure.

    Parameters
    ----------
    headline
        Yes, no or undecided.
    mark
        The verdict.
    sentences
        What that means.
    findings
        To what, by kind of check.
    certainty
        How sure, one sentence each.
    """

    headline: str
    mark: Mark
    sentences: list[str]
    findings: list[Finding]
    certainty: list[str]


def answers_of(audit: Document, records: Sequence[Record], links: Mapping[str, str]) -> Answers:
    """Return what the first screen says about one measure.

    Parameters
    ----------
    audit
        Of a document.
    records
        Its checks.
    links
        By check: the id of the element with its evidence.
    """
    kinds = dict.fromkeys(kind_of(record).asked_as for record in records)
    findings = [
        _finding(kind, [r for r in records if kind_of(r).asked_as == kind], links)
        for kind in filter(None, kinds)
    ]
    verdict = audit["verdict"]
    return Answers(
        HEADLINES[verdict],
        mark_of_verdict(verdict),
        [*_meaning(audit, records, findings), *_furthest(records)],
        findings,
        _certainty(audit, records),
    )


def _finding(kind: str, records: Sequence[Record], links: Mapping[str, str]) -> Finding:
    summary = KindSummary.of(kind, records)
    broken, undecided = (
        [Named(kind_of(r).subject(r), links[r["check"]]) for r in summary.found(verdict)]
        for verdict in (BROKEN, INCONCLUSIVE)
    )
    mark = mark_of_verdict(summary.verdict) if summary.verdict else None
    applicable = len(summary.applicable)
    return Finding(kind, ASKED_AS[kind].asserts, mark, broken, undecided, applicable)


def _meaning(audit: Document, records: Sequence[Record], findings: Sequence[Finding]) -> list[str]:
    asked = sum(finding.applicable for finding in findings)
    broken = sum(len(finding.broken) for finding in findings)
    undecided = sum(len(finding.undecided) for finding in findings)
    if is_void(records):
        return ["The audit's own controls misbehave, so that it concludes nothing."]
    if audit["verdict"] == BROKEN:
        return [f"{broken} of {asked} checks are broken; each of them convicts by itself."]
    if audit["verdict"] == KEPT:
        return [f"All {asked} checks that apply are kept: none of these changes breaks it."]
    if undecided:
        return [f"Nothing is broken, but {undecided} of {asked} checks are inconclusive."]
    return ["Nothing is broken, but what was checked does not suffice."]


def _furthest(records: Sequence[Record]) -> list[str]:
    """Tell of the broken slope that moved the farthest, as the most telling example."""
    moved = [
        record
        for record in records
        if kind_of(record).looks_at == SLOPE
        and record["applicable"]
        and record["verdict"] == BROKEN
        and record["perturbation"] != BASELINE
        and "change" in record["evidence"]
    ]
    if moved:
        record = max(moved, key=lambda each: abs(each["evidence"]["change"]["mean"]))
        found, name, scale = record["evidence"], record["perturbation"], record["scale"]
        change = change_in_words(record)
        before, after = (power(found[side], scale) for side in (BASELINE, "perturbed"))
        law = "error ~ n^{:+.2f} → n^{:+.2f}".format(
            *(found[f"error_{side}"]["mean"] for side in (BASELINE, "perturbed"))
        )
        after = after.removeprefix("value ~ ") if scale == LOG else after
        return [f"Furthest under {name} ({change}): {before} → {after}, while {law}."]
    baseline = [
        record
        for record in records
        if kind_of(record).compares_recipes
        and record["perturbation"] == BASELINE
        and record["verdict"] == BROKEN
    ]
    return [f"Under the baseline itself it is {record['reason']}." for record in baseline]


def _certainty(audit: Document, records: Sequence[Record]) -> list[str]:
    sizes, first = audit["sizes"], records[0]
    chance = f"{100 * total_alpha(first):.4g} %"
    names = {record["perturbation"] for record in records} | {BASELINE}
    return [
        f"{seeds_of(records)}, n = {sizes[0]}..{sizes[-1]}, {level_of(first, ' over seeds')}.",
        f"A measure that breaks a tolerance is certified with probability at most {chance}; each "
        f"check convicts wrongly with at most {chance}.",
        *([f"The measure {CONSTANT}."] if audit["constant_over_recipes"] else []),
        *(f"{_sentence(note, names)}." for note in notes(records, len(audit["errors"]))),
    ]


def _sentence(note: str, names: Set[str]) -> str:
    """Return a note that begins a sentence; a recipe's name stays as it is."""
    return note if note.split()[0].rstrip(":") in names else capitalized(note)
