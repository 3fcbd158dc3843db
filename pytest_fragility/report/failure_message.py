"""What a person reads when a check is not kept."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from pytest_fragility._util.stopwatch import REPORT, spent_on
from pytest_fragility.checks.check import (
    COMPLEXITY_KINDS,
    CONTROLS,
    INVARIANCE_KINDS,
    SPREAD,
    TREND,
)
from pytest_fragility.checks.complexity import rung_lines, sensitivity_lines
from pytest_fragility.checks.controls import ADVICE, control_lines
from pytest_fragility.checks.invariance import value_lines
from pytest_fragility.checks.verdicts import BROKEN, INADMISSIBLE, KEPT, Record
from pytest_fragility.checks.wording import (
    interval,
    level,
    own_noise_advice,
    part_lines,
    power,
    recipe_change,
)
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.provenance import level_of, seeds_option, values_from

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
        reason = reason[:1].upper() + reason[1:]
    sections = [
        [headline(record), *_wrapped(reason)],
        _numbers(record),
        _test_error(record),
        _wrapped(certainty(record)),
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
    if record["kind"] == CONTROLS:
        return f"{record['measure']}: the audit's own controls misbehave"
    word = record["verdict"].upper() if record["verdict"] == BROKEN else record["verdict"]
    if record["kind"] in COMPLEXITY_KINDS:
        return f"{record['measure']}: {record['kind']} {word} over {record['ladder']}"
    if record["kind"] in INVARIANCE_KINDS:
        return f"{record['measure']}: {record['kind']} {word} under {record['change']}"
    under = "" if record["perturbation"] == BASELINE else f" under {record['perturbation']}"
    return f"{record['measure']}: {record['kind']} {word}{under}"


def _wrapped(text: str) -> list[str]:
    # an option is copied from here, whole
    return textwrap.wrap(f"{text}.", WIDTH, break_on_hyphens=False) if text else []


def _numbers(record: Record) -> list[str]:
    evidence, name = record["evidence"], record["perturbation"]
    if not evidence:
        return []
    if record["kind"] == CONTROLS:
        return control_lines(record)
    if record["kind"] in COMPLEXITY_KINDS:
        return [*rung_lines(record), "", *sensitivity_lines(record)]
    if record["kind"] in INVARIANCE_KINDS:
        return value_lines(record)
    width = max(len(BASELINE), len(name))
    lines = [f"  {BASELINE:<{width}}  {_law(record, evidence['baseline'])}"]
    if "perturbed" in evidence:
        lines.append(f"  {name:<{width}}  {_law(record, evidence['perturbed'])}")
    if "allowed" in evidence:
        change, (low, high) = evidence["change"], evidence["allowed"]
        factor = f" (x {10 ** change['mean']:.2f})" if record["kind"] == SPREAD else ""
        moved = f"{interval(change)}{factor}, allowed {low:+.2f} to {high:+.2f}"
        lines.append(f"  {'change':<{width}}  {moved}")
        lines.append(f"  (beyond test error's own change: {interval(evidence['beyond'])})")
    lines += part_lines(record)
    if name != BASELINE:
        lines += _indented(f"({name}: {recipe_change(record['baseline'], record['recipe'])})")
    return lines


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _law(record: Record, estimate: dict[str, float]) -> str:
    return level(estimate) if record["kind"] == SPREAD else power(estimate, record["scale"])


def _test_error(record: Record) -> list[str]:
    """Say that the network itself barely changed."""
    if record["kind"] in (*COMPLEXITY_KINDS, *INVARIANCE_KINDS, CONTROLS):
        return []
    evidence, levels, name = record["evidence"], record["error_levels"], record["perturbation"]
    if name == BASELINE or "error_perturbed" not in evidence or name not in levels:
        if evidence.get("error_baseline") and record["kind"] == TREND:
            return [power(evidence["error_baseline"], name="Test error") + "."]
        return []
    middle = round((record["sizes"][0] * record["sizes"][-1]) ** 0.5)
    barely = "barely changed" if record["admissibility"] == "admissible" else "changed as follows"
    before, after = evidence["error_baseline"], evidence["error_perturbed"]
    form = level if record["kind"] == SPREAD else power
    width = max(len(BASELINE), len(name))
    return [
        f"The network itself {barely}: test error {levels[BASELINE]:.3f} -> {levels[name]:.3f}"
        f" at n = {middle},",
        f"  {BASELINE:<{width}}  {form(before, name='error')}",
        f"  {name:<{width}}  {form(after, name='error')}",
        *_indented(f"({record['admissibility']}: {record['admissibility_reason']})"),
    ]


def certainty(record: Record) -> str:
    """Return what a verdict rests on, and what would decide an open one; without a full stop."""
    if record["kind"] in INVARIANCE_KINDS:
        return _certainty_of_invariance(record)
    place = (
        f"baseline {record['baseline']}"
        if record["kind"] in COMPLEXITY_KINDS
        else f"task {record['task']}"
    )
    unpaired = ", unpaired (Welch's t)" if record.get("unpaired") else ""
    basis = (
        f"{len(record['seeds'])} seeds, n = {record['sizes'][0]}..{record['sizes'][-1]}, "
        f"{place}, {level_of(record, ' over seeds')}{unpaired}{values_from(record)}"
    )
    if record["kind"] == CONTROLS:
        return f"{basis}. {ADVICE}"
    if record["verdict"] in (BROKEN, KEPT) or (
        not record["evidence"] and record["admissibility"] != INADMISSIBLE
    ):
        return basis
    if record["admissibility"] == INADMISSIBLE:
        return f"{basis}. Leave {record['perturbation']} out, or choose a smaller change"
    needed = record["seeds_needed"]
    if needed is None:
        return f"{basis}. More than 200 seeds would be needed to decide, if any number does"
    return f"{basis}. About {needed} seeds would probably decide ({seeds_option(record, needed)})"


def _certainty_of_invariance(record: Record) -> str:
    if not record["evidence"]:
        return f"task {record['task']}"
    where = f"task {record['task']}; the two networks have the same function, to rounding"
    if record["evidence"]["draws"] == 1:
        return f"{where}, so that no statistics are needed"
    level = f"{100 * (1 - record['alpha']):.4g} %"
    return f"{where}; the measure draws random numbers, {level} intervals over draws"


def skip_reason(record: Record) -> str:
    """Return why a check does not apply."""
    reason: Any = record["reason"]
    return f"not admissible: {reason}" if record["admissibility"] == INADMISSIBLE else reason


def change_in_words(record: Record) -> str:
    """Return what differs, such as ``sgd lr=0.05 → adam lr=0.001``; empty for the baseline."""
    return recipe_change(record["baseline"], record["recipe"]).replace(" -> ", " → ")
