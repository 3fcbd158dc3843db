"""Several measures side by side, as a page's template takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_fragility.checks.verdicts import BROKEN
from pytest_fragility.checks.wording import LOG, interval
from pytest_fragility.report.comparison import KindSummary, MeasureSummary
from pytest_fragility.report.page.marks import Mark, mark_of_verdict
from pytest_fragility.report.page.sections import Section


@dataclass(frozen=True)
class ComparedKind:
    """What one kind of check says about one measure.

    Parameters
    ----------
    mark
        The worst verdict; None where none applies.
    broken_by
        What breaks it.
    """

    mark: Mark | None
    broken_by: list[str]


@dataclass(frozen=True)
class ComparedMeasure:
    """One row.

    Parameters
    ----------
    section
        The measure's part of the page.
    slope, error_slope
        Under the baseline.
    kinds
        In the order of the columns.
    """

    section: Section
    slope: str
    error_slope: str
    kinds: list[ComparedKind]


def comparison_rows(
    summaries: Sequence[MeasureSummary], kinds: Sequence[str], sections: Sequence[Section]
) -> list[ComparedMeasure]:
    """Return a row per measure, with a cell for each kind of check."""
    return [
        ComparedMeasure(
            section,
            _text(summary.slope, summary.audit["scale"]) + summary.mark,
            _text(summary.error_slope, LOG),
            [_compared(summary.kinds.get(kind)) for kind in kinds],
        )
        for summary, section in zip(summaries, sections, strict=True)
    ]


def _text(slope: dict[str, float] | None, scale: str) -> str:
    return interval(slope, scale) if slope else ""


def _compared(summary: KindSummary | None) -> ComparedKind:
    if summary is None or summary.verdict is None:
        return ComparedKind(None, [])
    count = f" {len(summary.broken)}/{summary.applicable}" if summary.verdict == BROKEN else ""
    return ComparedKind(mark_of_verdict(summary.verdict, more=count), summary.broken_by)
