"""What a person reads when a check is not kept."""

from __future__ import annotations

import textwrap
from typing import Any

from pytest_fragility.checks.planning import ADMISSIBLE_COUNT, SPREAD, TREND
from pytest_fragility.checks.verdicts import BROKEN, INADMISSIBLE, KEPT
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.records import Record

WIDTH = 78


def failure_message(record: Record, rerun: str | None = None) -> str:
    """Return what broke, under which change, by how much, how certainly, and what to do.

    Parameters
    ----------
    record
        From `pytest_fragility.report.records.check_record`.
    rerun
        The command that reruns just this check.
    """
    sections = [
        [_headline(record), *_wrapped(record["reason"])],
        _numbers(record),
        _test_error(record),
        _wrapped(_certainty(record)),
        [f"Rerun: {rerun}"] if rerun else [],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _headline(record: Record) -> str:
    word = record["verdict"].upper() if record["verdict"] == BROKEN else record["verdict"]
    under = "" if record["perturbation"] == BASELINE else f" under {record['perturbation']}"
    return f"{record['measure']}: {record['kind']} {word}{under}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text[:1].upper() + text[1:] + ".", WIDTH)


def _numbers(record: Record) -> list[str]:
    evidence, name = record["evidence"], record["perturbation"]
    if not evidence:
        return []
    form = _level if record["kind"] == SPREAD else _power
    width = max(len(BASELINE), len(name))
    lines = [f"  {BASELINE:<{width}}  {form(evidence['baseline'])}"]
    if "perturbed" in evidence:
        lines.append(f"  {name:<{width}}  {form(evidence['perturbed'])}")
    if "allowed" in evidence:
        change, (low, high) = evidence["change"], evidence["allowed"]
        lines.append(
            f"  {'change':<{width}}  {_interval(change)}, allowed {low:+.2f} to {high:+.2f}"
        )
        if record["kind"] == SPREAD:
            lines[-1] += f": times {10 ** change['mean']:.2f}"
    if name != BASELINE:
        lines += _indented(f"({name}: {recipe_change(record['baseline'], record['recipe'])})")
    return lines


def recipe_change(baseline: str, changed: str) -> str:
    """Return what differs between two recipes' descriptions, such as ``sgd lr=0.05 -> adam``."""
    before, after = baseline.split(", "), changed.split(", ")
    left = [part for part in before if part not in after]
    right = [part for part in after if part not in before]
    return " -> ".join(filter(None, (", ".join(left), ", ".join(right))))


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _power(estimate: dict[str, float]) -> str:
    return f"value ~ n^{_interval(estimate)}"


def _level(estimate: dict[str, float]) -> str:
    return f"log10(value) = {_interval(estimate)}"


def _interval(estimate: dict[str, float]) -> str:
    return f"{estimate['mean']:+.2f} [{estimate['low']:+.2f}, {estimate['high']:+.2f}]"


def _test_error(record: Record) -> list[str]:
    """Say that the network itself barely changed."""
    evidence, levels, name = record["evidence"], record["error_levels"], record["perturbation"]
    if name == BASELINE or "error_perturbed" not in evidence or name not in levels:
        if evidence.get("error_baseline") and record["kind"] == TREND:
            return [f"Test error ~ n^{_interval(evidence['error_baseline'])}."]
        return []
    middle = round((record["sizes"][0] * record["sizes"][-1]) ** 0.5)
    barely = "barely changed" if record["admissibility"] == "admissible" else "changed as follows"
    before, after = evidence["error_baseline"], evidence["error_perturbed"]
    form = _level if record["kind"] == SPREAD else _power
    width = max(len(BASELINE), len(name))
    return [
        f"The network itself {barely}: test error {levels[BASELINE]:.3f} -> {levels[name]:.3f}"
        f" at n = {middle},",
        f"  {BASELINE:<{width}}  {form(before).replace('value', 'error')}",
        f"  {name:<{width}}  {form(after).replace('value', 'error')}",
        *_indented(f"({record['admissibility']}: {record['admissibility_reason']})"),
    ]


def _certainty(record: Record) -> str:
    level = f"{100 * (1 - record['alpha']):g} %"
    basis = (
        f"{len(record['seeds'])} seeds, n = {record['sizes'][0]}..{record['sizes'][-1]}, "
        f"task {record['task']}, {level} intervals over seeds"
    )
    if record["verdict"] in (BROKEN, KEPT) or record["kind"] == ADMISSIBLE_COUNT:
        return basis
    if record["admissibility"] == INADMISSIBLE:
        return f"{basis}. Leave {record['perturbation']} out, or choose a smaller change"
    needed = record["seeds_needed"]
    if needed is None:
        return f"{basis}. More than 200 seeds would be needed to decide, if any number does"
    return f"{basis}. About {needed} seeds would probably decide (--fragility-seeds={needed})"


def skip_reason(record: Record) -> str:
    """Return why a check does not apply."""
    reason: Any = record["reason"]
    return f"not admissible: {reason}"
