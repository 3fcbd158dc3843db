"""Three-way verdicts, on learning curves made by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.stopping import StoppingEvidence
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import (
    BROKEN,
    INCONCLUSIVE,
    KEPT,
    UNDECIDED,
    Verdict,
)
from pytest_fragility.curves import LearningCurve, LearningCurves
from pytest_fragility.perturbations import BASELINE

Floats = npt.NDArray[np.float64]

SIZES = (16, 32, 64, 128)
SEEDS = 5
TIGHT, WIDE = 0.01, 1.0
# of a mean over five seeds: half the width of its 95 % interval, over their standard deviation
HALF = float(stats.t.ppf(0.975, SEEDS - 1)) / SEEDS**0.5
TREND_OF_BASELINE = Check("trend", BASELINE)
EVERY_KIND = ("trend", "exponent", "spread")

unhurried = settings(deadline=None)
kinds_of_change = pytest.mark.parametrize("kind", ["exponent", "spread"])


@dataclass(frozen=True)
class Lines:
    """Power laws, one per seed: slopes, and levels in decades."""

    slopes: Floats
    levels: Floats

    def moved(self, *, slope: float = 0.0, level: float = 0.0, deviation: float = TIGHT) -> Lines:
        """Return lines whose paired changes have these means and this standard deviation."""
        return Lines(self.slopes + around(slope, deviation), self.levels + around(level, deviation))

    def curve(self, name: str, recipe: str) -> LearningCurve:
        """Return the lines as a learning curve."""
        x = np.log(SIZES) - np.mean(np.log(SIZES))
        values = 10**self.levels * np.exp(np.outer(x, self.slopes))
        return LearningCurve(name, recipe, SIZES, values, 0.05)


def around(mean: float, deviation: float, seeds: int = SEEDS) -> Floats:
    """Return samples with exactly this mean and standard deviation."""
    steps = np.linspace(-1.0, 1.0, seeds)
    samples: Floats = mean + deviation * steps / steps.std(ddof=1)
    return samples


def lines(slope: float, level: float = -0.5, deviation: float = TIGHT) -> Lines:
    """Return lines around a slope and a level."""
    return Lines(around(slope, deviation), around(level, deviation)[::-1])


ERROR = lines(-0.3)


def make_curves(
    measure: Mapping[str, Lines],
    error: Mapping[str, Lines] | None = None,
    unfinished: dict[str, str] | None = None,
) -> LearningCurves:
    """Return learning curves by recipe name; test error barely changes unless `error` says so."""
    errors = {name: ERROR if name == BASELINE else ERROR.moved() for name in measure}
    errors |= error or {}
    return LearningCurves(
        measure_name="ruler",
        task_name="blobs",
        device="cpu",
        recipes={name: f"mlp 8, {name}, batch 8" for name in errors},
        sizes=SIZES,
        seeds=tuple(range(SEEDS)),
        alpha=0.05,
        measure={name: one.curve("ruler", name) for name, one in measure.items()},
        error={name: one.curve("test error", name) for name, one in errors.items()},
        unfinished=unfinished or {},
    )


def changed(kind: str, by: float, deviation: float = TIGHT) -> Lines:
    """Return a falling measure, moved in what a kind of check looks at."""
    slope, level = (by, 0.0) if kind == "exponent" else (0.0, by)
    return lines(-0.2).moved(slope=slope, level=level, deviation=deviation)


def judge_change(
    kind: str,
    by: float,
    deviation: float = TIGHT,
    *,
    error: Lines | None = None,
    tolerances: Tolerances | None = None,
) -> Verdict:
    """Return the verdict on a measure that moves `by` while test error moves to `error`."""
    errors = {BASELINE: ERROR, "adam": ERROR.moved() if error is None else error}
    curves = make_curves({BASELINE: lines(-0.2), "adam": changed(kind, by, deviation)}, errors)
    return judge(Check(kind, "adam"), curves, tolerances or Tolerances())


def baseline_verdict(measure: Lines, error: Lines = ERROR, trend: str = "error") -> Verdict:
    """Return the verdict on the baseline's trend."""
    curves = make_curves({BASELINE: measure}, {BASELINE: error})
    return judge(TREND_OF_BASELINE, curves, Tolerances(trend=trend))


def trend_verdict(before: Lines, after: Lines) -> Verdict:
    """Return the verdict on a perturbation's trend."""
    return judge(
        Check("trend", "adam"), make_curves({BASELINE: before, "adam": after}), Tolerances()
    )


def stopping_verdict(before: Lines, after: Lines, error: Lines | None = None) -> Verdict:
    """Return the verdict on a checkpoint."""
    errors = {BASELINE: ERROR, "past-x2": ERROR.moved() if error is None else error}
    curves = make_curves({BASELINE: before, "past-x2": after}, errors)
    return judge(Check("stopping", "past-x2"), curves, Tolerances())


class NeverAsked(Mapping[str, LearningCurve]):
    """A measure's curves that nobody may look at under some recipe."""

    def __init__(self, curves: Mapping[str, LearningCurve], forbidden: str) -> None:
        self._curves = curves
        self._forbidden = forbidden

    def __getitem__(self, recipe: str) -> LearningCurve:
        if recipe == self._forbidden:
            raise AssertionError(f"the measure was evaluated under {recipe}")
        return self._curves[recipe]

    def __iter__(self) -> Iterator[str]:
        return iter(self._curves)

    def __len__(self) -> int:
        return len(self._curves)


@pytest.mark.parametrize(
    ("slope", "deviation", "status"),
    [(-0.2, TIGHT, KEPT), (0.2, TIGHT, BROKEN), (-0.2, WIDE, INCONCLUSIVE)],
)
def test_the_baseline_must_fall_as_test_error_does(
    slope: float, deviation: float, status: str
) -> None:
    """Kept with test error's sign, broken with the other, else inconclusive."""
    verdict = baseline_verdict(lines(slope, deviation=deviation))
    assert verdict.status == status
    assert verdict.evidence is not None
    assert verdict.evidence.baseline.mean == pytest.approx(slope)
    assert verdict.evidence.error_baseline.mean == pytest.approx(-0.3)
    assert (verdict.seeds_needed is not None) == (status == INCONCLUSIVE)


def test_a_rising_test_error_asks_for_a_rising_measure() -> None:
    """It is test error's own sign that counts."""
    assert baseline_verdict(lines(0.2), error=lines(0.3)).status == KEPT
    assert baseline_verdict(lines(-0.2), error=lines(0.3)).status == BROKEN


@pytest.mark.parametrize("trend", ["error", "increasing", "decreasing"])
def test_a_flat_measure_has_no_trend_to_keep(trend: str) -> None:
    """A measure that does not change with n is broken, whatever trend is asked for."""
    verdict = baseline_verdict(lines(0.0, deviation=0.0), trend=trend)
    assert verdict.status == BROKEN
    assert "does not change with n" in verdict.reason


def test_the_interval_decides_and_not_the_mean() -> None:
    """A slope is certain exactly where its interval excludes zero."""
    for deviation, status in ((0.19 / HALF, KEPT), (0.21 / HALF, INCONCLUSIVE)):
        assert baseline_verdict(lines(-0.2, deviation=deviation)).status == status


def test_an_uncertain_test_error_decides_nothing() -> None:
    """Where test error's own slope has no sign, no measure is judged by it."""
    verdict = baseline_verdict(lines(0.2), error=lines(-0.3, deviation=0.5))
    assert verdict.status == INCONCLUSIVE
    assert "test error" in verdict.reason
    # the smallest number of seeds with t.ppf(0.975, seeds - 1) * 0.5 / sqrt(seeds) < 0.3
    assert verdict.seeds_needed == 14


@pytest.mark.parametrize(("trend", "sign"), [("increasing", 1), ("decreasing", -1)])
def test_a_trend_can_be_asked_for_by_name(trend: str, sign: int) -> None:
    """Then test error's slope does not matter, not even an uncertain one."""
    error = lines(-0.3, deviation=WIDE)
    assert baseline_verdict(lines(0.2 * sign), error, trend).status == KEPT
    assert baseline_verdict(lines(-0.2 * sign), error, trend).status == BROKEN
    assert baseline_verdict(lines(0.2 * sign, deviation=WIDE), error, trend).status == INCONCLUSIVE


@pytest.mark.parametrize(
    ("before", "after", "status", "reason"),
    [
        (lines(-0.2), lines(-0.9), KEPT, "still falling"),
        (lines(0.2), lines(0.01, deviation=0.001), KEPT, "still rising"),
        (lines(-0.2), lines(0.2), BROKEN, "falling becomes rising"),
        (lines(0.2), lines(-0.2), BROKEN, "rising becomes falling"),
        (lines(-0.2), lines(0.2, deviation=WIDE), INCONCLUSIVE, "under adam"),
        (lines(-0.2), lines(-0.2, deviation=WIDE), INCONCLUSIVE, "under adam"),
        (lines(-0.2, deviation=WIDE), lines(0.2), INCONCLUSIVE, "at the baseline"),
        (lines(0.0, deviation=0.0), lines(0.0, deviation=0.0), KEPT, "still flat"),
    ],
)
def test_a_perturbation_must_keep_the_sign(
    before: Lines, after: Lines, status: str, reason: str
) -> None:
    """Kept with the same certain sign, broken where it reverses, else inconclusive."""
    verdict = trend_verdict(before, after)
    assert verdict.status == status
    assert reason in verdict.reason
    assert verdict.is_applicable


def test_a_trend_shows_both_slopes_and_their_paired_change() -> None:
    """The evidence holds the measure's and test error's slopes, before and after."""
    evidence = trend_verdict(lines(-0.2), lines(0.3)).evidence
    assert evidence is not None
    assert evidence.baseline.mean == pytest.approx(-0.2)
    assert evidence.perturbed is not None and evidence.perturbed.mean == pytest.approx(0.3)
    assert evidence.change is not None and evidence.change.mean == pytest.approx(0.5)
    assert evidence.error_baseline.mean == pytest.approx(-0.3)
    assert evidence.error_perturbed is not None
    assert evidence.error_perturbed.mean == pytest.approx(-0.3)


@kinds_of_change
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("by", "status"),
    [(0.0, KEPT), (0.07, KEPT), (0.1, INCONCLUSIVE), (0.13, BROKEN), (2.0, BROKEN)],
)
def test_a_change_is_held_to_the_tolerance(kind: str, sign: int, by: float, status: str) -> None:
    """Kept inside, broken outside, inconclusive across; either way from the baseline."""
    verdict = judge_change(kind, sign * by, error=ERROR.moved(deviation=0.0))
    assert verdict.status == status
    assert verdict.evidence is not None and verdict.evidence.change is not None
    assert verdict.evidence.change.mean == pytest.approx(sign * by, abs=1e-12)


@kinds_of_change
def test_the_whole_interval_must_lie_inside_or_outside(kind: str) -> None:
    """An interval that ends just inside is kept, one that starts just outside is broken."""
    still = ERROR.moved(deviation=0.0)
    inside, outside = (0.1 - 0.03) / HALF, (0.13 - 0.1) / HALF
    for by, deviation, status in (
        (0.03, inside * 0.99, KEPT),
        (0.03, inside * 1.01, INCONCLUSIVE),
        (0.13, outside * 0.99, BROKEN),
        (0.13, outside * 1.01, INCONCLUSIVE),
    ):
        assert judge_change(kind, by, deviation, error=still).status == status


@kinds_of_change
def test_each_kind_has_its_own_tolerance(kind: str) -> None:
    """A tolerance of the other kind changes nothing."""
    exponent, spread = Tolerances(exponent=0.5), Tolerances(spread=0.5)
    own, other = (exponent, spread) if kind == "exponent" else (spread, exponent)
    assert judge_change(kind, 0.3, tolerances=own).status == KEPT
    assert judge_change(kind, 0.3, tolerances=other).status == BROKEN


@kinds_of_change
def test_a_tolerance_of_zero_is_never_kept_by_chance(kind: str) -> None:
    """Where nothing is allowed, a measure with noise is at best inconclusive."""
    assert judge_change(kind, 0.0, tolerances=Tolerances(exponent=0, spread=0)).status != KEPT


def test_exponent_and_spread_look_at_different_things() -> None:
    """A measure that is multiplied keeps its exponent; one that tilts keeps its middle."""
    multiplied, tilted = lines(-0.2).moved(level=1.0), lines(-0.2).moved(slope=1.0)
    for after, broken in ((multiplied, "spread"), (tilted, "exponent")):
        curves = make_curves({BASELINE: lines(-0.2), "adam": after})
        statuses = {
            kind: judge(Check(kind, "adam"), curves, Tolerances()).status
            for kind in ("exponent", "spread")
        }
        assert statuses == {"exponent": KEPT, "spread": KEPT} | {broken: BROKEN}


@kinds_of_change
@pytest.mark.parametrize(
    ("by", "status"), [(0.0, KEPT), (0.07, KEPT), (0.14, KEPT), (0.2, BROKEN), (-0.12, BROKEN)]
)
def test_a_measure_may_move_as_the_error_moved(kind: str, by: float, status: str) -> None:
    """Between staying put and following test error, plus or minus the tolerance, all is kept."""
    error = ERROR.moved(slope=0.07, level=0.07, deviation=0.001)
    tolerances = Tolerances(exponent=0.1, spread=0.1)
    assert judge_change(kind, by, 0.001, error=error, tolerances=tolerances).status == status


def interval(samples: Floats, alpha: float) -> Floats:
    """Return the t interval of a mean, with SciPy's quantile."""
    half = stats.t.ppf(1 - alpha / 2, len(samples) - 1) * samples.std(ddof=1) / len(samples) ** 0.5
    ends: Floats = samples.mean() + half * np.array([-1.0, 1.0])
    return ends


scatter_of_seeds = st.lists(st.floats(-0.15, 0.15), min_size=SEEDS, max_size=SEEDS).map(np.array)


@unhurried
@given(
    means=st.tuples(st.floats(-0.8, 0.8), st.floats(-0.8, 0.8)),
    slopes=scatter_of_seeds,
    levels=scatter_of_seeds,
    margin=st.floats(0.01, 0.3),
    more=st.floats(0.0, 0.2),
)
def test_test_error_itself_is_always_kept(
    means: tuple[float, float], slopes: Floats, levels: Floats, margin: float, more: float
) -> None:
    """Under an admissible change, with a tolerance of at least the margin."""
    moved = Lines(
        ERROR.slopes + margin * (means[0] + slopes), ERROR.levels + margin * (means[1] + levels)
    )
    both = {BASELINE: ERROR, "adam": moved}
    curves = make_curves(both, both)
    tolerances = Tolerances(exponent=margin + more, spread=margin + more, margin=margin)
    verdicts = [judge(Check(kind, "adam"), curves, tolerances) for kind in ("exponent", "spread")]
    statuses = {one.admissibility.status for one in verdicts if one.admissibility}
    assume(statuses == {"admissible"})
    assert [one.status for one in verdicts] == [KEPT, KEPT]


@kinds_of_change
@unhurried
@given(moved=st.floats(-0.08, 0.08), scatter=st.floats(0.0, 0.01))
def test_a_measure_that_stays_put_is_kept(kind: str, moved: float, scatter: float) -> None:
    """A measure need not follow test error within the margin."""
    error = ERROR.moved(slope=moved, level=moved, deviation=scatter)
    assert judge_change(kind, 0.0, TIGHT, error=error).status == KEPT


@kinds_of_change
@unhurried
@given(
    by=st.floats(-0.5, 0.5),
    moved=st.floats(-0.05, 0.05),
    scatter=scatter_of_seeds,
    error_scatter=scatter_of_seeds,
)
def test_kept_and_broken_agree_with_intervals_of_scipy(
    kind: str, by: float, moved: float, scatter: Floats, error_scatter: Floats
) -> None:
    """One of both changes must be inside to be kept, both outside on one side to be broken.

    The changes are the measure's own, and what is left of it when test error's is taken off.
    """
    change, drift = by + scatter, moved + 0.1 * error_scatter
    error = Lines(ERROR.slopes + drift, ERROR.levels + drift)
    still = lines(-0.2)
    slope, level = (change, 0 * change) if kind == "exponent" else (0 * change, change)
    curves = make_curves(
        {BASELINE: still, "adam": Lines(still.slopes + slope, still.levels + level)},
        {"adam": error},
    )
    verdict = judge(Check(kind, "adam"), curves, Tolerances(margin=1.0))
    own, beyond = interval(change, 0.05), interval(change - drift, 0.05)
    wider = interval(change - drift, 0.025)
    edges = np.abs([abs(end) - 0.1 for ends in (own, beyond, wider) for end in ends])
    assume(edges.min() > 1e-9)
    inside = (own[1] < 0.1 or wider[1] < 0.1) and (own[0] > -0.1 or wider[0] > -0.1)
    above, below = min(own[0], beyond[0]) > 0.1, max(own[1], beyond[1]) < -0.1
    assert verdict.status == (KEPT if inside else BROKEN if above or below else INCONCLUSIVE)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_change_that_is_not_small_convicts_nobody(kind: str) -> None:
    """A measure that reverses and explodes is not judged where the network itself changed."""
    error = {BASELINE: ERROR, "adam": ERROR.moved(slope=0.5)}
    measure = {BASELINE: lines(-0.2), "adam": lines(0.9, level=4)}
    verdict = judge(Check(kind, "adam"), make_curves(measure, error), Tolerances())
    assert (verdict.status, verdict.is_applicable) == (INCONCLUSIVE, False)
    assert "adam is not a small change" in verdict.reason
    assert "+0.50" in verdict.reason


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("by", [0.0, 2.0])
def test_an_undecided_change_decides_nothing(kind: str, by: float) -> None:
    """Neither a measure that stays nor one that reverses is judged; more seeds would tell."""
    error = {BASELINE: ERROR, "adam": ERROR.moved(slope=0.05, deviation=0.1)}
    measure = {BASELINE: lines(-0.2), "adam": lines(-0.2).moved(slope=by, level=by)}
    verdict = judge(Check(kind, "adam"), make_curves(measure, error), Tolerances())
    assert (verdict.status, verdict.is_applicable) == (INCONCLUSIVE, True)
    assert verdict.admissibility is not None and verdict.admissibility.status == UNDECIDED
    assert "do not show whether adam is a small change" in verdict.reason
    assert verdict.evidence is not None
    # the smallest number of seeds with t.ppf(0.975, seeds - 1) * 0.1 / sqrt(seeds) < 0.05
    assert verdict.seeds_needed == 18


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_unfinished_training_makes_a_change_inadmissible(kind: str) -> None:
    """The verdict repeats what kept the runs from their target."""
    reason = "3 of 20 runs did not reach their target"
    measure = {BASELINE: lines(-0.2), "adam": lines(0.9)}
    curves = make_curves(measure, unfinished={"adam": reason})
    verdict = judge(Check(kind, "adam"), curves, Tolerances())
    assert (verdict.status, verdict.is_applicable) == (INCONCLUSIVE, False)
    assert reason in verdict.reason
    assert judge(TREND_OF_BASELINE, curves, Tolerances()).status == KEPT


@pytest.mark.parametrize(
    "check", [TREND_OF_BASELINE, *(Check(kind, "adam") for kind in EVERY_KIND)], ids=str
)
def test_an_unfinished_baseline_decides_nothing(check: Check) -> None:
    """Where the baseline itself did not finish, there is nothing to compare with."""
    reason = "2 of 20 runs diverged"
    curves = make_curves(
        {BASELINE: lines(-0.2), "adam": lines(-0.2)}, unfinished={BASELINE: reason}
    )
    verdict = judge(check, curves, Tolerances())
    assert verdict.status == INCONCLUSIVE
    assert "baseline" in verdict.reason and reason in verdict.reason


def test_one_admissible_change_is_enough_to_audit() -> None:
    """The audit says how many of its perturbations could convict; checkpoints do not count."""
    error = {"adam": ERROR.moved(), "lr-x3": ERROR.moved(slope=0.5), "past-x2": ERROR.moved()}
    measure = {name: lines(-0.2) for name in (BASELINE, *error)}
    curves = make_curves(measure, error)
    check = Check("perturbations-admissible", among=("adam", "lr-x3"))
    verdict = judge(check, curves, Tolerances())
    assert verdict.status == KEPT
    assert "1 of 2" in verdict.reason
    alone = judge(Check("perturbations-admissible", among=("lr-x3",)), curves, Tolerances())
    assert alone.status == INCONCLUSIVE and "past-x2" not in alone.reason


def test_an_audit_without_an_admissible_change_is_inconclusive() -> None:
    """Nothing passes by default: each perturbation is listed with its status."""
    error = {
        "adam": ERROR.moved(slope=0.05, deviation=0.1),
        "lr-x3": ERROR.moved(slope=0.5),
        "sgd": ERROR.moved(),
    }
    curves = make_curves(
        {name: lines(-0.2) for name in (BASELINE, *error)}, error, unfinished={"sgd": "diverged"}
    )
    verdict = judge(Check("perturbations-admissible", among=tuple(error)), curves, Tolerances())
    assert verdict.status == INCONCLUSIVE
    for part in ("adam is undecided", "lr-x3 is inadmissible", "sgd is inadmissible"):
        assert part in verdict.reason


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("unfinished", [{}, {"adam": "diverged"}], ids=["moved", "unfinished"])
def test_a_measure_is_not_evaluated_where_it_cannot_be_convicted(
    kind: str, unfinished: dict[str, str]
) -> None:
    """No network of an inadmissible perturbation is measured."""
    error = {"adam": ERROR.moved(slope=0.0 if unfinished else 0.5)}
    curves = make_curves({BASELINE: lines(-0.2), "adam": lines(-0.2)}, error, unfinished)
    guarded = replace(curves, measure=NeverAsked(curves.measure, "adam"))
    count = Check("perturbations-admissible", among=("adam",))
    for check in (Check(kind, "adam"), count, TREND_OF_BASELINE):
        judge(check, guarded, Tolerances())


def test_a_measure_is_evaluated_where_it_can_be_convicted() -> None:
    """The guard of the test above does go off."""
    curves = make_curves({BASELINE: lines(-0.2), "adam": lines(-0.2)})
    guarded = replace(curves, measure=NeverAsked(curves.measure, "adam"))
    with pytest.raises(AssertionError, match="evaluated under adam"):
        judge(Check("trend", "adam"), guarded, Tolerances())


@kinds_of_change
@pytest.mark.parametrize("by", [0.05, -0.16])
def test_the_seeds_that_would_decide_are_those_of_scipy(kind: str, by: float) -> None:
    """The smallest number whose interval no longer reaches the tolerance."""
    deviation = 0.1
    verdict = judge_change(kind, by, deviation, error=ERROR.moved(deviation=0.0))
    assert verdict.status == INCONCLUSIVE
    distance = abs(abs(by) - 0.1)
    enough = [
        seeds
        for seeds in range(2, 201)
        if stats.t.ppf(0.975, seeds - 1) * deviation / seeds**0.5 < distance
    ]
    assert verdict.seeds_needed == enough[0] > SEEDS


@kinds_of_change
def test_hopeless_cases_ask_for_no_number_of_seeds(kind: str) -> None:
    """A change on the tolerance itself is decided by no number of seeds."""
    verdict = judge_change(kind, 0.1, WIDE, error=ERROR.moved(deviation=0.0))
    assert (verdict.status, verdict.seeds_needed) == (INCONCLUSIVE, None)


@pytest.mark.parametrize(
    ("before", "after", "trend", "exponent", "status", "reasons"),
    [
        (lines(-0.2), lines(-0.2).moved(slope=0.03), KEPT, KEPT, KEPT, ["still falling", "stays"]),
        (lines(-0.2), lines(-0.2).moved(slope=-0.5), KEPT, BROKEN, BROKEN, ["moves too far"]),
        (
            lines(-0.03, deviation=0.005),
            lines(0.03, deviation=0.005),
            BROKEN,
            KEPT,
            BROKEN,
            ["rev"],
        ),
        (lines(-0.2), lines(0.3), BROKEN, BROKEN, BROKEN, ["reverses", "moves too far"]),
        (
            lines(-0.2),
            lines(-0.2).moved(slope=0.1),
            KEPT,
            INCONCLUSIVE,
            INCONCLUSIVE,
            ["straddles"],
        ),
        (lines(0.0, deviation=0.0), lines(0.0, deviation=0.0), KEPT, KEPT, KEPT, ["still flat"]),
        # a slope of uncertain sign that certainly moved by little
        (
            lines(-0.01, deviation=0.05),
            lines(-0.01, deviation=0.05),
            INCONCLUSIVE,
            KEPT,
            INCONCLUSIVE,
            ["no certain sign"],
        ),
        (
            lines(-0.2, deviation=0.5),
            lines(0.6, deviation=0.5),
            INCONCLUSIVE,
            BROKEN,
            BROKEN,
            ["moves too far"],
        ),
        (
            lines(-0.03, deviation=0.005),
            lines(0.07, deviation=0.02),
            BROKEN,
            INCONCLUSIVE,
            BROKEN,
            ["reverses"],
        ),
    ],
)
def test_a_checkpoint_must_keep_sign_and_exponent(
    before: Lines, after: Lines, trend: str, exponent: str, status: str, reasons: list[str]
) -> None:
    """The worse of the two decides, and only what decides is given as a reason."""
    verdict = stopping_verdict(before, after)
    evidence = verdict.evidence
    assert isinstance(evidence, StoppingEvidence)
    assert (evidence.trend, evidence.exponent) == (trend, exponent)
    assert verdict.status == status and verdict.is_applicable
    assert all(reason in verdict.reason for reason in reasons)
    assert len(verdict.reason.split("; ")) == [trend, exponent].count(status)
    assert evidence.exponent_evidence.baseline.mean == pytest.approx(before.slopes.mean())
    assert evidence.to_dict()["trend"] == trend
    assert "change" in evidence.to_dict()


def test_the_verdict_on_a_checkpoint_is_made_of_the_two_checks() -> None:
    """Of those that a perturbation of the same curves would get."""
    for after in (lines(-0.2), lines(-0.5), lines(0.3), lines(-0.2, deviation=WIDE), lines(-0.3)):
        curves = make_curves({BASELINE: lines(-0.2), "adam": after})
        trend, exponent = (
            judge(Check(k, "adam"), curves, Tolerances()) for k in ("trend", "exponent")
        )
        stopping = judge(Check("stopping", "adam"), curves, Tolerances())
        statuses = {trend.status, exponent.status}
        worst = next(one for one in (BROKEN, INCONCLUSIVE, KEPT) if one in statuses)
        assert stopping.status == worst
        assert isinstance(stopping.evidence, StoppingEvidence)
        assert stopping.evidence.exponent_evidence == exponent.evidence
        assert stopping.admissibility == exponent.admissibility


def test_a_checkpoint_needs_the_seeds_of_what_is_open() -> None:
    """The larger number where both are; none where one of the two would never be decided."""
    still = ERROR.moved(deviation=0.0)
    both = lines(-0.2, deviation=0.2), lines(-0.2, deviation=0.4)
    verdict = stopping_verdict(*both, still)
    curves = make_curves(dict(zip((BASELINE, "adam"), both, strict=True)), {"adam": still})
    needs = [
        judge(Check(k, "adam"), curves, Tolerances()).seeds_needed for k in ("trend", "exponent")
    ]
    assert None not in needs
    assert verdict.seeds_needed == max(need for need in needs if need is not None)
    hopeless = stopping_verdict(lines(-0.2), lines(-0.2).moved(slope=0.1, deviation=0.3), still)
    assert (hopeless.status, hopeless.seeds_needed) == (INCONCLUSIVE, None)
    broken = stopping_verdict(lines(-0.2), lines(0.3), still)
    assert (broken.status, broken.seeds_needed) == (BROKEN, None)


def test_a_checkpoint_that_is_no_small_change_convicts_nobody() -> None:
    """Stopping early may change the network; then there is nothing to compare."""
    verdict = stopping_verdict(lines(-0.2), lines(0.9), ERROR.moved(slope=0.5))
    assert (verdict.status, verdict.is_applicable) == (INCONCLUSIVE, False)
    open_verdict = stopping_verdict(lines(-0.2), lines(0.9), ERROR.moved(slope=0.05, deviation=0.1))
    assert (open_verdict.status, open_verdict.is_applicable) == (INCONCLUSIVE, True)
    assert isinstance(open_verdict.evidence, StoppingEvidence)
    assert open_verdict.seeds_needed == 18
