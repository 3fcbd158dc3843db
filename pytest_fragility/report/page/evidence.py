"""The evidence of one check: why, the numbers, and how certain they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pytest_fragility.checks.agreement import agreement_table
from pytest_fragility.checks.breaking_points import breaking_points
from pytest_fragility.checks.check import (
    AGREEMENT,
    COMPLEXITY_KINDS,
    CONTROLS,
    EQUIVALENCE,
    INVARIANCE_KINDS,
    LOCATE,
    SPREAD,
)
from pytest_fragility.checks.controls import control_sentences
from pytest_fragility.checks.invariance import allowed_moves, how_it_moved
from pytest_fragility.checks.verdicts import Record
from pytest_fragility.checks.wording import (
    LOG,
    Table,
    bent_mark,
    interval,
    own_noise_advice,
    sensitivity,
)
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.failure_message import certainty, change_in_words
from pytest_fragility.report.page.marks import Mark


@dataclass(frozen=True)
class Evidence:
    """What a check's verdict rests on.

    Parameters
    ----------
    link
        The element's id.
    mark
        The verdict.
    name
        The check's id.
    reason
        One sentence.
    table
        The numbers; None where there are none.
    texts
        What else is to be known, one sentence or two each.
    """

    link: str
    mark: Mark
    name: str
    reason: str
    table: Table | None = None
    texts: list[str] = field(default_factory=list)


def evidence_of(record: Record, mark: Mark) -> Evidence:
    """Return a check's evidence; `mark` is its verdict."""
    kind, found = record["kind"], record["evidence"]
    table, texts = None, []
    if found and kind in COMPLEXITY_KINDS:
        table, texts = _rungs(record), _sensitivity(record)
    elif found and kind in INVARIANCE_KINDS:
        table, texts = _values(record), [_networks(record)]
    elif found and kind == CONTROLS:
        texts = [f"{sentence}." for sentence in control_sentences(record)]
    elif found and kind == AGREEMENT:
        table = agreement_table(record)
    elif found and kind == LOCATE:
        table = breaking_points([record])
    elif found:
        table = _estimates(record)
        texts = _changes(record)
    noise = own_noise_advice(record)
    return Evidence(
        mark.link,
        mark,
        record["check"],
        record["reason"],
        table,
        [
            *texts,
            *([_admissibility(record)] if record["admissibility_reason"] else []),
            *([f"{certainty(record)}."] if kind not in (AGREEMENT, LOCATE) else []),
            *([f"{noise}."] if noise else []),
        ],
    )


def _estimates(record: Record) -> Table:
    """Return the measure's numbers beside test error's."""
    found, scale = record["evidence"], record["scale"]
    is_level = record["kind"] == SPREAD
    rows = [
        _row(record[name] if name != BASELINE else BASELINE, found, side, record)
        for side, name in ((BASELINE, BASELINE), ("perturbed", "perturbation"))
        if side in found
    ]
    if "change" in found:
        rows.append(
            ["change", interval(found["change"], scale), _optional(found.get("error_change"))]
        )
    if "beyond" in found:
        rows.append(["change beyond test error's", interval(found["beyond"], scale), ""])
    if "allowed" in found:
        low, high = found["allowed"]
        rows.append(["allowed", f"{low:+.2f} to {high:+.2f}", ""])
    rows += [_part(part, scale) for part in found.get("parts", [])]
    what = "log10(value)" if is_level else "slope" if scale == LOG else "slope per log(n)"
    return Table(["", f"measure's {what}", "test error's"], rows)


def _row(name: str, found: dict[str, Any], side: str, record: Record) -> list[str]:
    return [
        name,
        interval(found[side], record["scale"]) + bent_mark(record, side),
        _optional(found.get(f"error_{side}")),
    ]


def _part(part: dict[str, Any], scale: str) -> list[str]:
    slopes = [interval(part[side], scale) for side in (BASELINE, "perturbed") if side in part]
    first, last = part["sizes"]
    return [f"over n = {first}..{last}", " → ".join(slopes), ""]


def _optional(estimate: dict[str, float] | None) -> str:
    return interval(estimate) if estimate else ""


def _changes(record: Record) -> list[str]:
    name, found = record["perturbation"], record["evidence"]
    texts = []
    if name != BASELINE:
        texts.append(f"{name}: {change_in_words(record)}.")
        levels = record["error_levels"]
        middle = round((record["sizes"][0] * record["sizes"][-1]) ** 0.5)
        texts.append(f"Test error {levels[BASELINE]:.3f} → {levels[name]:.3f} at n = {middle}.")
    if record["kind"] == SPREAD and "change" in found and record["scale"] == LOG:
        texts.append(f"The value changes by a factor of {10 ** found['change']['mean']:.3g}.")
    return texts


def _admissibility(record: Record) -> str:
    return f"{record['admissibility'].capitalize()}: {record['admissibility_reason']}."


def _rungs(record: Record) -> Table:
    rows = [
        [rung["task"], interval(rung["measure"]), interval(rung["error"])]
        for rung in record["evidence"]["rungs"]
    ]
    return Table(["task", "measure", "test error"], rows)


def _sensitivity(record: Record) -> list[str]:
    found = record["evidence"]
    low, high = found["allowed"]
    agreement = found["rank_agreement"]["mean"]
    return [
        f"Sensitivity {sensitivity(found['sensitivity'])}, allowed {low:.2f} to {high:.2f} "
        "(1 follows test error, 0 is blind).",
        f"Ranks at n = {found['rank_size']} agree by {round(agreement, 2) + 0.0:+.2f} "
        "(1: the tasks' order is the same; -1: the opposite).",
    ]


def _values(record: Record) -> Table:
    found = record["evidence"]
    names = ("first", "second") if record["kind"] == EQUIVALENCE else ("before", "after")
    rows = [
        [names[0], f"{found['before']:.6g}"],
        [names[1], f"{found['after']:.6g}"],
        ["change", how_it_moved(record)],
        ["allowed", allowed_moves(record)],
    ]
    return Table(["", "measure"], rows)


def _networks(record: Record) -> str:
    found = record["evidence"]
    draws = f", means of {found['draws']} draws" if found["draws"] > 1 else ""
    return f"{record['change']}: {found['summary']}; {found['network']}{draws}."
