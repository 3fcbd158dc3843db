"""The parts of learning curves that are no power law, over which one exponent says nothing."""

from __future__ import annotations

from pytest_fragility.checks.error_rates import SHAPES_LOOKED_AT
from pytest_fragility.checks.verdicts import PartEvidence
from pytest_fragility.curves import LearningCurve, Part, bent_parts

BENT_BASELINE, BENT_PERTURBED, BENT_CHANGE = "baseline", "perturbed", "change"


def find_parts(
    before: LearningCurve, after: LearningCurve | None, tolerance: float
) -> tuple[tuple[str, ...], list[Part]]:
    """Return which of two curves, and of their ratio, are no power law, and the parts they have.

    Parameters
    ----------
    before, after
        The measure's curves; None for `after` looks at one alone.
    tolerance
        How far the slope over one part may differ from that over another.

    Returns
    -------
    bent
        Of ``baseline``, ``perturbed`` and ``change``.
    parts
        As the first of these is cut; empty where all are power laws, as far as can be seen.
    """
    if before.scale != "log":
        return (), []
    alpha = before.alpha / SHAPES_LOOKED_AT
    found = {BENT_BASELINE: bent_parts(before, tolerance=tolerance, alpha=alpha)}
    if after is not None:
        found[BENT_PERTURBED] = bent_parts(after, tolerance=tolerance, alpha=alpha)
        found[BENT_CHANGE] = bent_parts(after, tolerance=tolerance, alpha=alpha, baseline=before)
    bent = tuple(which for which, cut in found.items() if cut)
    return bent, list(found[bent[-1]]) if bent else []


def bent_curves(
    before: LearningCurve, after: LearningCurve | None, tolerance: float
) -> tuple[tuple[str, ...], tuple[PartEvidence, ...]]:
    """Return which curves are no power law, and their slopes over the parts.

    Parameters and the first return are those of `find_parts`.
    """
    bent, cut = find_parts(before, after, tolerance)
    return bent, tuple(
        PartEvidence(
            part_sizes(before, part),
            before.part(*part).slope,
            after.part(*part).slope if after else None,
        )
        for part in cut
    )


def part_sizes(curve: LearningCurve, part: Part) -> tuple[int, int]:
    """Return the smallest and the largest n of a part."""
    return curve.sizes[part[0]], curve.sizes[part[1]]
