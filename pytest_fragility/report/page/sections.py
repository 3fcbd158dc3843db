"""One audit as a page's template takes it."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fragility.checks.wording import Table
from pytest_fragility.report.documents import Document, records_of
from pytest_fragility.report.page.answers import Answers, answers_of
from pytest_fragility.report.page.check_evidence import Evidence, evidence_of
from pytest_fragility.report.page.grid import Grid, grid_of_changes, perturbation_grid
from pytest_fragility.report.page.marks import mark_of
from pytest_fragility.report.page.pictures import Pictures, pictures_of
from pytest_fragility.report.verdict_table import sections


@dataclass(frozen=True)
class Part:
    """What checks of one kind, or of a few, say together.

    Parameters
    ----------
    title, note
        Stand above it; the note may be empty.
    verdicts
        Evidence whose verdicts are told in sentences.
    draws_tasks
        Whether the ladder's tasks and their figures stand there.
    changes
        Changes with a verdict each; None where there are none.
    tables
        Other numbers.
    """

    title: str
    note: str
    verdicts: list[Evidence]
    draws_tasks: bool
    changes: Grid | None
    tables: list[Table]


@dataclass(frozen=True)
class Section:
    """One audit.

    Parameters
    ----------
    id
        The element's.
    audit
        Of the document.
    answers
        The first screen's.
    grid
        Recipes and kinds of checks; None where no recipe was checked.
    pictures
        The figures.
    evidence
        Of every check, in the order of the audit.
    parts
        What else is told, in the order of the report.
    """

    id: str
    audit: Document
    answers: Answers
    grid: Grid | None
    pictures: Pictures
    evidence: list[Evidence]
    parts: list[Part]


def section_of(audit: Document, number: int) -> Section:
    """Return one audit; `number` tells it from the page's others."""
    records = records_of(audit)
    name = f"audit-{number}"
    links = {r["check"]: f"{name}-check-{place}" for place, r in enumerate(records)}
    marks = {r["check"]: mark_of(r, links[r["check"]]) for r in records}
    failed = {error["check"]: f"{name}-errors" for error in audit["errors"]}
    evidence = {r["check"]: evidence_of(r, marks[r["check"]]) for r in records}
    parts = [
        Part(
            each.title.format_map(shown[0]),
            each.note,
            [evidence[r["check"]] for r in shown] if each.has_verdicts else [],
            each.draws_tasks,
            grid_of_changes(each, shown, marks),
            each.tables(shown),
        )
        for each, shown in sections(records)
        if each.title
    ]
    return Section(
        name,
        audit,
        answers_of(audit, records, links),
        perturbation_grid(records, marks, failed),
        pictures_of(audit, records, f"a{number}"),
        list(evidence.values()),
        parts,
    )
