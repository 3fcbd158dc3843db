"""The table of verdicts, for the terminal and for ``str(AuditResult)``; 80 columns at most."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from pytest_fragility._util.stopwatch import REPORT, spent_on
from pytest_fragility.checks.agreement import agreement_lines
from pytest_fragility.checks.breaking_points import breaking_point_lines
from pytest_fragility.checks.check import (
    ADMISSIBLE_COUNT,
    AGREEMENT,
    COMPLEXITY_KINDS,
    CONTROLS,
    INVARIANCE_KINDS,
    KINDS,
    LOCATE,
    PERTURBED_KINDS,
    SPREAD,
    STANDARD_KINDS,
    STOPPING,
)
from pytest_fragility.checks.complexity import ladder_lines
from pytest_fragility.checks.controls import controls_note
from pytest_fragility.checks.invariance import invariance_lines
from pytest_fragility.checks.planning import plan_checks
from pytest_fragility.checks.verdicts import BROKEN, INADMISSIBLE, INCONCLUSIVE, KEPT, Record
from pytest_fragility.checks.wording import (
    EXPLANATION,
    bent_mark,
    interval,
    is_bent,
    law_of,
    own_noise_note,
)
from pytest_fragility.errors import harmless
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.next_step import next_step
from pytest_fragility.report.provenance import level_of, looks_note, seeds_of, source_of

SHORT = {KEPT: "kept", BROKEN: "BROKEN", INCONCLUSIVE: "inconcl."}
WIDTH = 79
CONSTANT = "reads data and architecture alone: the same under every recipe"
COLUMNS = (16, 22, 9, 11, 11, 9)
# of what is of no one recipe
PLANNED = [check.id for check in plan_checks(KINDS, [])]


def overall_verdict(records: Sequence[Record]) -> str:
    """Return ``broken`` if any check is, ``kept`` if all that apply are, else ``inconclusive``.

    Where controls misbehave nothing is concluded.
    """
    asserted = [r for r in records if r["kind"] not in (AGREEMENT, LOCATE)]
    statuses = [r["verdict"] for r in asserted if r["applicable"]]
    if any(r["kind"] == CONTROLS and r["verdict"] == BROKEN for r in asserted):
        return INCONCLUSIVE
    if BROKEN in statuses:
        return BROKEN
    if not any(r["kind"] not in STANDARD_KINDS for r in asserted):
        return INCONCLUSIVE
    return KEPT if statuses and set(statuses) == {KEPT} else INCONCLUSIVE


def audit_verdict(records: Sequence[Record], *, errors: int = 0) -> str:
    """Return the verdict on an audit of which some checks left no record: it is not kept then."""
    verdict = overall_verdict(records)
    return INCONCLUSIVE if errors and verdict == KEPT else verdict


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
        *_wrapped(f"{first['measure']} on {first['task']}: {verdict}", indent=""),
        *_wrapped(
            f"{law_of(first)}; n = {sizes[0]}..{sizes[-1]}, {seeds_of(records)}, "
            f"{level_of(first)}, {source_of(first)}"
        ),
        *([f"  value: {first['form']}"] if first["form"] else []),
        *_wrapped(f"baseline: {first['baseline']}"),
        *(_wrapped(CONSTANT) if first["constant_over_recipes"] else []),
        *(_wrapped(own_noise_note(noisy[0])) if noisy else []),
    ]
    judged = [record for record in records if record["kind"] in PERTURBED_KINDS]
    if judged:
        lines += ["", _row("", "measure's slope", "error's", *PERTURBED_KINDS)]
        names = dict.fromkeys([BASELINE, *_perturbations(judged)])
        lines += [_recipe_row(name, judged) for name in names]
    stops = [record for record in records if record["kind"] == STOPPING]
    if stops:
        lines += ["", *_stopping_lines(stops)]
    over_ladder = [record for record in records if record["kind"] in COMPLEXITY_KINDS]
    if over_ladder:
        lines += ["", *ladder_lines(over_ladder)]
    invariances = [record for record in records if record["kind"] in INVARIANCE_KINDS]
    if invariances:
        lines += ["", *invariance_lines(invariances)]
    located = [record for record in records if record["kind"] == LOCATE]
    if located:
        lines += ["", *breaking_point_lines(located)]
    for record in records:
        if record["kind"] == AGREEMENT and record["evidence"]:
            lines += ["", *agreement_lines(record)]
    noted = [line for note in notes(records, errors) for line in _wrapped(note)]
    step = next_step(records, errors=errors)
    hint = ["", f"  {step}"] if step else []
    return harmless("\n".join([*lines, *([""] if noted else []), *noted, *hint]))


def _planned_place(record: Record) -> tuple[int, int]:
    """Return where the table has a check, in whatever order checks were run."""
    check_id = record["check"]
    is_planned = check_id in PLANNED
    return record["place"], PLANNED.index(check_id) if is_planned else len(PLANNED)


def _row(*cells: str) -> str:
    text = "".join(f"{cell:<{width}}" for cell, width in zip(cells, COLUMNS, strict=True))
    return f"  {text}".rstrip()


def _perturbations(records: Sequence[Record]) -> list[str]:
    return [record["perturbation"] for record in records]


def _recipe_row(name: str, judged: Sequence[Record]) -> str:
    side = "baseline" if name == BASELINE else "perturbed"
    records = [record for record in judged if record["perturbation"] == name]
    slope = error = ""
    for record in judged if name == BASELINE else records:
        evidence = record["evidence"]
        if record["kind"] != SPREAD and side in evidence:
            slope = interval(evidence[side], record["scale"]) + bent_mark(record, side)
            error = f"{evidence[f'error_{side}']['mean']:+.2f}"
    if records and records[0]["admissibility"] == INADMISSIBLE:
        slope, error, cells = "not admissible", "", ["-"] * len(PERTURBED_KINDS)
    else:
        short = {record["kind"]: _cell(record) for record in records}
        cells = [short.get(kind, "") for kind in PERTURBED_KINDS]
    return _named_row(name, slope, error, *cells)


def _cell(record: Record) -> str:
    """Return a verdict, with the seeds that it took where these were trained as needed."""
    if not record["looks"]:
        return SHORT[record["verdict"]]
    short = "open" if record["verdict"] == INCONCLUSIVE else SHORT[record["verdict"]]
    return f"{short} {len(record['seeds'])}"


def _stopping_lines(records: Sequence[Record]) -> list[str]:
    """Return one line for each checkpoint along the baseline's training."""
    lines = [_row("at checkpoints", "measure's slope", "error's", "verdict", "", "")]
    for record in records:
        evidence, name = record["evidence"], record["perturbation"]
        if not record["applicable"]:
            slope, error, verdict = "not admissible", "", "-"
        else:
            verdict = _cell(record)
            slope = interval(evidence["perturbed"]) if evidence else ""
            slope += bent_mark(record, "perturbed")
            error = f"{evidence['error_perturbed']['mean']:+.2f}" if evidence else ""
        lines.append(_named_row(name, slope, error, verdict, "", ""))
    return lines


def _named_row(name: str, *cells: str) -> str:
    """Return a row; a name that is too long for its column has a line of its own."""
    if len(name) < COLUMNS[0]:
        return _row(name, *cells)
    return "\n".join([*_wrapped(name), _row("", *cells)])


def notes(records: Sequence[Record], errors: int = 0) -> list[str]:
    """Return what cannot be read off the table of verdicts, one text each.

    Parameters are those of `audit_table`.
    """
    plural = "check" if errors == 1 else "checks"
    texts = [f"{errors} {plural} ended in an error, shown above"] if errors else []
    texts += [r["reason"] for r in records if r["kind"] == CONTROLS and r["verdict"] == BROKEN]
    texts += filter(None, [looks_note(records)])
    texts += [EXPLANATION] if any(is_bent(record) for record in records) else []
    inadmissible = {
        r["perturbation"]: r["reason"] for r in records if r["admissibility"] == INADMISSIBLE
    }
    texts += list(inadmissible.values())
    texts += unpaired_notes(records)
    texts += [note for record in records for note in record.get("notes", [])]
    texts += _not_applicable(records)
    texts += [
        r["reason"] for r in records if r["kind"] == ADMISSIBLE_COUNT and r["verdict"] != KEPT
    ]
    texts += dict.fromkeys(
        r["reason"] for r in records if r["verdict"] == INCONCLUSIVE and not _has_note(r)
    )
    open_records = [
        r
        for r in records
        if r["verdict"] == INCONCLUSIVE
        and r["applicable"]
        and r["evidence"]
        and r["kind"] not in INVARIANCE_KINDS
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
    texts += [controls_note(r) for r in records if r["kind"] == CONTROLS and r["verdict"] == KEPT]
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


def _has_note(record: Record) -> bool:
    """Return whether an inconclusive record is explained by its numbers or by another note."""
    is_explained = not record["applicable"] or record["kind"] == ADMISSIBLE_COUNT
    return bool(record["evidence"]) or is_explained


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False
    )
