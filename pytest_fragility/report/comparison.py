"""Several measures side by side: measures x kinds of checks, as data, as CSV and for LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_fragility._util.csv_texts import csv_text
from pytest_fragility._util.text import one_line
from pytest_fragility.checks.kind import SLOPE
from pytest_fragility.checks.provenance import level_of
from pytest_fragility.checks.recipe_kinds import SHORT
from pytest_fragility.checks.registry import ASKED_AS, asked_as, kind_of
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, Record, worst
from pytest_fragility.checks.wording import EXPLANATION, bent_mark, interval
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.documents import Document, records_of

LONGEST = 1000
SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': "''",
        "`": r"\textasciigrave{}",
        # after a row's end an open bracket would be an argument
        "[": "{[}",
    }
)
SIGNED = re.compile(r"[+-]\d[\d.]*(?:e[+-]\d+)?")


def escaped(text: str) -> str:
    """Return a text on one line, with all that means something to LaTeX escaped."""
    return one_line(text, LONGEST).translate(SPECIAL)


def signed_numbers(text: str) -> str:
    """Return a text whose signed numbers are set as mathematics, so that a minus is one."""
    return SIGNED.sub(r"$\g<0>$", text)


Slope = dict[str, float]


@dataclass(frozen=True)
class KindSummary:
    """What all checks of one kind found about a measure.

    Parameters
    ----------
    kind
        As ``checks=`` names it.
    applicable
        Records of the checks that apply.
    has_failed
        Whether any ended in an error.
    """

    kind: str
    applicable: list[Record]
    has_failed: bool = False

    @classmethod
    def of(cls, kind: str, records: Iterable[Record], *, has_failed: bool = False) -> KindSummary:
        """Return what records of a kind say together."""
        return cls(kind, [record for record in records if record["applicable"]], has_failed)

    @property
    def verdict(self) -> str | None:
        """The worst one; None where none applies. An error leaves it inconclusive."""
        statuses = [record["verdict"] for record in self.applicable]
        statuses += [INCONCLUSIVE] if self.has_failed else []
        return worst(statuses) if statuses else None

    def found(self, verdict: str) -> list[Record]:
        """Return which records have a verdict."""
        return [record for record in self.applicable if record["verdict"] == verdict]

    @property
    def share(self) -> str:
        """How many of the checks that apply are broken, such as ``2/5``."""
        return f"{len(self.found(BROKEN))}/{len(self.applicable)}"

    @property
    def broken_by(self) -> list[str]:
        """What breaks the measure: names of perturbations, of symmetries, or what they are."""
        return [kind_of(record).subject(record) for record in self.found(BROKEN)]


@dataclass(frozen=True)
class MeasureSummary:
    """One measure's row of a comparison.

    Parameters
    ----------
    audit
        Of the document.
    slope, error_slope
        Under the baseline, the measure's and test error's; None where no check has them.
    mark
        Stands behind the slope of a curve that is no power law.
    kinds
        By kind, those that were asked for.
    """

    audit: Document
    slope: Slope | None
    error_slope: Slope | None
    mark: str
    kinds: dict[str, KindSummary]

    @property
    def slope_text(self) -> str:
        """The measure's slope with its interval, and its mark."""
        slope = interval(self.slope, self.audit["scale"]) if self.slope else ""
        return slope + self.mark

    @property
    def error_text(self) -> str:
        """Test error's slope with its interval."""
        return interval(self.error_slope) if self.error_slope else ""


def compare(document: Document) -> list[MeasureSummary]:
    """Return one row for each audit of a document, in its order."""
    return [_summary(audit) for audit in document["audits"]]


def kinds_of(summaries: Iterable[MeasureSummary]) -> list[str]:
    """Return the kinds of checks that any of the measures was asked for."""
    asked = {kind for summary in summaries for kind in summary.kinds}
    return [kind for kind in ASKED_AS if kind in asked]


def comparison_csv(document: Document) -> str:
    """Return the comparison as comma-separated values, one row for each measure.

    ``slope`` and ``error_slope`` are those of the baseline with their intervals; each kind of check
    has its worst verdict, how many of its checks apply, and what broke it, separated by spaces.
    """
    summaries = compare(document)
    kinds = kinds_of(summaries)
    slopes = [f"{name}{end}" for name in ("slope", "error_slope") for end in ("", "_low", "_high")]
    columns = [f"{kind}{what}" for kind in kinds for what in ("", "_checks", "_broken_by")]
    header = ["audit", "measure", "form", "task", "seeds", "verdict", *slopes, *columns]
    rows = [
        [
            *(summary.audit[name] for name in ("id", "measure", "form", "task")),
            len(summary.audit["seeds"]),
            summary.audit["verdict"],
            *_ends(summary.slope),
            *_ends(summary.error_slope),
            *(cell for kind in kinds for cell in _csv_cells(summary.kinds.get(kind))),
        ]
        for summary in summaries
    ]
    return csv_text(header, rows)


def comparison_latex(document: Document) -> str:
    """Return the comparison as a LaTeX table, which needs the package ``booktabs``.

    The task has a column of its own where there are several, and stands in the caption otherwise.
    """
    summaries = compare(document)
    kinds = kinds_of(summaries)
    tasks = {summary.audit["task"] for summary in summaries}
    header = ["measure", *_if(len(tasks) > 1, "task"), "slope", "error's", *kinds, "verdict"]
    rows = [
        [
            escaped(summary.audit["measure"]),
            *_if(len(tasks) > 1, escaped(summary.audit["task"])),
            signed_numbers(escaped(summary.slope_text)),
            signed_numbers(f"{summary.error_slope['mean']:+.2f}" if summary.error_slope else ""),
            *(_latex_cell(summary.kinds.get(kind)) for kind in kinds),
            _short(summary.audit["verdict"]),
        ]
        for summary in summaries
    ]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            r"\small",
            rf"\caption{{{escaped(_caption(summaries))}}}",
            r"\label{tab:fragility}",
            rf"\begin{{tabular}}{{{'l' * len(header)}}}",
            r"\toprule",
            _latex_row(header),
            r"\midrule",
            *map(_latex_row, rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _summary(audit: Document) -> MeasureSummary:
    records = records_of(audit)
    failed = {asked_as(error["check"]) for error in audit["errors"]}
    by_kind: dict[str, list[Record]] = {kind: [] for kind in ASKED_AS}
    for record in records:
        if kind := kind_of(record).asked_as:
            by_kind[kind].append(record)
    sources = [r for r in records if kind_of(r).looks_at == SLOPE and BASELINE in r["evidence"]]
    evidence = sources[0]["evidence"] if sources else {}
    return MeasureSummary(
        audit,
        evidence.get(BASELINE),
        evidence.get("error_baseline"),
        bent_mark(sources[0], BASELINE) if sources else "",
        {
            kind: KindSummary.of(kind, found, has_failed=kind in failed)
            for kind, found in by_kind.items()
            if found or kind in failed
        },
    )


def _ends(slope: Slope | None) -> list[float | str]:
    return [slope[end] for end in ("mean", "low", "high")] if slope else ["", "", ""]


def _csv_cells(summary: KindSummary | None) -> list[str | int]:
    if summary is None:
        return ["", "", ""]
    return [summary.verdict or "", len(summary.applicable), " ".join(summary.broken_by)]


def _if(condition: bool, cell: str) -> list[str]:
    return [cell] if condition else []


def _latex_cell(summary: KindSummary | None) -> str:
    if summary is None or summary.verdict is None:
        return "--"
    if summary.verdict != BROKEN:
        return _short(summary.verdict)
    return f"{BROKEN} {summary.share}"


def _short(verdict: str) -> str:
    return SHORT[verdict].lower()


def _caption(summaries: Sequence[MeasureSummary]) -> str:
    levels = sorted({level_of(summary.audit, " over seeds") for summary in summaries})
    tasks = sorted({summary.audit["task"] for summary in summaries})
    texts = [
        f"Fragility of generalization measures{f' on {tasks[0]}' if len(tasks) == 1 else ''}",
        "Slopes of the learning curves of the measure (with its interval) and of test error under "
        f"the baseline; {' or '.join(levels)}",
        "For each kind of check the worst verdict, and how many of the checks that apply are "
        "broken; --: none applies",
        *_if(any(summary.mark for summary in summaries), EXPLANATION),
    ]
    return "".join(f"{text}. " for text in texts).strip()


def _latex_row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"
