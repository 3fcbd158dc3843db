"""A document's page, from its templates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pytest_fragility.checks.verdicts import BROKEN
from pytest_fragility.checks.wording import capitalized
from pytest_fragility.errors import printable
from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.local_processes import LocalProcesses
from pytest_fragility.parallel.pool import Job, Lost
from pytest_fragility.report.comparison import KindSummary, compare, kinds_of
from pytest_fragility.report.documents import Document, Unjudged, unjudged_note
from pytest_fragility.report.page.marks import Mark, mark_of_verdict
from pytest_fragility.report.page.sections import Section, section_of


def sections_of(audits: Sequence[Document]) -> list[Section]:
    """Return a section for each audit, whoever makes it.

    Each takes seconds, nearly all of them matplotlib's. Workers that wait since a training or a
    measure take part; none is started.

    Parameters
    ----------
    audits
        Of a document.

    Warns
    -----
    LostWorkerWarning
        Where a worker has ended early; what it had is made here.
    """
    numbered = dict(enumerate(audits, 1))
    jobs = {number: Job((audit, number)) for number, audit in numbered.items()}
    with closing(LocalProcesses(len(audits) - 1)) as workers:
        replies = workers.begin(make_section, jobs, first_here=1)
        made = {
            number: section_of(audit, number)
            for number, audit in numbered.items()
            if replies.take_back(number)
        }
        for number, reply in replies:
            if isinstance(reply, Failure):
                reply.throw()
            if isinstance(reply, Lost):
                replies.warn_of_loss(reply, "; this process goes on without it")
                made[number] = section_of(numbered[number], number)
            else:
                made[number] = reply
    return [made[number] for number in numbered]


def make_section(audit: Document, number: int) -> Iterator[Section]:
    """Yield a section; called in a worker process."""
    yield section_of(audit, number)


def rendered(document: Document) -> str:
    """Return the page of a document."""
    shown = _printable(document)
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "breakable": _breakable,
        "capitalized": capitalized,
        "mark": _mark_of_kind,
    }
    summaries = compare(shown)
    sections = sections_of(shown["audits"])
    kinds = kinds_of(summaries)
    return environment.get_template("page.html").render(
        generator=shown["generator"],
        sections=sections,
        unjudged=unjudged_note([Unjudged(**each) for each in shown["unjudged"]]),
        kinds=kinds,
        comparison=list(zip(summaries, sections, strict=True)),
        tasks=list(dict.fromkeys(audit["task"] for audit in shown["audits"])),
        errors=list(dict.fromkeys(summary.error_text for summary in summaries)),
        certainty=list(
            dict.fromkeys(
                sentence for section in sections for sentence in section.answers.certainty[:2]
            )
        ),
    )


def _mark_of_kind(summary: KindSummary | None) -> Mark | None:
    """Return the worst verdict, and how many checks are broken; None where none applies."""
    if summary is None or summary.verdict is None:
        return None
    more = f" {summary.share}" if summary.verdict == BROKEN else ""
    return mark_of_verdict(summary.verdict, more)


def _breakable(name: str) -> Markup:
    """Let lines break within a name where its words end."""
    return Markup(re.sub(r"([_.])", r"\1<wbr>", str(escape(name))))


def _printable(value: Any) -> Any:
    """Return plain JSON types whose texts have no control characters, which neither SVG allows."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _printable(each) for key, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list) else value
