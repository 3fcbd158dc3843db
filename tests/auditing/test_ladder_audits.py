"""Audits over a ladder of tasks from start to end, on tasks that train in a moment."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility.auditing.audit import audit
from pytest_fragility.auditing.result import AuditResult
from pytest_fragility.checks.complexity import LadderEvidence
from pytest_fragility.checks.verdicts import BROKEN, KEPT
from pytest_fragility.errors import SettingsError
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import Measure, oracle_test_error, parameter_count, path_norm
from pytest_fragility.measures.measure import constant
from pytest_fragility.measures.stacked import INPUTS, LABELS, reference
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE, Perturbation, get_perturbation
from pytest_fragility.recipes import MLP, Recipe, cross_entropy_below
from pytest_fragility.tasks import Ladder, Task
from pytest_fragility.tasks.labels import with_label_noise
from pytest_fragility.tasks.ladders import label_noise_ladder

SIZES, SEEDS = (16, 32, 64), 3
RUNS = len(SIZES) * SEEDS
EQUIVALENT_RUNS = 8  # two pairs of trainings, two seeds each
NOISE_NAMES = ["blobs", "blobs+label-noise-0.2", "blobs+label-noise-0.5"]
IDS = ["complexity-exponent", "complexity-level"]
WIDER = Perturbation("wider", lambda recipe: recipe.replace(architecture=MLP(hidden=(12,))))


class LadderAuditor:
    """Audits of the complexity check, with a cache that is filled once."""

    def __init__(self, task: Task, recipe: Recipe, folder: Path) -> None:
        self.folder = folder
        self.task = task
        self.options: dict[str, Any] = {
            "task": task,
            "recipe": recipe,
            "sizes": SIZES,
            "seeds": SEEDS,
            "perturbations": ["adam"],
            "device": "cpu",
            "error_margin": 50.0,
            "checks": "complexity",
        }

    def __call__(self, measure: Measure, **options: Any) -> AuditResult:
        """Audit a measure."""
        return audit(measure, **{"cache_dir": self.folder, **self.options, **options})

    def runs_trained(self, **options: Any) -> int:
        """Return how many runs an audit trains without a cache."""
        totals = {0}

        def progress(done: int, total: int, share: float) -> None:
            totals.add(total)

        self(path_norm, cache_dir=None, progress=progress, **options)
        return max(totals)


class Calls:
    """A measure that looks at no network, and counts by what it was called on."""

    def __init__(self) -> None:
        self.places: Counter[tuple[str, str, int, int]] = Counter()

    def note(self, network: TrainedNetwork) -> float:
        """Note a call, and return a number that is positive and another one for every place."""
        self.places[network.task_name, network.recipe_name, network.n, network.seed] += 1
        width = sum(parameter.numel() for parameter in network.model.parameters())
        return width * (1 + network.seed + len(network.task_name)) / network.n


@pytest.fixture(scope="module")
def auditor(
    blobs: Task, small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> LadderAuditor:
    """Audits of the small task."""
    return LadderAuditor(blobs, small_recipe, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def ladder(blobs: Task) -> Ladder:
    """Two tasks that differ: the blobs, and nothing but random labels."""
    return Ladder("sense-to-nonsense", [blobs, with_label_noise(blobs, 1.0)])


@pytest.fixture(scope="module")
def family(blobs: Task, small_recipe: Recipe) -> Family:
    """Baseline and perturbations that leave the prior, and two that change it, with a ladder."""
    names = ("adam", "lr-x3", "init-div2")
    recipes = {BASELINE: small_recipe}
    recipes |= {name: get_perturbation(name)(small_recipe) for name in names}
    recipes["wider"] = WIDER(small_recipe)
    plan = FamilyPlan(blobs, recipes, SIZES, (0, 1, 2), label_noise_ladder(blobs))
    return train_families([plan], device=torch.device("cpu"))[0]


def evidence_of(result: AuditResult, check_id: str) -> LadderEvidence:
    """Return the evidence of a check over a ladder."""
    evidence = result[check_id].evidence
    assert isinstance(evidence, LadderEvidence)
    return evidence


def test_the_perfect_measure_follows_exactly(auditor: LadderAuditor, ladder: Ladder) -> None:
    """Test error's sensitivity to test error is one, for exponents and levels.

    With an interval, since how exactly a finite test set says what test error is, is not known.
    """
    result = auditor(oracle_test_error, ladder=ladder, alpha=0.5)
    assert [verdict.check.id for verdict in result.verdicts] == [*IDS, "controls", "agreement"]
    for check_id in IDS:
        found = evidence_of(result, check_id)
        assert found.sensitivity.mean == 1.0
        assert 0.5 < found.sensitivity.low < 1.0 < found.sensitivity.high < 2.0
        assert found.rank_agreement.mean == 1.0
        assert found.rank_size == 64
        assert result[check_id].status == KEPT
    assert result.passed


def test_a_blind_measure_is_broken(auditor: LadderAuditor, ladder: Ladder) -> None:
    """The number of parameters is the same for all tasks."""
    result = auditor(parameter_count, ladder=ladder, alpha=0.5)
    for check_id in IDS:
        assert result[check_id].status == BROKEN
        assert evidence_of(result, check_id).sensitivity.mean == pytest.approx(0, abs=1e-9)
    assert result.verdict == BROKEN


def test_the_least_sensitivity_can_be_chosen(auditor: LadderAuditor, ladder: Ladder) -> None:
    """And is reported with its inverse."""
    result = auditor(oracle_test_error, ladder=ladder, least_sensitivity=0.5)
    assert evidence_of(result, IDS[0]).allowed == (0.5, 2.0)
    with pytest.raises(SettingsError, match="least sensitivity"):
        auditor(oracle_test_error, ladder=ladder, least_sensitivity=0)


def test_a_ladder_is_a_name_or_a_ladder_or_a_list_of_tasks(
    auditor: LadderAuditor, blobs: Task
) -> None:
    """All with the same verdicts where the tasks are the same."""
    forms = ["label-noise", label_noise_ladder(blobs), list(label_noise_ladder(blobs).tasks)]
    results = [auditor(path_norm, ladder=form) for form in forms]
    for result in results:
        assert [rung.task for rung in evidence_of(result, IDS[1]).rungs] == NOISE_NAMES
        assert evidence_of(result, IDS[1]) == evidence_of(results[0], IDS[1])
    names = [result.to_dict()["ladder"] for result in results]
    assert names == ["blobs-label-noise", "blobs-label-noise", " -> ".join(NOISE_NAMES)]


def test_the_numbers_rest_on_the_ladders_networks(auditor: LadderAuditor, blobs: Task) -> None:
    """Levels are those of audits of the single tasks."""
    result = auditor(path_norm, ladder="label-noise")
    for rung, task in zip(
        evidence_of(result, IDS[1]).rungs, label_noise_ladder(blobs).tasks, strict=True
    ):
        alone = auditor(path_norm, task=task, ladder="none", checks="trend")
        assert rung.measure == alone.curves.measure[BASELINE].level
        assert rung.error == alone.curves.error[BASELINE].level


def test_without_a_ladder_there_is_no_such_check(auditor: LadderAuditor) -> None:
    """With ``ladder="none"``; to ask for the check all the same is refused."""
    result = auditor(path_norm, ladder="none", checks=None)
    assert not {verdict.check.id for verdict in result.verdicts} & set(IDS)
    assert result.curves.ladder is None
    assert result.to_dict()["ladder"] is None
    assert "ladder" not in str(result)
    with pytest.raises(SettingsError, match="complexity needs a ladder"):
        auditor(path_norm, ladder="none")


def test_a_linear_scale_leaves_it_out(auditor: LadderAuditor) -> None:
    """Exponents need logarithms; its networks are not trained either."""
    result = auditor(path_norm, scale="linear", checks=None)
    assert not {verdict.check.id for verdict in result.verdicts} & set(IDS)
    assert auditor.runs_trained(scale="linear", checks=None) == 2 * RUNS + EQUIVALENT_RUNS
    with pytest.raises(SettingsError, match="scale='log'"):
        auditor(path_norm, scale="linear")


def test_it_is_checked_by_default(auditor: LadderAuditor) -> None:
    """After the perturbations' checks, over growing label noise."""
    result = auditor(path_norm, checks=None)
    ids = [verdict.check.id for verdict in result.verdicts]
    assert [check_id for check_id in ids if check_id in IDS] == IDS
    assert "exponent-adam" in ids
    assert result.curves.ladder is not None
    assert list(result.curves.ladder.error) == NOISE_NAMES


def test_the_audits_own_task_is_trained_once(auditor: LadderAuditor, blobs: Task) -> None:
    """A ladder that holds it adds the other tasks' baselines, any other all of its tasks'."""
    assert auditor.runs_trained() == RUNS * (2 + 2)
    assert auditor.runs_trained(checks="trend") == RUNS * 2
    noisy = with_label_noise(blobs, 0.2)
    assert auditor.runs_trained(task=noisy) == RUNS * (2 + 2)
    assert auditor.runs_trained(task=with_label_noise(blobs, 0.3)) == RUNS * (2 + 3)


def test_rungs_are_families_of_their_own(family: Family, small_recipe: Recipe) -> None:
    """One per task, of the baseline alone, found by the task's name."""
    assert [rung.task.name for rung in family.rungs] == NOISE_NAMES
    for rung in family.rungs:
        assert rung.recipes == {BASELINE: small_recipe}
        assert len(rung) == RUNS
        network = family[rung.task.name, BASELINE, 32, 1]
        assert (network.task_name, network.n, network.seed) == (rung.task.name, 32, 1)
    assert len(family) == 5 * RUNS
    assert {network.task_name for network in family} == {"blobs"}
    assert family["blobs", "adam", 16, 0].recipe_name == "adam"
    with pytest.raises(KeyError, match=r"blobs\+label-noise-0.5"):
        family["digits", BASELINE, 16, 0]
    with pytest.raises(KeyError, match="no run with recipe 'adam'"):
        family[NOISE_NAMES[1], "adam", 16, 0]


def test_a_ladders_networks_have_the_ladders_labels(family: Family) -> None:
    """The same samples under every fraction of label noise, and other labels."""
    clean, _, noisy = (family[name, BASELINE, 64, 0] for name in NOISE_NAMES)
    assert torch.equal(clean.inputs, noisy.inputs)
    assert not torch.equal(clean.labels, noisy.labels)


def test_a_measure_is_called_for_the_ladder_on_demand(family: Family) -> None:
    """Not before its curves are asked for, and once per task."""
    calls = Calls()
    curves = learning_curves(calls.note, family, name="counted")
    assert curves.ladder is not None
    assert list(curves.ladder.measure) == list(curves.ladder.error) == NOISE_NAMES
    assert NOISE_NAMES[1] in curves.ladder.measure
    assert not calls.places
    assert curves.measure["adam"].recipe == "adam"
    assert {task for task, *_ in calls.places} == {"blobs"}
    for _ in range(2):
        assert curves.ladder.measure[NOISE_NAMES[2]].values.shape == (3, 3)
    assert {task for task, *_ in calls.places} == {"blobs", NOISE_NAMES[2]}
    assert set(calls.places.values()) == {1}
    with pytest.raises(KeyError, match="no task 'digits'"):
        curves.ladder.measure["digits"]


def test_the_audits_own_task_is_measured_once(family: Family) -> None:
    """Its baseline's curve serves the ladder as well."""
    calls = Calls()
    curves = learning_curves(calls.note, family, name="counted")
    assert curves.ladder is not None
    own, shared = curves.measure[BASELINE], curves.ladder.measure["blobs"]
    np.testing.assert_array_equal(own.values, shared.values)
    assert sum(calls.places.values()) == RUNS


def read_everything(curves: Any) -> None:
    """Ask for every curve of a measure."""
    for mapping in (curves.measure, curves.ladder.measure):
        for name in mapping:
            assert mapping[name].values.shape == (3, 3)


def test_a_constant_measure_is_called_once_per_task_and_n(family: Family) -> None:
    """For each seed, under the first recipe of an architecture and initialization's scale."""
    calls = Calls()
    curves = learning_curves(constant(calls_of(calls)), family)
    assert curves.constant
    read_everything(curves)
    expected = {
        *(("blobs", recipe) for recipe in (BASELINE, "init-div2", "wider")),
        *((task, BASELINE) for task in NOISE_NAMES),
    }
    assert {(task, recipe) for task, recipe, *_ in calls.places} == expected
    assert len(calls.places) == len(expected) * RUNS
    assert set(calls.places.values()) == {1}
    for recipe in ("adam", "lr-x3"):
        same = curves.measure[recipe]
        assert same.recipe == recipe
        np.testing.assert_array_equal(same.values, curves.measure[BASELINE].values)
    assert (curves.measure["wider"].values > curves.measure[BASELINE].values).all()


def calls_of(calls: Calls) -> Measure:
    """Return a plain function that notes its calls."""

    def counted(network: TrainedNetwork) -> float:
        return calls.note(network)

    return counted


def test_a_measure_that_does_not_say_so_is_called_for_every_recipe(family: Family) -> None:
    """Even where its values are the same."""
    calls = Calls()
    curves = learning_curves(calls_of(calls), family)
    assert not curves.constant
    read_everything(curves)
    assert len(calls.places) == (5 + 2) * RUNS
    assert set(calls.places.values()) == {1}


def test_a_stack_measure_of_data_alone_is_constant(family: Family) -> None:
    """It is called once per task, n and prior; one that reads weights once per recipe."""
    calls: Counter[tuple[int, ...]] = Counter()

    def spread_of(stack: NetworkStack) -> torch.Tensor:
        calls[(stack.n,)] += 1
        return stack.inputs.flatten(1).var(dim=1)

    of_data = reference(source="here", reads=(INPUTS, LABELS))(spread_of)
    curves = learning_curves(of_data, family)
    assert curves.constant
    read_everything(curves)
    # three priors of the audit's own task, two more tasks
    assert calls == {(n,): 3 + 2 for n in SIZES}
    np.testing.assert_array_equal(curves.measure["adam"].values, curves.measure[BASELINE].values)
    calls.clear()
    of_weights = reference(source="here", reads=("trained weights", INPUTS))(spread_of)
    curves = learning_curves(of_weights, family)
    assert not curves.constant
    read_everything(curves)
    assert calls == {(n,): 5 + 2 for n in SIZES}


def test_the_report_shows_the_ladder(auditor: LadderAuditor, ladder: Ladder) -> None:
    """Both columns, a line each for exponents and levels, and that the measure is constant."""
    text = str(auditor(parameter_count, ladder=ladder, alpha=0.5))
    assert "the same under every recipe" in text
    lines = text.splitlines()
    assert "  over the ladder sense-to-nonsense:" in lines
    assert any(line.split() == ["test", "error", "parameter_count"] for line in lines)
    for task in ("blobs", "blobs+label-noise-1"):
        assert any(line.split()[:1] == [task] for line in lines)
    assert "  exponents: BROKEN, sensitivity 0.00 [0.00, 0.00]" in lines
    assert "  levels:    BROKEN, sensitivity 0.00 [0.00, 0.00]" in lines
    assert max(map(len, lines)) <= 80
    of_weights = str(auditor(path_norm, ladder=ladder))
    assert "the same under every recipe" not in of_weights
    assert "over the ladder" in of_weights


def test_the_table_fits_for_long_names(auditor: LadderAuditor, blobs: Task) -> None:
    """The longest name of an installed data set, and one of the longest of a measure."""
    task = Task("fashion-mnist", blobs.load)
    text = str(auditor(path_norm, task=task, name="path_norm_at_initialization"))
    assert "fashion-mnist+label-noise-0.5" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_result_is_plain_json(auditor: LadderAuditor, ladder: Ladder) -> None:
    """With the ladder's name, and whether the measure is constant, for all checks together."""
    for measure, is_constant in ((parameter_count, True), (oracle_test_error, False)):
        found = auditor(measure, ladder=ladder).to_dict()
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found["ladder"] == "sense-to-nonsense"
        assert found["constant_over_recipes"] is is_constant
        *over_ladder, _, _ = found["checks"]
        assert [check["check"] for check in over_ladder] == IDS
        for check in over_ladder:
            tasks = [rung["task"] for rung in check["evidence"]["rungs"]]
            assert tasks == ["blobs", "blobs+label-noise-1"]


def test_a_task_that_misses_its_target_is_said_out_loud(
    auditor: LadderAuditor, ladder: Ladder
) -> None:
    """The ladder cannot be judged then, and the task is named."""
    recipe = auditor.options["recipe"].replace(stopping=cross_entropy_below(0.3, step_limit=300))
    result = auditor(path_norm, ladder=list(reversed(ladder.tasks)), recipe=recipe, sizes=(16, 64))
    for check_id in IDS:
        verdict = result[check_id]
        assert verdict.status == "inconclusive"
        assert "task blobs+label-noise-1 cannot be judged" in verdict.reason
        assert "did not reach train cross-entropy < 0.3" in verdict.reason
    json.dumps(result.to_dict(), allow_nan=False)
