"""Controls in every audit: they behave in sound audits, and misbehave where an audit is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pytest_fragility.auditing.finding import require_kept
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.controls import KIND, ControlsEvidence
from pytest_fragility.checks.records import check_record
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.checks.verdicts import BROKEN, KEPT, Verdict
from pytest_fragility.curves import (
    NOISE,
    PARAMETER_COUNT,
    TEST_ERROR,
    LearningCurve,
    LearningCurves,
)
from pytest_fragility.errors import ControlsMisbehave
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.families.family import Family
from pytest_fragility.measures import path_norm
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.report.verdict_table import audit_table
from tests.simulated_audits import PERTURBATION, Scatter, Truth, simulate

CHECK = Check("controls", among=(PERTURBATION,))
Values = Callable[[str], np.ndarray]


def with_controls(curves: LearningCurves, seed: int = 0) -> LearningCurves:
    """Return curves with the controls that belong to them."""
    generator = np.random.default_rng(seed)
    shape = curves.error[BASELINE].values.shape

    def of(values: Values) -> dict[str, LearningCurve]:
        return {name: replace(curve, values=values(name)) for name, curve in curves.error.items()}

    controls = {
        TEST_ERROR: dict(curves.error),
        PARAMETER_COUNT: of(lambda name: np.full(shape, 4810.0)),
        NOISE: of(lambda name: 1 - generator.random(shape)),
    }
    return replace(curves, controls=controls)


def sound_curves(truth: Truth | None = None, *, seeds: int = 5) -> LearningCurves:
    """Return the curves of one simulated audit."""
    found = simulate(truth or Truth(), Scatter(), audits=1, seeds=seeds)
    return with_controls(next(found))


def judged(curves: LearningCurves, tolerances: Tolerances | None = None) -> Verdict:
    """Return the verdict on the controls."""
    return KIND.judge_curves(CHECK, curves, tolerances or Tolerances())


def misbehaving(verdict: Verdict) -> dict[str, str]:
    """Return what was found of the controls that misbehave."""
    assert isinstance(verdict.evidence, ControlsEvidence)
    return {each.name: each.found for each in verdict.evidence.controls if each.misbehaves}


def test_controls_are_read_off_the_family(small_family: Family) -> None:
    """Test error from the records, the count from the weights, noise from the identities."""
    controls = learning_curves(path_norm, small_family).controls
    drawn = set()
    for recipe, n, seed in small_family.plan.runs:
        place = small_family.sizes.index(n), small_family.seeds.index(seed)
        trained = small_family.trained_run(recipe, n, seed)
        network = small_family["blobs", recipe, n, seed]
        count = sum(weight.numel() for weight in network.model.parameters())
        assert controls[TEST_ERROR][recipe].values[place] == trained.record.test_error
        assert controls[PARAMETER_COUNT][recipe].values[place] == count
        drawn.add(float(controls[NOISE][recipe].values[place]))
    assert len(drawn) == len(small_family)
    assert 0 < min(drawn) < max(drawn) <= 1
    again = learning_curves(path_norm, small_family).controls[NOISE][BASELINE].values
    np.testing.assert_array_equal(again, controls[NOISE][BASELINE].values)


def test_controls_behave_in_a_real_audit(small_family: Family) -> None:
    """Whatever is audited."""
    curves = learning_curves(path_norm, small_family)
    verdict = KIND.judge_curves(Check("controls", among=("adam",)), curves, Tolerances(margin=50.0))
    assert (verdict.status, misbehaving(verdict)) == (KEPT, {})


@pytest.mark.parametrize("seeds", [2, 5, 60])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_controls_behave_in_sound_audits(seeds: int, shift: float) -> None:
    """In 150 of 150: they may misbehave once in a thousand times, and with many seeds too."""
    truth = Truth(slope_change=shift, error_slope_change=0.03)
    for place, curves in enumerate(simulate(truth, Scatter(), audits=150, seeds=seeds)):
        assert judged(with_controls(curves, place)).status == KEPT


def test_a_margin_that_lets_test_error_reverse_is_found() -> None:
    """Then test error breaks itself, and any measure would be convicted for following it."""
    verdict = judged(sound_curves(Truth(error_slope_change=0.8)), Tolerances(margin=2.0))
    assert verdict.status == BROKEN
    assert misbehaving(verdict) == {TEST_ERROR: f"broken (trend-{PERTURBATION})"}
    assert verdict.reason == (
        f"this audit cannot be trusted: test error should be kept, and is broken "
        f"(trend-{PERTURBATION})"
    )


def test_an_inadmissible_perturbation_tells_nothing_of_controls() -> None:
    """Nothing is judged under it."""
    assert judged(sound_curves(Truth(error_slope_change=0.8))).status == KEPT


def test_tolerances_that_noise_keeps_are_found() -> None:
    """An audit that noise passes certifies nothing."""
    verdict = judged(sound_curves(), Tolerances(exponent=10.0, spread=10.0))
    assert misbehaving(verdict) == {
        NOISE: f"kept (exponent-{PERTURBATION}), kept (spread-{PERTURBATION})"
    }


def test_runs_that_do_not_belong_together_are_found() -> None:
    """Test error of other runs than those it is compared with moves against itself."""
    curves = sound_curves()
    shuffled = dict(curves.error)
    shuffled[PERTURBATION] = replace(
        curves.error[PERTURBATION], values=curves.error[PERTURBATION].values[::-1]
    )
    verdict = judged(replace(curves, controls={**curves.controls, TEST_ERROR: shuffled}))
    assert verdict.status == BROKEN
    assert f"broken (trend-{PERTURBATION})" in misbehaving(verdict)[TEST_ERROR]
    assert f"broken (exponent-{PERTURBATION})" in misbehaving(verdict)[TEST_ERROR]


def test_a_count_that_follows_n_under_one_recipe_is_found() -> None:
    """Networks of one recipe have one architecture at every n."""
    curves = sound_curves()
    count = dict(curves.controls[PARAMETER_COUNT])
    grown = count[PERTURBATION].values * np.arange(1, 7)[:, None]
    count[PERTURBATION] = replace(count[PERTURBATION], values=grown)
    verdict = judged(replace(curves, controls={**curves.controls, PARAMETER_COUNT: count}))
    assert misbehaving(verdict) == {PARAMETER_COUNT: f"of another one under {PERTURBATION}"}


def test_another_architecture_alone_is_no_misbehaviour() -> None:
    """More parameters at every n: the same exponent, which is zero."""
    curves = sound_curves()
    count = dict(curves.controls[PARAMETER_COUNT])
    count[PERTURBATION] = replace(count[PERTURBATION], values=2 * count[PERTURBATION].values)
    verdict = judged(replace(curves, controls={**curves.controls, PARAMETER_COUNT: count}))
    assert verdict.status == KEPT


def test_the_failure_says_what_misbehaves_and_what_to_do() -> None:
    """In an exception of its own, which convicts no measure."""
    curves = sound_curves()
    with pytest.raises(ControlsMisbehave) as caught:
        require_kept(judged(curves, Tolerances(exponent=10.0)), curves, rerun="pytest --fragility")
    text = str(caught.value)
    assert text.startswith("ruler: the audit's own controls misbehave\n")
    assert f"  noise should be inconclusive, and is kept (exponent-{PERTURBATION})\n" in text
    assert "  test error is kept, as it should be\n" in text
    assert "noise is kept where tolerances are too wide" in " ".join(text.split())
    assert text.endswith("Rerun: pytest --fragility")
    assert max(map(len, text.splitlines())) <= 80


def test_the_table_says_so_first() -> None:
    """The overall verdict is inconclusive, since nothing can be concluded."""
    curves = sound_curves()
    behaving = check_record(curves, judged(curves))
    assert "  controls behave (test error, parameter count, noise)" in audit_table([behaving])
    failing = check_record(curves, judged(curves, Tolerances(exponent=10.0)))
    text = audit_table([failing])
    assert text.startswith("ruler on simulated: inconclusive\n")
    assert "this audit cannot be trusted: noise should be inconclusive" in text
