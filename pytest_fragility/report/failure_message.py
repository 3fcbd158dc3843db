"""What a person reads when a check is not kept."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from pytest_fragility._util.stopwatch import REPORT, spent_on
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.checks.verdicts import INADMISSIBLE, Record
from pytest_fragility.checks.wording import capitalized, own_noise_advice

WIDTH = 78


@spent_on(REPORT)
def failure_message(record: Record, rerun: str | None = None) -> str:
    """Return what broke, under which change, by how much, how certainly, and what to do.

    Parameters
    ----------
    record
        From `pytest_fragility.checks.records.check_record`.
    rerun
        The command that reruns just this check.
    """
    reason = record["reason"]
    if not reason.startswith(record["perturbation"]):
        reason = capitalized(reason)
    kind = kind_of(record)
    sections = [
        [headline(record), *_wrapped(reason)],
        kind.numbers(record) if record["evidence"] else [],
        kind.test_error(record),
        _wrapped(kind.certainty(record)),
        [line for note in record.get("notes", []) for line in _wrapped(note)],
        _wrapped(own_noise_advice(record)),
        [f"Rerun: {rerun}"] if rerun else [],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


@spent_on(REPORT)
def withstanding_message(
    record: Record, *, alpha: float, smaller: Sequence[str], code: str | None = None
) -> str:
    """Return what a search has found: a change that breaks a measure, confirmed on fresh seeds.

    Parameters
    ----------
    record
        Of the check that fresh seeds confirmed.
    alpha
        The level at which they did.
    smaller
        What is known about smaller changes, one sentence each.
    code
        Code that makes the change.
    """
    confirmed = (
        f"Found by a search, and confirmed on {len(record['seeds'])} fresh seeds at level "
        f"{alpha:.2g}, its share of what the search may err"
    )
    known = [line for text in [*smaller, confirmed] for line in _wrapped(text)]
    return "\n\n".join([failure_message(record), "\n".join(known), *([code] if code else [])])


def headline(record: Record) -> str:
    """Return measure, check, verdict and change in one line."""
    return f"{record['measure']}: {kind_of(record).headline(record)}"


def _wrapped(text: str) -> list[str]:
    # an option is copied from here, whole
    return textwrap.wrap(f"{text}.", WIDTH, break_on_hyphens=False) if text else []


def skip_reason(record: Record) -> str:
    """Return why a check does not apply."""
    reason: Any = record["reason"]
    return f"not admissible: {reason}" if record["admissibility"] == INADMISSIBLE else reason
