"""Verdicts: kept, broken or inconclusive, with the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Check
    from pytest_fragility.curves import Agreement, Estimate, Sensitivity

KEPT, BROKEN, INCONCLUSIVE = "kept", "broken", "inconclusive"
ADMISSIBLE, INADMISSIBLE, UNDECIDED = "admissible", "inadmissible", "undecided"


def _plain(evidence: Any) -> dict[str, Any]:
    """Return a record's fields as plain JSON types, without those that are empty."""
    values = {name: getattr(evidence, name) for name in evidence.__dataclass_fields__}
    return {name: _plain_value(value) for name, value in values.items() if value not in (None, ())}


def _plain_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain_value(each) for each in value]
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
class PartEvidence:
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

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        return _plain(self)


@dataclass(frozen=True)
class Evidence:
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

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types; what there is none of is left out."""
        return _plain(self)


@dataclass(frozen=True)
class RungEvidence:
    """One task of a ladder.

    Parameters
    ----------
    task
        Its name.
    measure, error
        Slope, or level in decades, of the measure and of test error.
    measure_is_bent, error_is_bent
        Whether the learning curve is no power law, so that its slope is an average.
    """

    task: str
    measure: Estimate
    error: Estimate
    measure_is_bent: bool = False
    error_is_bent: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the rung as plain JSON types."""
        return _plain(self)


@dataclass(frozen=True)
class LadderEvidence:
    """What a verdict over a ladder of tasks rests on.

    Parameters
    ----------
    rungs
        One per task.
    sensitivity
        By how much the measure's exponents or levels change where test error's change by one.
    allowed
        The range that the sensitivity must lie in.
    rank_agreement
        Kendall's tau of the measure's values and test error's over the tasks.
    rank_size
        The training set size at which ranks are compared.
    """

    rungs: tuple[RungEvidence, ...]
    sensitivity: Sensitivity
    allowed: tuple[float, float]
    rank_agreement: Estimate
    rank_size: int

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        return {
            "rungs": [rung.to_dict() for rung in self.rungs],
            "sensitivity": self.sensitivity.to_dict(),
            "allowed": list(self.allowed),
            "rank_agreement": self.rank_agreement.to_dict(),
            "rank_size": self.rank_size,
        }


@dataclass(frozen=True)
class StoppingEvidence:
    """What a verdict on a checkpoint rests on: the checks of the sign and of the exponent.

    Parameters
    ----------
    trend, exponent
        Their verdicts.
    exponent_evidence
        The exponent's numbers, those of the slopes among them.
    """

    trend: str
    exponent: str
    exponent_evidence: Evidence

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        return {
            "trend": self.trend,
            "exponent": self.exponent,
            **self.exponent_evidence.to_dict(),
        }


@dataclass(frozen=True)
class InvarianceEvidence:
    """What a verdict on networks with the same function rests on.

    Parameters
    ----------
    summary
        What was changed.
    network
        The network on which the verdict rests: where the measure moved the farthest.
    before, after
        The measure's values; means over draws.
    change
        In decades, or relative on a linear scale; a point where the measure draws no random
        numbers, else with its interval over draws.
    tolerance
        How large the change may be.
    draws
        How often the measure was asked.
    """

    summary: str
    network: str
    before: float
    after: float
    change: Estimate
    tolerance: float
    draws: int

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**values, "change": self.change.to_dict()}


@dataclass(frozen=True)
class ControlEvidence:
    """How one measure whose verdicts are known beforehand was judged.

    Parameters
    ----------
    name
        The control's.
    expected, found
        In words.
    misbehaves
        Whether the two differ.
    """

    name: str
    expected: str
    found: str
    misbehaves: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        return _plain(self)


@dataclass(frozen=True)
class ControlsEvidence:
    """How all controls were judged."""

    controls: tuple[ControlEvidence, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        return _plain(self)


@dataclass(frozen=True)
class BreakingPoint:
    """How far a recipe can be changed in one direction before a measure breaks.

    Parameters
    ----------
    axis
        What is changed.
    admissible
        The largest admissible change; None where not even the smallest one is.
    inadmissible
        The smallest change that is not certainly admissible; None where all are.
    kept
        The largest change that does not break the measure; None where the smallest one does.
    broken
        The smallest change that breaks it; None where no admissible one does.
    kind
        The kind of check that it breaks.
    evidence
        The numbers, from seeds that had no part in the search.
    """

    axis: str
    admissible: str | None
    inadmissible: str | None
    kept: str | None
    broken: str | None
    kind: str = ""
    evidence: Evidence | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the point as plain JSON types."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**values, "evidence": self.evidence.to_dict() if self.evidence else None}


@dataclass(frozen=True)
class BreakingPointEvidence:
    """What a walk along an axis has found, one point for each direction."""

    points: tuple[BreakingPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the points as plain JSON types."""
        return {"points": [point.to_dict() for point in self.points]}


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
    evidence: (
        Evidence
        | LadderEvidence
        | StoppingEvidence
        | InvarianceEvidence
        | BreakingPointEvidence
        | ControlsEvidence
        | Agreement
        | None
    ) = None
    admissibility: Admissibility | None = None
    seeds_needed: int | None = None
    applies: bool = True

    @property
    def is_applicable(self) -> bool:
        """False where the check says nothing, or the perturbation was no small change."""
        is_inadmissible = self.admissibility and self.admissibility.status == INADMISSIBLE
        return self.applies and not is_inadmissible
