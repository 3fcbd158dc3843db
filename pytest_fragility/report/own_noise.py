"""The noise of a measure that draws random numbers, in words."""

from __future__ import annotations

from pytest_fragility.checks.records import Record

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
