"""The claims of a paper's abstract, as questions to learning curves.

Zhang & Louis, "Many generalization measures for deep learning are fragile" (arXiv 2510.18934).
Each question is answered by intervals over seeds: it `holds`, it `does not hold`, or the seeds
leave it `undecided`. ``test_paper_claims.py`` asks them in one setting, ``paper_page.py`` in many.

A claim that some change breaks a measure has as many chances to come out by accident as there are
changes and ways to break: all intervals that such a claim rests on share `ALPHA` (Bonferroni). The
change must be admissible at the same level. That several things hold at once needs no correction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from pytest_fragility.curves import (
    Estimate,
    LadderCurves,
    LearningCurves,
    PairedCurves,
    Sensitivity,
    pairwise_differences,
)
from pytest_fragility.measures import (
    marginal_likelihood_bound,
    pac_bayes_flatness,
    pac_bayes_initialization,
    pac_bayes_origin,
    path_norm,
    product_of_frobenius_norms,
    product_of_spectral_norms,
)

LEARNING_RATES = ("lr-x3", "lr-x10")
VARIANTS = ("momentum", "adam", "rmsprop")
# the last one changes both
CHANGES = (*LEARNING_RATES, *VARIANTS, "adam-x10")

# those of an audit
ALPHA, TOLERANCE, MARGIN, LEAST_SENSITIVITY = 0.05, 0.1, 0.1, 0.25

BASELINE = "baseline"
HOLDS, FAILS, OPEN = "holds", "does not hold", "undecided"
ADMISSIBLE, INADMISSIBLE, UNDECIDED = "admissible", "inadmissible", "undecided"


@dataclass(frozen=True)
class Finding:
    """What became of a claim, and the figures that decided."""

    status: str
    figures: str

    def __str__(self) -> str:
        return f"{self.status}: {self.figures}"


@dataclass(frozen=True)
class Outcome:
    """What one change, which may be admissible, does to a measure.

    Parameters
    ----------
    change
        Its name.
    admissibility
        Whether test error stayed within the margin.
    breaks
        Whether it does to the measure what is claimed; None where the intervals do not tell.
    paired
        The curves before and after it.
    """

    change: str
    admissibility: str
    breaks: bool | None
    paired: PairedCurves

    @property
    def size(self) -> float:
        """By how much the measure's slope moved, with no sign."""
        return abs(self.paired.slope_change.own.mean)

    def __str__(self) -> str:
        before, after = self.paired.before.slope, self.paired.after.slope
        return f"`{self.change}`, slope {interval(before)} -> {interval(after)}"


def interval(estimate: Estimate | Sensitivity) -> str:
    """Return a mean with its interval."""
    return f"{estimate.mean:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"


def paired_curves(curves: LearningCurves, change: str, alpha: float) -> PairedCurves:
    """Return the curves of measure and test error before and after a change, at a level."""
    measure, error = curves.measure, curves.error
    chosen = (measure[BASELINE], measure[change], error[BASELINE], error[change])
    return PairedCurves(*(replace(curve, alpha=alpha) for curve in chosen))


def admissibility(curves: LearningCurves, change: str, alpha: float) -> str:
    """Return whether a change hardly moved test error's exponent and level."""
    if {BASELINE, change} & curves.unfinished.keys():
        return INADMISSIBLE
    before, after = (replace(curves.error[name], alpha=alpha) for name in (BASELINE, change))
    moves = (after.slope_change(before), after.level_change(before))
    if all(move.lies_within(MARGIN) for move in moves):
        return ADMISSIBLE
    is_beyond = any(move.lies_beyond(MARGIN) for move in moves)
    return INADMISSIBLE if is_beyond else UNDECIDED


def reverses(paired: PairedCurves) -> bool | None:
    """Return whether the slope certainly changes its sign, or certainly keeps it."""
    product_of_signs = paired.before.slope.sign * paired.after.slope.sign
    return product_of_signs < 0 if product_of_signs else None


def loses_exponent(paired: PairedCurves) -> bool | None:
    """Return whether the exponent moves by more than the tolerance, beyond test error's too."""
    own, beyond = paired.slope_change.own, paired.slope_change.beyond
    side = own.lies_beyond(TOLERANCE)
    if side and side == beyond.lies_beyond(TOLERANCE):
        return True
    return False if own.lies_within(TOLERANCE) else None


def loses_sign_or_exponent(paired: PairedCurves) -> bool | None:
    """Return whether the slope changes its sign, or the exponent moves too far."""
    ways = (reverses(paired), loses_exponent(paired))
    return True if True in ways else None if None in ways else False


def some_change(
    curves: LearningCurves,
    changes: Sequence[str],
    breaks: Callable[[PairedCurves], bool | None],
    *,
    ways: int = 1,
) -> Finding:
    """Return whether some admissible change breaks a measure.

    Holds if one certainly does. Does not hold if every change that can be admissible certainly does
    not, and one of them is admissible.

    Parameters
    ----------
    curves
        The measure's.
    changes
        Names of perturbations.
    breaks
        Whether a pair of curves shows it; None where it is not certain.
    ways
        In how many ways it can come out.
    """
    alpha = ALPHA / (ways * len(changes))
    found = {change: admissibility(curves, change, alpha) for change in changes}
    paired = {
        change: paired_curves(curves, change, alpha)
        for change in changes
        if found[change] != INADMISSIBLE
    }
    possible = [Outcome(each, found[each], breaks(pair), pair) for each, pair in paired.items()]
    admissible = [each for each in possible if each.admissibility == ADMISSIBLE]
    breaking = [each for each in admissible if each.breaks]
    if not possible:
        return Finding(OPEN, "no change is admissible")
    if breaking:
        return Finding(HOLDS, str(max(breaking, key=lambda each: each.size)))
    farthest = max(possible, key=lambda each: each.size)
    fails = admissible and all(each.breaks is False for each in possible)
    doubt = "" if farthest.admissibility == ADMISSIBLE else " (not certainly admissible)"
    return Finding(FAILS if fails else OPEN, f"farthest {farthest}{doubt}")


def slope_reverses(changes: Sequence[str]) -> Callable[[LearningCurves], Finding]:
    """Return the claim that some of these changes turns a slope's sign."""
    return lambda curves: some_change(curves, changes, reverses)


def is_fragile(curves: LearningCurves) -> Finding:
    """Return whether some change takes a measure's sign or exponent."""
    return some_change(curves, CHANGES, loses_sign_or_exponent, ways=2)


def moves_less(steady: LearningCurves, other: LearningCurves) -> Finding:
    """Return whether a measure's exponent moves less than another's, on the same networks.

    One moves farther than the other if under some admissible change its exponent moves, in
    either direction, certainly by more than the other's does under every change: each time the
    interval of a difference that is paired over seeds. The changes among which that one is
    searched, and the two directions, share alpha; that it holds against every change is asserted
    at once, and needs no share. Changes that may be admissible count against the one that moves
    farther.

    Parameters
    ----------
    steady, other
        Over the same runs; the claim is that the first moves less.
    """
    farther = _moves_farther(other, steady)
    if farther:
        change, difference = farther
        return Finding(HOLDS, f"{_compared(steady, other, change)}, by {interval(difference)}")
    nearer = _moves_farther(steady, other)
    if nearer:
        change, difference = nearer
        text = _compared(steady, other, own_change=change)
        return Finding(FAILS, f"{text}, the wrong way by {interval(difference)}")
    return Finding(OPEN, _compared(steady, other))


def _compared(
    steady: LearningCurves,
    other: LearningCurves,
    change: str | None = None,
    own_change: str | None = None,
) -> str:
    """Return by how much either moves: under a change, or under the one that moves it farthest."""
    return f"exponent by {_move(other, change)}, the origin's by {_move(steady, own_change)}"


def _move(curves: LearningCurves, change: str | None) -> str:
    moved = _moved(curves)
    if not moved:
        return "none that is admissible"
    chosen = change or max(moved, key=lambda each: abs(moved[each].mean()))
    # a falling slope is a growing exponent
    return f"{-moved[chosen].mean():+.2f} (`{chosen}`)"


def _moved(curves: LearningCurves) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return by how much slopes moved, seed by seed, under changes that may be admissible."""
    baseline = curves.measure[BASELINE].slopes
    return {
        change: curves.measure[change].slopes - baseline
        for change in CHANGES
        if admissibility(curves, change, ALPHA / len(CHANGES)) != INADMISSIBLE
    }


def _moves_farther(mover: LearningCurves, stayer: LearningCurves) -> tuple[str, Estimate] | None:
    """Return under which change one certainly moves farther, and by how much at least."""
    alpha = ALPHA / len(CHANGES)
    moves, others = _moved(mover), _moved(stayer)
    found: dict[str, Estimate] = {}
    for change, direction in product(moves, (1, -1)):
        if admissibility(mover, change, alpha) == ADMISSIBLE:
            differences = [
                Estimate.from_samples(direction * moves[change] + sign * other, alpha)
                for other, sign in product(others.values(), (1, -1))
            ]
            least = min(differences, key=lambda each: each.low)
            if least.low > 0:
                found[change] = least
    return max(found.items(), key=lambda each: each[1].low) if found else None


@dataclass(frozen=True)
class Ladder:
    """What a ladder shows of exponents, or of levels.

    Parameters
    ----------
    sensitivity
        1 where the measure follows test error, 0 where it is blind.
    differs
        Whether test error certainly differs between some two tasks.
    figures
        In words.
    """

    sensitivity: Sensitivity
    differs: bool
    figures: str

    @classmethod
    def of(cls, curves: LadderCurves | None, quantity: str) -> Ladder:
        """Return it for ``exponents`` or ``levels``."""
        assert curves is not None, "these curves have no ladder"
        measure, error = getattr(curves, quantity)
        shared = curves.shared_errors[quantity == "levels"]
        sensitivity = Sensitivity.from_samples(measure, error, ALPHA, shared)
        differences = pairwise_differences(error, ALPHA, shared)
        listed = (", ".join(f"{row.mean():.2f}" for row in rows) for rows in (measure, error))
        unit = "" if quantity == "exponents" else " decades"
        figures = " against test error's ".join(listed) + unit
        return cls(
            sensitivity,
            any(difference.sign for difference in differences) and not curves.unfinished,
            f"sensitivity {interval(sensitivity)}; {figures}",
        )


def misses_the_data(quantity: str) -> Callable[[LearningCurves], Finding]:
    """Return the claim that a measure misses by what tasks differ in test error."""

    def find(curves: LearningCurves) -> Finding:
        ladder = Ladder.of(curves.ladder, quantity)
        low, high = ladder.sensitivity.low, ladder.sensitivity.high
        status = HOLDS if high < LEAST_SENSITIVITY else FAILS if low >= LEAST_SENSITIVITY else OPEN
        return Finding(status if ladder.differs else OPEN, ladder.figures)

    return find


def follows_the_data(quantity: str) -> Callable[[LearningCurves], Finding]:
    """Return the claim that a measure follows test error from task to task."""

    def find(curves: LearningCurves) -> Finding:
        ladder = Ladder.of(curves.ladder, quantity)
        low, high = ladder.sensitivity.low, ladder.sensitivity.high
        least, most = LEAST_SENSITIVITY, 1 / LEAST_SENSITIVITY
        is_outside = high < least or low > most
        status = HOLDS if least <= low and high <= most else FAILS if is_outside else OPEN
        return Finding(status if ladder.differs else OPEN, ladder.figures)

    return find


@dataclass(frozen=True)
class Claim:
    """One row of the page.

    Parameters
    ----------
    text
        The claim, after its number.
    measures
        Whose learning curves it is about.
    find
        Called with these curves.
    over_ladder
        Whether it is about tasks of different complexity.
    """

    text: str
    measures: tuple[Any, ...]
    find: Callable[..., Finding]
    over_ladder: bool = False


FRAGILE = {
    "spectral norms": product_of_spectral_norms.bound_form,
    "Frobenius norms": product_of_frobenius_norms.bound_form,
    "flatness": pac_bayes_flatness.bound_form,
    "PAC-Bayes initialization": pac_bayes_initialization.bound_form,
}
MOVING = {"path norm": path_norm.bound_form, **FRAGILE}
ORIGIN = pac_bayes_origin.bound_form

CLAIMS = (
    Claim(
        "1. Another learning rate reverses the path norm's slope",
        (path_norm.bound_form,),
        slope_reverses(LEARNING_RATES),
    ),
    Claim(
        "2. Another variant of SGD reverses the path norm's slope",
        (path_norm.bound_form,),
        slope_reverses(VARIANTS),
    ),
    *(
        Claim(f"3. Some change takes sign or exponent: {name}", (measure,), is_fragile)
        for name, measure in FRAGILE.items()
    ),
    *(
        Claim(f"4. PAC-Bayes origin moves less: {name}", (ORIGIN, each), moves_less)
        for name, each in MOVING.items()
    ),
    *(
        Claim(
            f"5. PAC-Bayes origin misses the data's complexity: {quantity}",
            (ORIGIN,),
            misses_the_data(quantity),
            over_ladder=True,
        )
        for quantity in ("exponents", "levels")
    ),
    *(
        Claim(
            f"6. The marginal-likelihood bound follows the data's complexity: {quantity}",
            (marginal_likelihood_bound,),
            follows_the_data(quantity),
            over_ladder=True,
        )
        for quantity in ("exponents", "levels")
    ),
)
