"""Verdicts: kept, broken or inconclusive, with the evidence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_fragility.checks.check import Check

if TYPE_CHECKING:
    from pytest_fragility.curves import Estimate


Record = dict[str, Any]
KEPT, BROKEN, INCONCLUSIVE = "kept", "broken", "inconclusive"
ADMISSIBLE, INADMISSIBLE, UNDECIDED = "admissible", "inadmissible", "undecided"


def worst(statuses: Collection[str]) -> str:
    """Return the worst of some verdicts."""
    return next(each for each in (BROKEN, INCONCLUSIVE, KEPT) if each in statuses)


class Evidence(Protocol):
    """What a verdict rests on; each kind of check has a record of its own."""

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types; what there is none of is left out."""
        found = vars(self).items()
        return {name: _plain(value) for name, value in found if value not in (None, ())}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value.to_dict() if hasattr(value, "to_dict") else value


@dataclass(frozen=True)
class Admissibility:
    """Whether a perturbation barely changed the network.

    Parameters
    ----------
    status
        ``admissible``, ``inadmissible`` or ``undecided``.
    reason
        One sentence.
    slope_change, level_change
        By how much test error's learning curve moved: slope, and level in decades.
    """

    status: str
    reason: str
    slope_change: Estimate | None = None
    level_change: Estimate | None = None


@dataclass(frozen=True)
class PartEvidence(Evidence):
    """What a verdict rests on over one part of a learning curve that is no power law.

    Parameters
    ----------
    sizes
        The smallest and the largest n of the part.
    baseline, perturbed
        The measure's slope there.
    change, beyond
        Their paired difference, and that beyond test error's.
    """

    sizes: tuple[int, int]
    baseline: Estimate
    perturbed: Estimate | None = None
    change: Estimate | None = None
    beyond: Estimate | None = None


@dataclass(frozen=True)
class SlopeEvidence(Evidence):
    """What a verdict rests on; slopes are d log(value) / d log(n), so that value ~ n^slope.

    Parameters
    ----------
    baseline, perturbed
        The measure's slope (`trend`, `exponent`) or level in decades (`spread`).
    change
        Their paired difference; None for a check of the baseline itself.
    beyond
        That difference less test error's, seed by seed.
    allowed
        The range that the change, or the change beyond test error's, must lie in to be kept.
    error_baseline, error_perturbed, error_change
        The same of test error.
    bent
        Which learning curves are no power law: of ``baseline``, ``perturbed`` and ``change`` (their
        ratio). Their slopes are averages over all sizes.
    parts
        Where one of them is: what the slopes are over the parts of the curve.
    """

    baseline: Estimate
    error_baseline: Estimate
    perturbed: Estimate | None = None
    change: Estimate | None = None
    beyond: Estimate | None = None
    allowed: tuple[float, float] | None = None
    error_perturbed: Estimate | None = None
    error_change: Estimate | None = None
    bent: tuple[str, ...] = ()
    parts: tuple[PartEvidence, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check.

    Parameters
    ----------
    check
        What was asked.
    status
        ``kept``, ``broken`` or ``inconclusive``.
    reason
        One sentence that says why.
    evidence
        The numbers; None where there are none.
    admissibility
        Of the perturbation; None for checks of the baseline.
    seeds_needed
        Where inconclusive: how many seeds would probably decide; None where that is not known.
    applies
        False where the check has nothing to say about the measure.
    """

    check: Check
    status: str
    reason: str
    evidence: Evidence | None = None
    admissibility: Admissibility | None = None
    seeds_needed: int | None = None
    applies: bool = True

    @property
    def is_applicable(self) -> bool:
        """False where the check says nothing, or the perturbation was no small change."""
        is_inadmissible = self.admissibility and self.admissibility.status == INADMISSIBLE
        return self.applies and not is_inadmissible
