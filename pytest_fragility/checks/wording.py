"""Estimates in words, the same in tables and messages."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from pytest_fragility.checks.verdicts import Record
from pytest_fragility.perturbations import BASELINE

LOG = "log"
WIDTH = 79


def interval(estimate: dict[str, float], scale: str = LOG) -> str:
    """Return mean and interval, such as ``+0.11 [+0.08, +0.14]``."""
    form = "+.2f" if scale == LOG else "+.2g"
    return "{0:{form}} [{1:{form}}, {2:{form}}]".format(
        estimate["mean"], estimate["low"], estimate["high"], form=form
    )


def power(estimate: dict[str, float], scale: str = LOG, name: str = "value") -> str:
    """Return a slope as a law, such as ``value ~ n^+0.11 [+0.08, +0.14]``."""
    law = f"{name} ~ n^" if scale == LOG else f"{name} per unit of log(n): "
    return law + interval(estimate, scale)


def level(estimate: dict[str, float], name: str = "value") -> str:
    """Return a level, such as ``log10(value) = +0.57 [+0.55, +0.60]``."""
    return f"log10({name}) = {interval(estimate)}"


def sensitivity(estimate: dict[str, float | None]) -> str:
    """Return a sensitivity, such as ``0.08 [0.01, 0.15]``; ``?`` where there is no number."""
    mean, low, high = (
        # adding zero turns -0.00 into 0.00
        "?" if value is None else f"{round(value, 2) + 0.0:.2f}"
        for value in (estimate["mean"], estimate["low"], estimate["high"])
    )
    return f"{mean} [{low}, {high}]"


def indented(text: str, more: str = "  ", first: str = "  ") -> list[str]:
    """Return text as indented lines, those after the first by `more`."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=first + more, break_on_hyphens=False
    )


def remark(text: str) -> list[str]:
    """Return what stands in brackets below the numbers of a failure's message."""
    return textwrap.wrap(text, WIDTH - 1, initial_indent="  ", subsequent_indent="  ")


def counted(count: int, noun: str) -> str:
    """Return a number of things, such as ``1 check`` or ``2 checks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def signed(value: float | None) -> str:
    """Return a correlation, such as ``+0.53``."""
    # adding zero turns -0.00 into 0.00
    return "undefined" if value is None else f"{round(value, 2) + 0.0:+.2f}"


def law_of(record: Record) -> str:
    """Return what a record's slopes are slopes of."""
    return "value ~ n^slope" if record["scale"] == LOG else "value ~ slope * log(n)"


MARK = "~"
EXPLANATION = f"{MARK} no power law: the slope is an average over all n, and no exponent"


def bent_mark(record: Record, side: str) -> str:
    """Return what stands behind the slope of a curve that is no power law."""
    return MARK if side in record["evidence"].get("bent", []) else ""


def is_bent(record: Record) -> bool:
    """Return whether a table marks a slope of this record."""
    evidence = record["evidence"]
    rungs = evidence.get("rungs", [])
    return bool({BASELINE, "perturbed"} & set(evidence.get("bent", []))) or any(
        rung["measure_is_bent"] or rung["error_is_bent"] for rung in rungs
    )


def part_lines(record: Record) -> list[str]:
    """Return which curves are no power law, and the slopes over their parts; nothing otherwise."""
    evidence = record["evidence"]
    if not evidence.get("bent"):
        return []
    lines = indented(f"No power law: {_which(record)}. Over parts, value ~")
    for part in evidence["parts"]:
        slopes = [part[side] for side in (BASELINE, "perturbed") if side in part]
        laws = " -> ".join(f"n^{interval(slope)}" for slope in slopes)
        lines.append(f"    n = {part['sizes'][0]}..{part['sizes'][1]}: {laws}")
        if "change" in part:
            lines.append(
                f"      change {interval(part['change'])} "
                f"(beyond test error's: {interval(part['beyond'])})"
            )
    return lines


def _which(record: Record) -> str:
    names = {
        "baseline": "the baseline's curve",
        "perturbed": f"{record['perturbation']}'s",
        "change": "their ratio",
    }
    return ", ".join(names[which] for which in record["evidence"]["bent"])


DOMINATES = 0.5


def own_noise_note(record: Record) -> str:
    """Return what a table says of a measure that draws random numbers."""
    noise = record["own_noise"]
    return (
        f"draws random numbers: its slopes scatter by {noise['slope']:.2g} from one draw to the "
        f"next, {_percent(noise['slope_share'])} of their variance over seeds"
    )


def own_noise_advice(record: Record) -> str:
    """Return what is said where a check's noise is mostly the measure's own, or nothing."""
    noise = record["own_noise"]
    if noise is None or noise["share"] is None or noise["share"] <= DOMINATES:
        return ""
    return (
        f"The measure draws random numbers, and {_percent(noise['share'])} of the variance over "
        "seeds that this verdict rests on is that noise of its own: let it average over more "
        "draws, which costs less than more seeds"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def recipe_change(baseline: str, changed: str, arrow: str = "->") -> str:
    """Return what differs between two recipes' descriptions, such as ``sgd lr=0.05 -> adam``."""
    before, after = baseline.split(", "), changed.split(", ")
    left = [part for part in before if part not in after]
    right = [part for part in after if part not in before]
    return f" {arrow} ".join(filter(None, (", ".join(left), ", ".join(right))))


def capitalized(text: str) -> str:
    """Return a text that begins a sentence."""
    return f"{text[:1].upper()}{text[1:]}"


NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first cell of each is its name.

    Parameters
    ----------
    header
        One text per column.
    rows
        As many texts each.
    """

    header: list[str]
    rows: list[list[str]]
