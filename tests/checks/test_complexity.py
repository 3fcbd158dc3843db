"""Verdicts over a ladder of tasks, on power laws made by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest

from pytest_fragility.checks.check import Check
from pytest_fragility.checks.complexity import EXPONENTS, LEVELS, LadderEvidence
from pytest_fragility.checks.registry import judge
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT, Verdict
from pytest_fragility.curves import LadderCurves
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import BASELINE
from tests.checks.test_judging import SIZES, Lines, lines, make_curves
from tests.curves.test_ladder_curves import more_seeds

Floats = npt.NDArray[np.float64]

TASKS = ("clean", "noisy", "random")
ERROR_EXPONENTS = np.array([0.55, 0.25, 0.05])
ERROR_LEVELS = np.array([-1.0, -0.6, -0.2])
SEEDS = 5
NOISE = 0.01

both_kinds = pytest.mark.parametrize("kind", ["complexity-exponent", "complexity-level"])


def scattered(means: Floats, start: int, noise: float = NOISE, seeds: int = SEEDS) -> Floats:
    """Return one value per task and seed around the tasks' means."""
    generator = np.random.default_rng(start)
    values: Floats = means[:, None] + noise * generator.standard_normal((len(means), seeds))
    return values


def ladder_of(
    exponents: tuple[Floats, Floats],
    levels: tuple[Floats, Floats],
    *,
    unfinished: dict[str, str] | None = None,
    names: Sequence[str] = TASKS,
) -> LadderCurves:
    """Return power laws with these exponents and levels: the measure's, then test error's."""
    measure, error = (
        {
            task: Lines(-exponents[place][row], levels[place][row]).curve(name, BASELINE)
            for row, task in enumerate(names[: len(exponents[place])])
        }
        for place, name in enumerate(("ruler", "test error"))
    )
    return LadderCurves(name="steps", measure=measure, error=error, unfinished=unfinished or {})


def scaled(exponent: float, level: float, *, noise: float = NOISE) -> LadderCurves:
    """Return a measure whose exponents and levels have these sensitivities."""
    return ladder_of(
        (
            scattered(0.2 + exponent * ERROR_EXPONENTS, 1, noise),
            scattered(ERROR_EXPONENTS, 2, noise),
        ),
        (scattered(1.3 + level * ERROR_LEVELS, 3, noise), scattered(ERROR_LEVELS, 4, noise)),
    )


def judge_ladder(kind: str, ladder: LadderCurves | None, tolerances: Tolerances) -> Verdict:
    """Return the verdict of a kind on a ladder."""
    (asked,) = (each for each in (EXPONENTS, LEVELS) if each.id == kind)
    return asked.judge_ladder(Check(kind), ladder, tolerances)


def verdict_of(kind: str, ladder: LadderCurves, least: float = 0.25) -> Verdict:
    """Return the verdict on a ladder."""
    return judge_ladder(kind, ladder, Tolerances(sensitivity=least))


def evidence_of(verdict: Verdict) -> LadderEvidence:
    """Return a verdict's evidence, which must be there."""
    assert isinstance(verdict.evidence, LadderEvidence)
    return verdict.evidence


@both_kinds
@pytest.mark.parametrize(
    ("sensitivity", "status", "word"),
    [
        (0.7, KEPT, "follow test error's"),
        (0.4, KEPT, "follow test error's"),
        (3.0, KEPT, "follow test error's"),
        (0.0, BROKEN, "are blind to"),
        (0.1, BROKEN, "are blind to"),
        (-0.05, BROKEN, "are blind to"),
        (-0.7, BROKEN, "move against"),
        (6.0, BROKEN, "exaggerate"),
    ],
)
def test_a_measure_must_follow_test_error(
    kind: str, sensitivity: float, status: str, word: str
) -> None:
    """At least by the least sensitivity, at most by its inverse, and in the same direction."""
    noise = 0.03 if sensitivity == -0.05 else NOISE
    verdict = verdict_of(kind, scaled(sensitivity, sensitivity, noise=noise))
    assert verdict.status == status
    assert word in verdict.reason
    assert verdict.reason.startswith("the exponents" if "exponent" in kind else "the levels")
    assert verdict.seeds_needed is None
    assert verdict.is_applicable
    found = evidence_of(verdict)
    assert found.sensitivity.mean == pytest.approx(sensitivity, abs=0.15)
    assert found.allowed == (0.25, 4.0)


@both_kinds
def test_a_constant_is_blind(kind: str) -> None:
    """A measure that is the same for all tasks has sensitivity zero, and no direction."""
    same = np.full((3, SEEDS), 0.5)
    error = scaled(1, 1)
    verdict = verdict_of(kind, ladder_of((same, error.exponents[1]), (same, error.levels[1])))
    assert verdict.status == BROKEN
    assert "blind" in verdict.reason
    assert evidence_of(verdict).sensitivity.mean == pytest.approx(0, abs=1e-9)


@both_kinds
def test_test_error_itself_is_kept(kind: str) -> None:
    """With any least sensitivity, even of one."""
    of_error = scaled(1, 1)
    (_, exponents), (_, levels) = of_error.exponents, of_error.levels
    ladder = ladder_of((exponents, exponents), (levels, levels))
    verdict = verdict_of(kind, ladder, least=1.0)
    assert verdict.status == KEPT
    found = evidence_of(verdict)
    assert (found.sensitivity.low, found.sensitivity.high) == (1.0, 1.0)
    assert found.rank_agreement.mean == 1.0


@pytest.mark.parametrize(
    ("exponent", "level", "statuses"), [(0.0, 1.0, (BROKEN, KEPT)), (1.0, 0.0, (KEPT, BROKEN))]
)
def test_exponents_and_levels_are_judged_separately(
    exponent: float, level: float, statuses: tuple[str, str]
) -> None:
    """One may follow while the other is blind."""
    ladder = scaled(exponent, level)
    found = (verdict_of("complexity-exponent", ladder), verdict_of("complexity-level", ladder))
    assert tuple(verdict.status for verdict in found) == statuses


@both_kinds
def test_the_evidence_has_both_columns(kind: str) -> None:
    """Slopes or levels of every task, in the ladder's order, as NumPy averages them."""
    ladder = scaled(0.7, 0.7)
    found = evidence_of(verdict_of(kind, ladder))
    assert [rung.task for rung in found.rungs] == list(TASKS)
    is_exponent = kind == "complexity-exponent"
    measure, error = ladder.exponents if is_exponent else ladder.levels
    sign = -1 if is_exponent else 1
    for row, rung in enumerate(found.rungs):
        assert rung.measure.mean == pytest.approx(sign * measure[row].mean())
        assert rung.error.mean == pytest.approx(sign * error[row].mean())
    assert found.rank_size == SIZES[-1]


@both_kinds
@pytest.mark.parametrize(("least", "status"), [(0.25, BROKEN), (0.05, KEPT), (0.12, INCONCLUSIVE)])
def test_the_least_sensitivity_decides(kind: str, least: float, status: str) -> None:
    """A measure that follows by about an eighth is kept where so little is asked."""
    assert verdict_of(kind, scaled(0.12, 0.12), least).status == status


@both_kinds
def test_the_most_sensitivity_is_the_inverse_of_the_least(kind: str) -> None:
    """A measure that doubles test error's changes is kept for a third, and broken for 0.8."""
    ladder = scaled(2.0, 2.0)
    assert verdict_of(kind, ladder, 1 / 3).status == KEPT
    verdict = verdict_of(kind, ladder, 0.8)
    assert verdict.status == BROKEN
    assert "exaggerate" in verdict.reason


def straddling(kind: str) -> tuple[Floats, Floats]:
    """Return values of two tasks that five seeds do not decide: the measure's, test error's."""
    means = np.array([0.6, 0.1]) if kind == "complexity-exponent" else np.array([-1.0, -0.4])
    return scattered(0.35 * means, 1, 0.06), scattered(means, 9, 0.03)


def two_tasks(kind: str, values: tuple[Floats, Floats]) -> LadderCurves:
    """Return a ladder of two tasks with these exponents or levels, and any of the other."""
    other = (values[1], values[1])
    places = (values, other) if kind == "complexity-exponent" else (other, values)
    return ladder_of(*places, names=TASKS[:2])


@both_kinds
def test_an_interval_that_straddles_the_tolerance_decides_nothing(kind: str) -> None:
    """It says how many seeds would: with so many of the same kind it is decided, not before."""
    values = straddling(kind)
    verdict = verdict_of(kind, two_tasks(kind, values))
    assert verdict.status == INCONCLUSIVE
    assert "straddles the tolerance" in verdict.reason
    found = evidence_of(verdict).sensitivity
    assert found.low < 0.25 < found.high
    needed = verdict.seeds_needed
    assert needed is not None and needed > SEEDS + 1
    statuses = {
        seeds: verdict_of(kind, two_tasks(kind, more_seeds(*values, seeds))).status
        for seeds in range(SEEDS + 1, needed + 1)
    }
    assert statuses.pop(needed) != INCONCLUSIVE
    assert set(statuses.values()) == {INCONCLUSIVE}


@both_kinds
def test_what_no_number_of_seeds_decides_has_no_number(kind: str) -> None:
    """A sensitivity that is the tolerance itself, but for its noise."""
    measure, error = straddling(kind)
    slope = (measure[0].mean() - measure[1].mean()) / (error[0].mean() - error[1].mean())
    ladder = two_tasks(kind, (measure * 0.25 / slope, error))
    verdict = verdict_of(kind, ladder)
    assert verdict.status == INCONCLUSIVE
    assert verdict.seeds_needed is None


@both_kinds
def test_a_ladder_on_which_test_error_is_the_same_convicts_nobody(kind: str) -> None:
    """Nor does it certify anybody."""
    flat = scattered(np.full(3, 0.3), 5, 0.05)
    for measure in (np.full((3, SEEDS), 0.3), flat, -flat, scattered(ERROR_EXPONENTS, 6)):
        verdict = verdict_of(kind, ladder_of((measure, flat), (measure, flat)))
        what = "exponents" if kind == "complexity-exponent" else "levels"
        assert verdict.status == INCONCLUSIVE
        assert f"test error's {what} do not differ with certainty" in verdict.reason
        assert evidence_of(verdict).rungs


@both_kinds
def test_seeds_that_would_tell_test_errors_apart_are_counted(kind: str) -> None:
    """Where more seeds of the same kind decide, it says so, and not that no number does."""
    means = np.array([0.5, 0.3])
    values = scattered(means, 1, 0.15), scattered(means, 2, 0.15)
    verdict = verdict_of(kind, two_tasks(kind, values))
    assert verdict.status == INCONCLUSIVE and "do not differ" in verdict.reason
    decided = verdict_of(kind, two_tasks(kind, more_seeds(*values, 100)))
    assert decided.status != INCONCLUSIVE
    assert verdict.seeds_needed is not None
    assert SEEDS < verdict.seeds_needed <= 100


@both_kinds
def test_an_unfinished_task_decides_nothing(kind: str) -> None:
    """The verdict names it, and says what happened."""
    base = scaled(0.0, 0.0)
    why = "2 of 12 runs diverged (n=16, seed 0)"
    ladder = ladder_of(base.exponents, base.levels, unfinished={"noisy": why})
    verdict = verdict_of(kind, ladder)
    assert verdict.status == INCONCLUSIVE
    assert "noisy" in verdict.reason and why in verdict.reason
    assert verdict.evidence is None


@both_kinds
def test_without_a_ladder_there_is_nothing_to_judge(kind: str) -> None:
    """The error says what to ask for."""
    with pytest.raises(SettingsError, match="ladder="):
        judge_ladder(kind, None, Tolerances())
    with pytest.raises(SettingsError, match=kind):
        judge(Check(kind), make_curves({BASELINE: lines(-0.2)}), Tolerances())


@both_kinds
@pytest.mark.parametrize("sensitivity", [1.0, 0.25, 0.0, -1.0])
def test_the_order_of_tasks_means_nothing(kind: str, sensitivity: float) -> None:
    """Neither for the verdict nor for what it rests on."""
    ladder = scaled(sensitivity, sensitivity, noise=0.03)
    first = verdict_of(kind, ladder)
    for order in permutations(range(3)):
        rows = list(order)
        turned = ladder_of(
            (ladder.exponents[0][rows], ladder.exponents[1][rows]),
            (ladder.levels[0][rows], ladder.levels[1][rows]),
            names=[TASKS[row] for row in rows],
        )
        verdict = verdict_of(kind, turned)
        assert (verdict.status, verdict.reason) == (first.status, first.reason)
        assert verdict.seeds_needed == first.seeds_needed
        expected, found = evidence_of(first), evidence_of(verdict)
        assert found.sensitivity.low == pytest.approx(expected.sensitivity.low, abs=1e-9)
        assert found.sensitivity.high == pytest.approx(expected.sensitivity.high, abs=1e-9)
        assert found.rank_agreement.mean == pytest.approx(expected.rank_agreement.mean)


@both_kinds
def test_the_evidence_is_finite_json(kind: str) -> None:
    """Also where the sensitivity's interval has no ends."""
    flat = np.full((3, SEEDS), 0.3)
    uncertain = scattered(np.full(3, 0.3), 5, 0.05)
    ladders = [
        scaled(0.7, 0.7),
        ladder_of((flat, uncertain), (flat, uncertain)),
        ladder_of((flat, flat), (flat, flat)),
    ]
    for ladder in ladders:
        evidence = evidence_of(verdict_of(kind, ladder)).to_dict()
        assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
        assert [rung["task"] for rung in evidence["rungs"]] == list(TASKS)
        assert evidence["allowed"] == [0.25, 4.0]
