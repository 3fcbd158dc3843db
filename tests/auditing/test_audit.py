"""Audits from start to end, on a task and a recipe that train in a moment."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_fragility.auditing.audit import audit
from pytest_fragility.auditing.result import AuditResult
from pytest_fragility.checks.verdicts import SlopeEvidence
from pytest_fragility.errors import MeasureError, SettingsError, TaskError
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.families.family import Family
from pytest_fragility.measures import Measure, noise, oracle_test_error, parameter_count, path_norm
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE, Perturbation
from pytest_fragility.recipes import SGD, Recipe, cross_entropy_below, fixed_steps
from pytest_fragility.tasks import Task, TaskData

IDS = [
    "trend-baseline",
    "trend-adam",
    "exponent-adam",
    "spread-adam",
    "perturbations-admissible",
    "controls",
    "agreement",
]
# Three seeds of tiny networks scatter: a margin that wide makes every change admissible.
ANYTHING = 50.0


class Auditor:
    """Audits on the small task with a cache that is filled once."""

    def __init__(self, task: Task, recipe: Recipe, folder: Path) -> None:
        self.folder = folder
        self.options: dict[str, Any] = {
            "task": task,
            "recipe": recipe,
            "sizes": (16, 32, 64),
            "seeds": 3,
            "perturbations": ["adam"],
            "device": "cpu",
            "error_margin": ANYTHING,
            "ladder": "none",
            # the others have files of their own, and some train more networks
            "checks": ["trend", "exponent", "spread"],
        }

    def __call__(self, measure: Measure, **options: Any) -> AuditResult:
        """Audit a measure."""
        return audit(measure, **{"cache_dir": self.folder, **self.options, **options})


@pytest.fixture(scope="module")
def auditor(blobs: Task, small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    """Audits whose networks are trained already."""
    auditor = Auditor(blobs, small_recipe, tmp_path_factory.mktemp("cache"))
    auditor(path_norm)
    return auditor


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every attempt to train fail."""

    def train(runs: Sequence[Run], device: object, executors: object) -> list[TrainedRun]:
        raise AssertionError(f"{len(runs)} runs would be trained")

    monkeypatch.setattr("pytest_fragility.training.trainer.train", train)


def assert_plain(value: Any) -> None:
    """Assert that a value is made of JSON's own types and nothing that merely looks like them."""
    assert type(value) in (dict, list, str, int, float, bool, type(None)), repr(value)
    if type(value) is dict:
        assert all(type(key) is str for key in value)
    for part in value.values() if type(value) is dict else value if type(value) is list else ():
        assert_plain(part)


def evidence_of(result: AuditResult, check_id: str) -> SlopeEvidence:
    """Return the evidence of a check under a perturbation."""
    evidence = result[check_id].evidence
    assert isinstance(evidence, SlopeEvidence)
    return evidence


def files_in(folder: Path) -> list[Path]:
    """Return everything that lies in a folder."""
    return sorted(folder.rglob("*"))


def test_every_planned_check_has_a_verdict(auditor: Auditor) -> None:
    """In the order of the plan, and found by id."""
    result = auditor(path_norm)
    assert [verdict.check.id for verdict in result.verdicts] == IDS
    assert all(result[check_id].check.id == check_id for check_id in IDS)
    with pytest.raises(KeyError, match=r"no check 'trend-sgd'.*trend-adam"):
        result["trend-sgd"]


def test_the_verdicts_rest_on_the_networks(auditor: Auditor, small_family: Family) -> None:
    """Their slopes are those of the measure's values, fitted by NumPy."""
    evidence = evidence_of(auditor(path_norm), "exponent-adam")
    assert evidence.perturbed is not None
    for recipe, found in ((BASELINE, evidence.baseline), ("adam", evidence.perturbed)):
        values = evaluate(path_norm, "path_norm", small_family, recipe)
        slopes = np.polyfit(np.log([16, 32, 64]), np.log(values), 1)[0]
        assert found.mean == pytest.approx(slopes.mean(), abs=1e-9)
        assert found.deviation == pytest.approx(slopes.std(ddof=1), abs=1e-9)


def test_the_perfect_measure_is_kept(auditor: Auditor) -> None:
    """Test error moves as test error does, so that nothing convicts it."""
    result = auditor(oracle_test_error, exponent_tolerance=ANYTHING, spread_tolerance=ANYTHING)
    for check_id in ("exponent-adam", "spread-adam", "perturbations-admissible"):
        assert result[check_id].status == "kept"
    assert result.verdict != "broken"


def test_a_control_that_never_moves_is_kept_but_for_its_trend(auditor: Auditor) -> None:
    """The number of parameters is the same everywhere."""
    result = auditor(parameter_count, trend="increasing")
    assert [verdict.status for verdict in result.verdicts] == [
        "broken",
        *["kept"] * 6,
    ]
    assert result.verdict == "broken" and not result.passed


def test_a_measure_that_follows_the_recipe_is_broken(auditor: Auditor) -> None:
    """Its trend reverses, its exponent and its value move."""

    def optimizer_reader(network: TrainedNetwork) -> float:
        slope = 1.0 if network.recipe_name == "adam" else -1.0
        return math.pow(network.n, slope)

    result = auditor(optimizer_reader, trend="decreasing", error_margin=ANYTHING)
    assert result["trend-baseline"].status == "kept"
    assert result["trend-adam"].status == "broken"
    change = evidence_of(result, "trend-adam").change
    assert change is not None and change.mean == pytest.approx(2.0)
    assert result.verdict == "broken"


def test_an_audit_passes_where_all_is_kept(auditor: Auditor) -> None:
    """A measure that falls the same way under every recipe."""

    def size_reader(network: TrainedNetwork) -> float:
        return math.pow(network.n, -0.5)

    result = auditor(size_reader, trend="decreasing")
    assert result.passed and result.verdict == "kept"
    assert all(verdict.status == "kept" for verdict in result.verdicts)
    tight = auditor(size_reader, trend="decreasing", error_margin=0)
    assert not tight.passed and tight.verdict == "inconclusive"


def test_noise_does_not_pass(auditor: Auditor) -> None:
    """A random number is not kept."""
    assert not auditor(noise).passed


def test_a_result_is_plain_json(auditor: Auditor) -> None:
    """It survives a round trip, with nothing but plain types and finite numbers."""
    result = auditor(path_norm)
    data = result.to_dict()
    assert_plain(data)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [check["check"] for check in data["checks"]] == IDS
    assert (data["measure"], data["task"], data["device"]) == ("path_norm", "blobs", "cpu")
    assert (data["sizes"], data["seeds"], data["alpha"]) == ([16, 32, 64], [0, 1, 2], 0.05)
    assert data["verdict"] == result.verdict
    for check, verdict in zip(data["checks"], result.verdicts, strict=True):
        assert check["verdict"] == verdict.status and check["reason"] == verdict.reason


def test_a_result_prints_as_a_table(auditor: Auditor) -> None:
    """Within 80 columns, one row for each recipe."""
    result = auditor(path_norm)
    text = str(result)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith(f"path_norm on blobs: {result.verdict}")
    assert "  value: raw value" in text
    assert [line.split()[0] for line in text.splitlines()[6:8]] == ["baseline", "adam"]


def test_a_name_can_be_given(auditor: Auditor) -> None:
    """To a measure that has none, before anything is trained."""
    assert auditor(lambda network: 1.0, name="one").curves.measure_name == "one"
    with pytest.raises(SettingsError, match=r"name='\.\.\.'"):
        auditor(lambda network: 1.0)


@pytest.mark.usefixtures("no_training")
def test_networks_are_trained_once(auditor: Auditor) -> None:
    """A second audit reads them all from its folder, with the same numbers."""
    assert auditor(path_norm).to_dict() == auditor(path_norm).to_dict()
    assert auditor(parameter_count, seeds=[2, 0], sizes=(64, 16)).curves.sizes == (16, 64)
    with pytest.raises(AssertionError, match="6 runs would be trained"):
        auditor(path_norm, seeds=4)


def test_progress_counts_what_is_trained(auditor: Auditor, tmp_path: Path) -> None:
    """From nothing to all of it; a warm audit has no progress to report."""
    calls: list[tuple[int, int, float]] = []
    auditor(path_norm, cache_dir=tmp_path, progress=lambda *call: calls.append(call))
    assert calls[0] == (0, 18, 0.0) and calls[-1] == (18, 18, 1.0)
    assert calls == sorted(calls)
    calls.clear()
    auditor(path_norm, cache_dir=tmp_path, progress=lambda *call: calls.append(call))
    assert calls == []


def test_no_cache_writes_nothing(
    auditor: Auditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the working folder nor in the cache of others; the numbers are the same."""
    monkeypatch.chdir(tmp_path)
    before = files_in(auditor.folder)
    result = auditor(path_norm, cache_dir=None)
    assert files_in(tmp_path) == [] and files_in(auditor.folder) == before
    assert result.to_dict() == auditor(path_norm).to_dict()


def test_the_default_cache_lies_in_the_working_folder(
    auditor: Auditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else is written there."""
    monkeypatch.chdir(tmp_path)
    audit(parameter_count, **{**auditor.options, "perturbations": [], "sizes": (8, 16)})
    assert [path.name for path in tmp_path.iterdir()] == [".fragility_cache"]


def test_curves_are_computed_when_they_are_asked_for(small_family: Family) -> None:
    """Once for each network, and not at all for a recipe that nobody looks at."""
    seen: list[str] = []

    def counting(network: TrainedNetwork) -> float:
        seen.append(network.recipe_name)
        return float(network.n)

    curves = learning_curves(counting, small_family)
    assert (list(curves.measure), len(curves.measure), seen) == ([BASELINE, "adam"], 2, [])
    assert curves.measure["adam"].exponent == pytest.approx(-1)
    assert curves.measure["adam"] is curves.measure["adam"]
    assert seen == ["adam"] * 9
    with pytest.raises(KeyError, match="no recipe 'sgd'; there are baseline, adam"):
        curves.measure["sgd"]


def test_errors_of_test_are_beside_the_measure(small_family: Family) -> None:
    """Their curves hold the records' test errors, by size and seed."""
    curves = learning_curves(path_norm, small_family, alpha=0.2)
    for recipe in (BASELINE, "adam"):
        expected = [
            [small_family.trained_run(recipe, n, seed).record.test_error for seed in (0, 1, 2)]
            for n in (16, 32, 64)
        ]
        np.testing.assert_array_equal(curves.error[recipe].values, np.array(expected))
    assert curves.measure["adam"].slope.alpha == curves.error["adam"].slope.alpha == 0.2
    assert curves.unfinished == {}


def test_a_measure_is_not_called_where_the_network_changed(auditor: Auditor) -> None:
    """An inadmissible perturbation's networks are left alone: a failing measure does no harm."""

    def picky(network: TrainedNetwork) -> float:
        assert network.recipe_name == BASELINE
        return math.pow(network.n, -0.5)

    frozen = Perturbation("frozen", lambda recipe: recipe.replace(stopping=fixed_steps(1)))
    options: dict[str, Any] = {"error_margin": 0.001, "trend": "decreasing", "cache_dir": None}
    result = auditor(picky, perturbations=[frozen], seeds=5, sizes=(16, 64), **options)
    verdict = result["trend-frozen"]
    assert not verdict.is_applicable, verdict.reason
    assert result.verdict == "inconclusive" and not result.passed
    result = auditor(picky, trend="decreasing")
    with pytest.raises(MeasureError, match="AssertionError"):
        result["trend-adam"]
    assert result["trend-baseline"].check.id not in result.errors


def test_a_training_that_misses_its_target_is_said_out_loud(auditor: Auditor) -> None:
    """With the number of runs and the first of them; it convicts nobody."""
    hopeless = Perturbation(
        "hopeless",
        lambda recipe: recipe.replace(stopping=cross_entropy_below(1e-6, step_limit=20)),
    )
    result = auditor(path_norm, perturbations=[hopeless, "adam"])
    verdict = result["exponent-hopeless"]
    assert verdict.status == "inconclusive" and not verdict.is_applicable
    assert "9 of 9 runs did not reach train cross-entropy < 1e-06 within 20 steps" in verdict.reason
    assert "(n=16, seed 0)" in verdict.reason
    assert result["perturbations-admissible"].status == "kept"


def test_a_training_that_diverges_is_said_out_loud(auditor: Auditor) -> None:
    """A learning rate without measure makes no verdict, and the report stays finite."""
    wild = Perturbation("wild", lambda recipe: recipe.replace(optimizer=SGD(lr=1e20)))
    result = auditor(path_norm, perturbations=[wild])
    verdict = result["trend-wild"]
    assert verdict.status == "inconclusive" and not verdict.is_applicable
    assert "9 of 9 runs diverged (n=16, seed 0)" in verdict.reason
    assert result["perturbations-admissible"].status == "inconclusive"
    assert not result.passed
    json.dumps(result.to_dict(), allow_nan=False)


def test_a_baseline_that_misses_its_target_is_not_judged(auditor: Auditor) -> None:
    """Neither its own trend nor any perturbation's checks."""
    recipe = replace(auditor.options["recipe"], stopping=cross_entropy_below(1e-6, step_limit=20))
    result = auditor(path_norm, recipe=recipe)
    for check_id in IDS[:-1]:
        assert result[check_id].status == "inconclusive"
        assert "9 of 9 runs did not reach" in result[check_id].reason
    assert result.verdict == "inconclusive"


def test_a_linear_scale_checks_the_trend(auditor: Auditor) -> None:
    """Of a measure that has negative values."""

    def log_size(network: TrainedNetwork) -> float:
        return -math.log(network.n)

    result = auditor(log_size, scale="linear", checks="trend")
    assert [verdict.check.id for verdict in result.verdicts] == [
        "trend-baseline",
        "trend-adam",
        "perturbations-admissible",
        "controls",
        "agreement",
    ]
    assert result.curves.measure["adam"].slope.mean == pytest.approx(-1)
    with pytest.raises(MeasureError, match="scale='linear'"):
        auditor(log_size, checks="trend")


def test_a_task_that_is_too_small_is_refused(small_recipe: Recipe, tmp_path: Path) -> None:
    """The error names size, task and what there is; nothing is trained."""

    def load() -> TaskData:
        inputs, labels = np.eye(40, 3, dtype=np.float32), np.arange(40) % 3
        return TaskData(inputs, labels, inputs, labels)

    options: dict[str, Any] = {"recipe": small_recipe, "sizes": (16, 64), "seeds": 2}
    with pytest.raises(TaskError) as error:
        audit(path_norm, task=Task("little", load), cache_dir=tmp_path, device="cpu", **options)
    for part in ("size 64", "'little'", "only 40", "smaller sizes"):
        assert part in str(error.value)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_a_setting_that_cannot_be_used_is_refused(auditor: Auditor) -> None:
    """Before anything is trained."""
    with pytest.raises(SettingsError, match="error_margin=-1"):
        auditor(path_norm, error_margin=-1, seeds=99)
