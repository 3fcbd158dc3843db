"""How far a measure may move before a check is broken."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import is_number
from pytest_fragility.errors import SettingsError

AS_ERROR, INCREASING, DECREASING = "error", "increasing", "decreasing"
TRENDS = (AS_ERROR, INCREASING, DECREASING)


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """How far a measure may move.

    Parameters
    ----------
    exponent
        Largest change of the exponent beyond what test error's own exponent moved.
    spread
        Largest change of the level beyond what test error's own level moved, in decades.
    margin
        Largest change of test error's exponent, and of its level in decades, under an admissible
        perturbation.
    sensitivity
        Least sensitivity over a ladder of tasks, in (0, 1]: by how much the measure's exponents,
        and its levels, must change where test error's change by one; at most the inverse of it.
    invariance
        Largest change of the value where the function stays the same, in decades; on a linear
        scale, the largest relative change.
    trend
        The slope that the baseline must show: ``"error"`` (test error's sign), ``"increasing"``
        or ``"decreasing"``.
    """

    exponent: float = 0.1
    spread: float = 0.1
    margin: float = 0.1
    sensitivity: float = 0.25
    invariance: float = 0.02
    trend: str = AS_ERROR

    def __post_init__(self) -> None:
        if self.trend not in TRENDS:
            raise SettingsError(f"trend={self.trend!r}: expected one of {', '.join(TRENDS)}")
        for name in ("exponent", "spread", "margin", "invariance"):
            value = getattr(self, name)
            if not is_number(value) or value < 0:
                raise SettingsError(
                    f"tolerance {shown(value)}: expected a number, zero or more, not infinite"
                )
        if not is_number(self.sensitivity) or not 0 < self.sensitivity <= 1:
            raise SettingsError(
                f"least sensitivity {shown(self.sensitivity)}: expected a number above 0, at most 1"
            )
