"""What to do next about an audit, in one line."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from pytest_fragility.checks.provenance import seeds_option
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, Record
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.conclusion import is_void

INDENT = 2
WIDTH = 79 - INDENT


def next_step(records: Sequence[Record], *, errors: int = 0) -> str:
    """Return the command that shows the worst breakage, or the option that gives more seeds.

    Nothing where all is kept or expected, where an error or a control comes first, or where no
    number of seeds decides.

    Parameters
    ----------
    records
        An audit's checks, in the order in which they are reported.
    errors
        Checks that left no record.
    """
    if errors or is_void(records):
        return ""
    unexpected = [r for r in records if r["applicable"] and not _test(r).get("expected")]
    broken = [record for record in unexpected if record["verdict"] == BROKEN]
    return _rerun(_worst(broken)) if broken else _more_seeds(unexpected)


def _test(record: Record) -> Record:
    """Return what a record says of its test; nothing where the audit was not pytest's."""
    test: Record = record.get("test", {})
    return test


def _worst(broken: Sequence[Record]) -> Record:
    """Return the first check that is broken under the change that breaks most checks."""
    counts = Counter(r["perturbation"] for r in broken if r["perturbation"] != BASELINE)
    return max(broken, key=lambda record: counts[record["perturbation"]])


def _rerun(record: Record) -> str:
    command = _test(record).get("rerun")
    if not command:
        return ""
    selected = f"-k {shlex.quote(record['check'])}"
    texts = [f"next: {command}", f"next: {record['check']}, with {selected}"]
    return next((text for text in texts if len(text) <= WIDTH), "")


def _more_seeds(records: Sequence[Record]) -> str:
    inconclusive = [r for r in records if r["verdict"] == INCONCLUSIVE and r["evidence"]]
    needs = [r["seeds_needed"] for r in inconclusive if _would_take_more(r)]
    if not needs:
        return ""
    if records[0].get("source"):
        return f"next: {max(needs)} seeds, with {seeds_option(records[0], max(needs))}"[:WIDTH]
    flag = seeds_option(records[0], max(needs))
    test = _test(records[0])
    if test and not test["marks_seeds"]:
        return f"next: more seeds, with {flag}"
    value = flag.partition("=")[2]
    argument = f"seeds={value}" if value.isdecimal() else f'seeds="{value}"'
    return f"next: more seeds, with {argument}{' in the marker' if test else ''}"


def _would_take_more(record: Record) -> bool:
    """Return whether more seeds than were asked for would probably decide a check."""
    needed = record["seeds_needed"]
    return needed is not None and needed > max([len(record["seeds"]), *record["looks"]])
