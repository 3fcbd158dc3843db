"""Training on a CUDA device; what is tested here has a twin on the CPU in the other files."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from pytest_fragility import audit
from pytest_fragility.evaluation.asking import begin, evaluate
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.measures import path_norm, reference_measures
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.recipes import (
    MLP,
    SGD,
    Adam,
    Factory,
    Recipe,
    cosine,
    cross_entropy_below,
    fixed_steps,
)
from pytest_fragility.tasks import digits
from pytest_fragility.training import memory
from pytest_fragility.training.devices import trainer_settings
from pytest_fragility.training.distribution import train_stacks
from pytest_fragility.training.memory import largest_stack, train_within_memory
from pytest_fragility.training.trainer import find_trajectories, plan_shards
from pytest_fragility.training.training_loop import Shard
from tests.reference_training import train_all
from tests.sample_architectures import BUILT_IN, OWN
from tests.training.test_architectures import IMAGES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
OPTIMIZERS = [SGD(lr=0.1), SGD(lr=0.02, momentum=0.9), Adam(lr=0.01)]
MAPPED = {**BUILT_IN, **OWN}


@pytest.mark.parametrize("architecture", MAPPED)
def test_fifty_steps_are_those_of_the_cpu(architecture: str) -> None:
    """In float64 to 1e-7, dropout masks included.

    On the CPU alone, another last bit of the initial weights becomes 1.4e-9 in 50 steps of the
    ResNet with group normalization under SGD at 0.1.
    """
    recipe = Recipe(
        architecture=MAPPED[architecture],
        batch_size=8,
        precision="float64",
        stopping=fixed_steps(50),
    )
    runs = [
        Run(IMAGES, n, recipe.replace(optimizer=optimizer), seed)
        for optimizer in OPTIMIZERS
        for n, seed in ((20, 0), (33, 1))
    ]
    for found, expected in zip(train_all(runs, CUDA), train_all(runs, CPU), strict=True):
        for ours, theirs in (
            (found.state.weights, expected.state.weights),
            (found.state.buffers, expected.state.buffers),
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)
        assert found.record.steps == expected.record.steps


@pytest.mark.parametrize("architecture", ["mlp", "cnn", "resnet-batch", "vit-dropout", "dropout"])
def test_results_are_the_same_run_after_run(architecture: str) -> None:
    """Bit by bit, where some networks leave earlier than others."""
    recipe = Recipe(architecture=MAPPED[architecture], batch_size=8)
    runs = [
        Run(IMAGES, n, recipe.replace(stopping=fixed_steps(steps)), seed)
        for n, steps in ((20, 100), (33, 60))
        for seed in range(3)
    ]
    for one, other in zip(train_all(runs, CUDA), train_all(runs, CUDA), strict=True):
        torch.testing.assert_close(one.weights, other.weights, rtol=0, atol=0)
        assert one.record == other.record


def test_nobody_waits_for_the_device_between_checks() -> None:
    """Batches of new steps, and rates that change, reach the device while it is at work."""
    plain = Recipe(architecture=MLP(hidden=(8,)))
    recipes = [plain, plain.replace(optimizer=Adam(lr=0.01), schedule=cosine(2000))]
    runs = [Run(IMAGES, 20, recipe, seed) for recipe in recipes for seed in range(3)]
    with trainer_settings(CUDA):
        shard = Shard(find_trajectories(runs), CUDA)
        shard._take_steps(0, 256)
        try:
            with warnings.catch_warnings():
                # that it does not see all
                warnings.simplefilter("ignore", UserWarning)
                torch.cuda.set_sync_debug_mode("error")
            for start in range(256, 2048, 128):
                shard._take_steps(start, start + 128)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_stacks_in_flight_are_those_of_one_after_the_other() -> None:
    """Bit by bit, as networks leave and steps are recorded anew beside others that are played."""
    runs = [
        Run(
            IMAGES, 20, Recipe(architecture=MLP(hidden=(width,)), stopping=fixed_steps(steps)), seed
        )
        for width in range(5, 17)
        for seed, steps in enumerate((40, 80, 120, 160))
    ]

    def all_of(in_flight: int) -> dict[Run, TrainedRun]:
        stacks = plan_shards(find_trajectories(runs), CUDA, processes=1)
        batches = train_stacks(stacks, CUDA, in_flight=in_flight)
        return {one.run: one for batch in batches for one in batch}

    found, expected = all_of(3), all_of(1)
    for run in runs:
        torch.testing.assert_close(found[run].weights, expected[run].weights, rtol=0, atol=0)


def test_the_default_family_stops_alike() -> None:
    """Steps may differ by what rounding does; targets are reached on both devices."""
    recipe = Recipe(architecture=MLP(), stopping=cross_entropy_below(0.1))
    runs = [Run(digits(label_noise=0.2), n, recipe, seed) for n in (32, 128) for seed in range(4)]
    for found, expected in zip(train_all(runs, CUDA), train_all(runs, CPU), strict=True):
        assert found.record.reached_target
        assert found.record.steps == pytest.approx(expected.record.steps, rel=0.25)


def test_stacks_fit_into_memory() -> None:
    """A network that takes the whole device stands alone; small ones share a stack."""
    free, _ = torch.cuda.mem_get_info()
    assert largest_stack(free, CUDA) == 1
    assert largest_stack(1 << 16, CUDA) > 64


def test_memory_that_runs_out_halves_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real allocation fails; what was trained before it is not lost, nothing comes twice."""

    class Greedy(Shard):
        def _take_steps(self, start: int, stop: int) -> None:
            if len(self._trajectories) > 2:
                free, _ = torch.cuda.mem_get_info()
                torch.empty(2 * free, dtype=torch.uint8, device=CUDA)
            super()._take_steps(start, stop)

    recipe = Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(12))
    runs = [Run(IMAGES, 20, recipe, seed) for seed in range(5)]
    monkeypatch.setattr(memory, "Shard", Greedy)
    found = [one for batch in train_within_memory(find_trajectories(runs), CUDA) for one in batch]
    assert sorted(one.run.seed for one in found) == [0, 1, 2, 3, 4]


def test_what_vmap_does_not_take_trains_too() -> None:
    """One at a time; noise from the device's generator, which is put back."""
    before = torch.cuda.get_rng_state()

    def build() -> torch.nn.Module:
        from tests.sample_architectures import Noise, with_layer

        return with_layer(Noise())

    recipe = Recipe(architecture=Factory(build), stopping=fixed_steps(20))
    runs = [Run(IMAGES, 20, recipe, seed) for seed in range(2)]
    with pytest.warns(UserWarning, match="one at a time"):
        one = train_all(runs, CUDA)
    with pytest.warns(UserWarning, match="one at a time"):
        other = train_all(runs[::-1], CUDA)[::-1]
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours.weights, theirs.weights, rtol=0, atol=0)
    assert torch.equal(torch.cuda.get_rng_state(), before)


MEASURED = [
    "path_norm",
    "sum_of_spectral_norms",
    "frobenius_over_spectral",
    "fisher_rao_norm",
    "hessian_largest_eigenvalue",
    "worst_case_sharpness",
    "negative_log_evidence_probit",
    "sum_of_one_vs_rest_negative_log_evidences",
]


@pytest.mark.parametrize("name", MEASURED)
def test_measures_are_those_of_the_cpu(name: str) -> None:
    """Asked about several recipes' networks at once; of those that draw no numbers."""
    recipe = Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(200))
    recipes = {"baseline": recipe, "adam": recipe.replace(optimizer=Adam(lr=0.01))}
    plan = FamilyPlan(digits(), recipes, (32, 150), (0, 1, 2))
    (family,) = train_families([plan], device=CPU)
    trained = {place: family.trained_run(*place) for place in plan.runs}
    measure = reference_measures()[name]

    def values(on: Family) -> np.ndarray:
        found = begin(measure, name, on, list(recipes), scale="linear")
        return np.array([found(each) for each in recipes])

    found, expected = values(Family(plan, trained, CUDA)), values(family)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("name", ["pac_bayes_flatness", "pac_bayes_flatness_as_published"])
def test_noise_that_a_network_stands_is_about_that_of_the_cpu(name: str) -> None:
    """Noise is another there: the mean over networks hardly depends on it."""
    recipe = Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(300))
    plan = FamilyPlan(digits(), {"baseline": recipe}, (100,), tuple(range(30)))
    (family,) = train_families([plan], device=CPU)
    trained = {place: family.trained_run(*place) for place in plan.runs}
    measure = reference_measures()[name]
    found, expected = (
        np.log(evaluate(measure, name, on, "baseline")).mean()
        for on in (Family(plan, trained, CUDA), family)
    )
    assert found == pytest.approx(expected, abs=0.1)


def test_an_audit_on_the_device() -> None:
    """From training to verdicts, networks and measures on the device."""
    devices = set()

    def measure(network: torch.nn.Module) -> float:
        devices.add(network.inputs.device.type)  # type: ignore[union-attr]
        return float(path_norm(network))  # type: ignore[arg-type]

    result = audit(
        measure,
        task=IMAGES,
        recipe=Recipe(architecture=MLP(hidden=(8,)), stopping=fixed_steps(50)),
        sizes=(20, 40, 80),
        seeds=3,
        perturbations=["momentum"],
        ladder="none",
        device="cuda",
        cache_dir=None,
    )
    assert devices == {"cuda"}
    assert result.verdict in ("kept", "broken", "inconclusive")
