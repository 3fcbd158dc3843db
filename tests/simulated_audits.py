"""Simulated learning curves: what is true of them is known, so that wrong verdicts can be counted.

A measure and test error have one power law per seed before a perturbation, and another one after
it. The paired changes carry noise of several kinds, scaled so that a seed's slope moves with a
given standard deviation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pytest_fragility.auditing.staged_seeds import StagedAudit
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, KEPT, Verdict
from pytest_fragility.curves import LEAST_SQUARES, LearningCurve, LearningCurves
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.settings import resolve_settings

Floats = npt.NDArray[np.float64]
Shape = tuple[int, int, int]

SIZES = (32, 64, 128, 256, 512, 1024)
SEEDS = 5
ALPHA = 0.05
PERTURBATION = "adam"

LOG_SIZES = np.log(SIZES) - np.mean(np.log(SIZES))
WEIGHTS = LOG_SIZES / (LOG_SIZES @ LOG_SIZES)

# as on the default family, where changes of slopes scatter by 0.024, test error's by 0.031 and
# their differences by 0.042: tests/benchmarks/test_error_rates.py
DEVIATION = 0.025
ERROR_DEVIATION = 0.033
CORRELATION = 0.0

NESTED = 0.8 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
GROWING = np.geomspace(1.0, 5.0, len(SIZES))


def gaussian(generator: np.random.Generator, shape: Shape) -> Floats:
    """Return independent Gaussian noise."""
    return generator.standard_normal(shape)


def heavy_tailed(generator: np.random.Generator, shape: Shape) -> Floats:
    """Return noise of Student's t distribution with three degrees of freedom, of variance one."""
    return generator.standard_t(3, shape) / np.sqrt(3.0)


def unequal(generator: np.random.Generator, shape: Shape) -> Floats:
    """Return Gaussian noise that is five times as large at the largest n as at the smallest."""
    return GROWING[:, None] * generator.standard_normal(shape)


def nested(generator: np.random.Generator, shape: Shape) -> Floats:
    """Return Gaussian noise that is correlated over n, as where subsets are nested."""
    return np.einsum("ij,ajs->ais", np.linalg.cholesky(NESTED), generator.standard_normal(shape))


COVARIANCES = {
    gaussian: np.eye(len(SIZES)),
    heavy_tailed: np.eye(len(SIZES)),
    unequal: np.diag(GROWING**2),
    nested: NESTED,
}
NOISES = tuple(COVARIANCES)
Noise = Callable[[np.random.Generator, Shape], Floats]


@dataclass(frozen=True)
class Truth:
    """What is true of a simulated measure, and of test error.

    Parameters
    ----------
    slope
        The measure's at the baseline.
    slope_change, level_change
        By how much the perturbation moves the measure: its slope, and its level in decades.
    error_slope_change, error_level_change
        By how much it moves test error.
    bend, bend_change
        By how much the slope over the second half of the sizes exceeds that over the first: at the
        baseline, and by how much more under the perturbation.
    """

    slope: float = -0.2
    slope_change: float = 0.0
    level_change: float = 0.0
    error_slope_change: float = 0.0
    error_level_change: float = 0.0
    bend: float = 0.0
    bend_change: float = 0.0


@dataclass(frozen=True)
class Scatter:
    """How seeds scatter.

    Parameters
    ----------
    noise
        Of what kind.
    deviation, error_deviation
        Standard deviations over seeds of the change of the measure's slope, and of test error's.
    correlation
        Of the two.
    diverged
        Whether one seed's largest training set was learned badly under the perturbation.
    """

    noise: Noise = gaussian
    deviation: float = DEVIATION
    error_deviation: float = ERROR_DEVIATION
    correlation: float = CORRELATION
    diverged: bool = False


def simulate(
    truth: Truth,
    scatter: Scatter,
    *,
    audits: int,
    seeds: int = SEEDS,
    alpha: float = ALPHA,
    fit: str = LEAST_SQUARES,
    seed: int = 20,
) -> Iterator[LearningCurves]:
    """Yield the learning curves of audits.

    Parameters
    ----------
    truth, scatter
        Of all of them.
    audits
        How many.
    seeds
        Of each.
    alpha, fit
        Of the curves.
    seed
        Of the generator.
    """
    generator = np.random.default_rng(seed)
    shape = (audits, len(SIZES), seeds)

    def noise() -> Floats:
        covariance = COVARIANCES[scatter.noise]
        return scatter.noise(generator, shape) / np.sqrt(WEIGHTS @ covariance @ WEIGHTS)

    common, own = noise(), noise()
    mixed = scatter.correlation * common + np.sqrt(1 - scatter.correlation**2) * own
    measure = _line(truth.slope, 0.0, truth.bend) + scatter.deviation * noise()
    error = _line(-0.3, -0.7) + scatter.error_deviation * noise()
    moved = measure + scatter.deviation * common
    moved += _line(truth.slope_change, truth.level_change, truth.bend_change)
    drifted = error + scatter.error_deviation * mixed
    drifted += _line(truth.error_slope_change, truth.error_level_change)
    if scatter.diverged:
        moved[:, -1, 0] += np.log(10.0)
        drifted[:, -1, 0] += np.log(3.0)
    for place in range(audits):
        heights = (measure[place], moved[place], error[place], drifted[place])
        yield curves_of(heights, alpha=alpha, fit=fit)


# verdicts

ACQUITTED, CONVICTED = "acquitted", "convicted"
STAGED = resolve_settings({"seeds": "auto"})
# just outside of what is allowed, and just inside
OUTSIDE, INSIDE = 1e-4, -1e-4


@dataclass(frozen=True)
class Case:
    """A truth, and the verdict that would be wrong.

    Parameters
    ----------
    name
        Of the test.
    kind
        Of the check.
    truth
        What is true.
    wrong
        ``acquitted`` or ``convicted``.
    """

    name: str
    kind: str
    truth: Truth
    wrong: str

    def __str__(self) -> str:
        return self.name


def _cases() -> Iterator[Case]:
    for side, wrong in ((OUTSIDE, ACQUITTED), (INSIDE, CONVICTED)):
        limit = 0.1 + side
        word = "just outside" if side > 0 else "just inside"
        yield Case(f"trend {word}", "trend", Truth(slope_change=0.2 + side), wrong)
        yield Case(f"exponent {word}", "exponent", Truth(slope_change=limit), wrong)
        yield Case(f"exponent {word} below", "exponent", Truth(slope_change=-limit), wrong)
        yield Case(f"spread {word}", "spread", Truth(level_change=limit), wrong)
        along = Truth(slope_change=limit + 0.06, error_slope_change=0.06)
        yield Case(f"exponent {word}, error along", "exponent", along, wrong)
        against = Truth(slope_change=limit, error_slope_change=-0.06)
        yield Case(f"exponent {word}, error against", "exponent", against, wrong)
        level_along = Truth(level_change=limit + 0.06, error_level_change=0.06)
        yield Case(f"spread {word}, error along", "spread", level_along, wrong)
    # test error moves by nearly as much as it may, and by a little more
    edge = Truth(slope_change=0.5, error_slope_change=0.1 + INSIDE)
    yield Case("exponent, barely admissible", "exponent", edge, ACQUITTED)
    edge = Truth(slope_change=0.5, error_slope_change=0.1 + OUTSIDE)
    yield Case("exponent, not quite admissible", "exponent", edge, CONVICTED)
    bent = Truth(slope_change=0.1 + INSIDE, bend=0.4)
    yield Case("exponent of no power law, just inside", "exponent", bent, CONVICTED)
    bent = Truth(slope_change=0.1 + OUTSIDE, bend=0.4)
    yield Case("exponent of no power law, just outside", "exponent", bent, ACQUITTED)


CASES = tuple(_cases())
PLAIN = {
    f"{kind} just {side}" for kind in ("trend", "exponent", "spread") for side in ("in", "out")
}
PLAIN_CASES = tuple(case for case in CASES if case.name.removesuffix("side") in PLAIN)

SCATTERS = {
    **{noise.__name__: Scatter(noise) for noise in NOISES},
    "one seed diverged": Scatter(diverged=True),
}


def outcome(verdict: Verdict) -> str:
    """Return what a verdict does to a measure: one that does not apply acquits."""
    if verdict.status == BROKEN:
        return CONVICTED
    is_acquitted = verdict.status == KEPT or not verdict.is_applicable
    return ACQUITTED if is_acquitted else "undecided"


def rates(
    kind: str,
    truth: Truth,
    scatter: Scatter,
    *,
    audits: int,
    fit: str = LEAST_SQUARES,
    alpha: float = ALPHA,
) -> Counter[str]:
    """Return the shares of simulated audits that acquit, convict, and do neither."""
    check = Check(kind, PERTURBATION)
    found = Counter(
        outcome(judge(check, curves, Tolerances()))
        for curves in simulate(truth, scatter, audits=audits, fit=fit, alpha=alpha)
    )
    return _shares(found, audits)


def staged_rates(kind: str, truth: Truth, scatter: Scatter, *, audits: int) -> Counter[str]:
    """Return the same of audits that train seeds as they are needed, and ``seeds``: their mean."""
    looks = STAGED.looks
    found: Counter[str] = Counter()
    for curves in simulate(
        truth, scatter, audits=audits, seeds=looks[-1], alpha=STAGED.alpha / len(looks)
    ):
        check = Check(kind, PERTURBATION)
        audit = StagedAudit(lambda network: 1.0, "ruler", STAGED, [check])
        for group in _groups(curves, looks):
            if audit.is_open:
                audit.judge_with(group)
        verdict, judged = audit.finding(check).get()
        found[outcome(verdict)] += 1
        found["seeds"] += len(judged.seeds)
    return _shares(found, audits)


def _shares(found: Counter[str], audits: int) -> Counter[str]:
    return Counter({what: count / audits for what, count in found.items()})


def _groups(curves: LearningCurves, looks: Sequence[int]) -> Iterator[LearningCurves]:
    """Yield the curves over the seeds that are new at each look."""
    for begin, end in zip((0, *looks), looks, strict=False):
        yield replace(
            curves,
            seeds=tuple(range(begin, end)),
            measure={name: _seeds(curve, begin, end) for name, curve in curves.measure.items()},
            error={name: _seeds(curve, begin, end) for name, curve in curves.error.items()},
        )


def _seeds(curve: LearningCurve, begin: int, end: int) -> LearningCurve:
    return replace(curve, values=curve.values[:, begin:end])


def _line(slope: float, level: float, bend: float = 0.0) -> Floats:
    """Return heights, shape (sizes, 1); a bend moves neither the slope nor the level."""
    broken = bend * np.abs(LOG_SIZES) / 2
    broken = broken - broken.mean()
    heights: Floats = slope * LOG_SIZES + level * np.log(10.0) + broken
    return heights[:, None]


def curves_of(
    heights: Sequence[Floats], *, alpha: float = ALPHA, fit: str = LEAST_SQUARES
) -> LearningCurves:
    """Return the learning curves of one audit.

    Parameters
    ----------
    heights
        Logarithms, shape (sizes, seeds) each: of the measure before and under the perturbation,
        and of test error.
    alpha, fit
        Of the curves.
    """
    measure, moved, error, drifted = (np.exp(each) for each in heights)

    def curve(name: str, recipe: str, own: Floats) -> LearningCurve:
        return LearningCurve(name, recipe, SIZES, own, alpha, fit=fit)

    return LearningCurves(
        measure_name="ruler",
        task_name="simulated",
        device="cpu",
        recipes={BASELINE: "before", PERTURBATION: "after"},
        sizes=SIZES,
        seeds=tuple(range(measure.shape[1])),
        alpha=alpha,
        fit=fit,
        measure={
            BASELINE: curve("ruler", BASELINE, measure),
            PERTURBATION: curve("ruler", PERTURBATION, moved),
        },
        error={
            BASELINE: curve("test error", BASELINE, error),
            PERTURBATION: curve("test error", PERTURBATION, drifted),
        },
        unfinished={},
    )
