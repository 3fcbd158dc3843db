"""The table of verdicts, for the terminal and for ``str(AuditResult)``; 80 columns at most."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_fragility._util.stopwatch import REPORT, spent_on
from pytest_fragility.checks.kind import AUDIT, PAIRS, Section
from pytest_fragility.checks.provenance import level_of, looks_note, seeds_of, source_of
from pytest_fragility.checks.registry import ASKED_AS, KINDS, kind_of, plan_checks
from pytest_fragility.checks.verdicts import BROKEN, INADMISSIBLE, INCONCLUSIVE, KEPT, Record
from pytest_fragility.checks.wording import (
    EXPLANATION,
    counted,
    indented,
    is_bent,
    law_of,
    own_noise_note,
)
from pytest_fragility.errors import harmless
from pytest_fragility.report.conclusion import audit_verdict
from pytest_fragility.report.next_step import next_step

CONSTANT = "reads data and architecture alone: the same under every recipe"
# of what is of no one recipe
PLANNED = [check.id for check in plan_checks(list(ASKED_AS), [])]


@spent_on(REPORT)
def audit_table(records: Sequence[Record], *, errors: int = 0) -> str:
    """Return the table of one audit.

    Parameters
    ----------
    records
        The audit's checks, from `pytest_fragility.checks.records.check_record`; all of them, or
        those that were run.
    errors
        Checks that crashed and left no record; an audit with such is not kept.
    """
    records = sorted(records, key=_planned_place)
    first = records[0]
    sizes = first["sizes"]
    verdict = audit_verdict(records, errors=errors)
    noisy = [record for record in records if record["own_noise"]]
    lines = [
        *indented(f"{first['measure']} on {first['task']}: {verdict}", first=""),
        *indented(
            f"{law_of(first)}; n = {sizes[0]}..{sizes[-1]}, {seeds_of(records)}, "
            f"{level_of(first)}, {source_of(first)}"
        ),
        *([f"  value: {first['form']}"] if first["form"] else []),
        *indented(f"baseline: {first['baseline']}"),
        *(indented(CONSTANT) if first["constant_over_recipes"] else []),
        *(indented(own_noise_note(noisy[0])) if noisy else []),
    ]
    for section, shown in sections(records):
        kinds = [kind for kind in KINDS.values() if kind.section is section]
        lines += ["", *section.lines(kinds, shown)]
    noted = [line for note in notes(records, errors) for line in indented(note)]
    step = next_step(records, errors=errors)
    hint = ["", f"  {step}"] if step else []
    return harmless("\n".join([*lines, *([""] if noted else []), *noted, *hint]))


def _planned_place(record: Record) -> tuple[int, int]:
    """Return where the table has a check, in whatever order checks were run."""
    check_id = record["check"]
    is_planned = check_id in PLANNED
    return record["place"], PLANNED.index(check_id) if is_planned else len(PLANNED)


def sections(records: Sequence[Record]) -> list[tuple[Section, list[Record]]]:
    """Return the sections that have something to show, with the records that stand in each."""
    found = []
    for section in dict.fromkeys(kind.section for kind in KINDS.values() if kind.section):
        shown = [r for r in records if kind_of(r).section is section and section.shows(r)]
        if shown:
            found.append((section, shown))
    return found


def notes(records: Sequence[Record], errors: int = 0) -> list[str]:
    """Return what cannot be read off the table of verdicts, one text each.

    Parameters are those of `audit_table`.
    """
    texts = [f"{counted(errors, 'check')} ended in an error, shown above"] if errors else []
    about_audit = [r for r in records if kind_of(r).about == AUDIT]
    texts += [r["reason"] for r in about_audit if r["verdict"] == BROKEN]
    texts += filter(None, [looks_note(records)])
    texts += [EXPLANATION] if any(is_bent(record) for record in records) else []
    inadmissible = {
        r["perturbation"]: r["reason"] for r in records if r["admissibility"] == INADMISSIBLE
    }
    texts += list(inadmissible.values())
    texts += unpaired_notes(records)
    texts += [note for record in records for note in record.get("notes", [])]
    texts += _not_applicable(records)
    inconclusive = [r for r in records if r["verdict"] == INCONCLUSIVE]
    texts += [r["reason"] for r in about_audit if r["verdict"] == INCONCLUSIVE]
    texts += [r["reason"] for r in inconclusive if r["applicable"] and not r["evidence"]]
    open_records = [
        r
        for r in inconclusive
        if r["applicable"] and r["evidence"] and kind_of(r).rests_on != PAIRS
    ]
    needs = [r["seeds_needed"] for r in open_records]
    known = [need for need in needs if need is not None]
    if known:
        decided = f"{len(known)} of them" if len(open_records) > 1 else "it"
        texts.append(
            f"{len(open_records)} inconclusive: {max(known)} seeds would probably decide {decided}"
        )
    elif open_records:
        texts.append(f"{len(open_records)} inconclusive: no number of seeds up to 200 decides")
    texts += filter(None, (kind_of(r).note(r) for r in records if r["verdict"] == KEPT))
    return list(dict.fromkeys(texts))


def unpaired_notes(records: Sequence[Record]) -> list[str]:
    """Say which recipes are compared with the baseline without pairs of seeds."""
    names = dict.fromkeys(r["perturbation"] for r in records if r.get("unpaired"))
    if not names:
        return []
    return [f"unpaired, with Welch's t: {', '.join(names)} (too few seeds of the baseline's)"]


def _not_applicable(records: Sequence[Record]) -> list[str]:
    """Say which checks have nothing to say, those with one reason together."""
    checks: dict[str, list[str]] = {}
    for record in records:
        if not record["applicable"] and record["admissibility"] != INADMISSIBLE:
            checks.setdefault(record["reason"], []).append(record["check"])
    return [f"does not apply: {', '.join(names)} ({why})" for why, names in checks.items()]
