"""Controls: measures whose verdict is known beforehand; and what measures are called."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pytest_fragility.measures as package
from pytest_fragility.errors import SettingsError, UndefinedMeasureError
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.families.family import Family
from pytest_fragility.measures import (
    Measure,
    StackMeasure,
    at_initialization,
    control,
    is_control,
    measure_name,
    negative_log_evidence,
    noise,
    oracle,
    oracle_test_error,
    parameter_count,
    path_norm,
    path_norm_at_initialization,
    reference_measures,
    stacked,
    train_loss,
)
from pytest_fragility.measures.measure import RAW, is_oracle
from pytest_fragility.networks import NetworkState
from pytest_fragility.networks.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.recipes import Recipe
from pytest_fragility.tasks import Task
from tests.in_turn import in_turn
from tests.sample_networks import perceptron, randomize, sample_network

CONTROLS: dict[str, Measure] = {
    "noise": noise,
    "oracle_test_error": oracle_test_error,
    "parameter_count": parameter_count,
    "path_norm_at_initialization": path_norm_at_initialization,
    "train_loss": train_loss,
}
RECORD = TrainingRecord(7, True, False, 0.1, 0.0, 3, 10)
MISTAKEN = torch.arange(10) < 3


def network_of(model: nn.Module, shape: tuple[int, ...]) -> TrainedNetwork:
    """Return a trained network around a module, with an initial model of its own."""
    inputs = torch.zeros(3, *shape)
    return sample_network(model, inputs, torch.zeros(3).long())


# counting parameters


@in_turn(
    ("model", "shape", "count"),
    [
        (perceptron([3, 2]), (3,), 3 * 2 + 2),
        (perceptron([6, 8, 3]), (6,), 6 * 8 + 8 + 8 * 3 + 3),
        (perceptron([6, 8, 3], bias=False), (6,), 6 * 8 + 8 * 3),
        (
            nn.Sequential(
                nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
            ),
            (2, 4, 4),
            2 * 4 * 9 + 4 + 2 * 4 + 16 * 3 + 3,
        ),
    ],
    ids=["linear", "hidden", "no biases", "convolution"],
)
def test_parameters_are_counted(model: nn.Module, shape: tuple[int, ...], count: int) -> None:
    """Weights, biases and normalization of every layer; running statistics are not trained."""
    assert parameter_count(network_of(model, shape)) == count


# the train loss


def test_the_train_loss_is_the_mean_cross_entropy(small_family: Family) -> None:
    """Recomputed in NumPy, in float64, for every run of the family."""
    for recipe in small_family.recipes:
        values = evaluate(train_loss, "train_loss", small_family, recipe)
        for row, n in zip(values, small_family.sizes, strict=True):
            for value, seed in zip(row, small_family.seeds, strict=True):
                network = small_family["blobs", recipe, n, seed]
                with torch.no_grad():
                    logits = network.model(network.inputs).double().numpy()
                right = logits[np.arange(n), network.labels.numpy()]
                expected = float(np.mean(np.log(np.exp(logits).sum(axis=1)) - right))
                assert value == pytest.approx(expected, rel=1e-5)
                assert train_loss(network) == value


# the oracle


def test_the_oracle_gives_the_test_error(small_family: Family) -> None:
    """Recomputed from the test set: (mistakes + 1/2) / (size + 1)."""
    data = small_family.task.data
    for recipe, n, seed in small_family.plan.runs:
        network = small_family.oracle_network(recipe, n, seed)
        with torch.no_grad():
            predicted = network.model(torch.from_numpy(data.test_inputs)).argmax(dim=1).numpy()
        mistakes = int((predicted != data.test_labels).sum())
        assert oracle_test_error(network) == (mistakes + 0.5) / (60 + 1)


# noise


def test_noise_has_nothing_to_do_with_the_network(
    blobs: Task, small_recipe: Recipe, small_family: Family
) -> None:
    """In (0, 1], the same for the same run, different for others, 1/2 on average."""
    weights = small_family.trained_run("baseline", 16, 0).weights

    def draw(seed: int) -> float:
        run = Run(blobs, 16, small_recipe, seed)
        trained = TrainedRun(run, NetworkState(weights), NetworkState(weights), RECORD, MISTAKEN)
        return noise(TrainedNetwork.build(trained, "baseline", torch.device("cpu")))

    values = np.array([draw(seed) for seed in range(300)])
    assert np.all((values > 0) & (values <= 1))
    assert [draw(seed) for seed in range(5)] == values[:5].tolist()
    assert len(set(values.tolist())) == 300
    # five standard errors of the mean, and of the variance, of 300 uniform numbers
    assert abs(values.mean() - 1 / 2) < 5 * math.sqrt(1 / 12 / 300)
    assert abs(values.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / 300)


def test_noise_differs_with_everything_that_identifies_a_run(small_family: Family) -> None:
    """Every recipe, size and seed draws its own number; a second look draws it again."""
    first = [noise(network) for network in small_family]
    assert len(set(first)) == len(small_family) == 18
    assert [noise(network) for network in small_family] == first


@in_turn("measure", [noise, oracle_test_error], ids=["noise", "oracle"])
def test_plain_controls_only_read(measure: Measure, small_family: Family) -> None:
    """No change of the network, its mode or its gradients."""
    network = small_family.oracle_network("adam", 32, 1)
    models = (network.model, network.initial_model)
    before = [each.clone() for model in models for each in model.state_dict().values()]
    around = torch.random.get_rng_state()
    value = measure(network)
    assert type(value) is float and 0 < value <= 1
    after = [each for model in models for each in model.state_dict().values()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert torch.equal(torch.random.get_rng_state(), around)
    assert not network.model.training and not network.initial_model.training
    assert all(parameter.grad is None for parameter in network.model.parameters())


# at initialization


def initial(network: TrainedNetwork) -> TrainedNetwork:
    """Return what an untrained network looks like."""
    return replace(network, model=network.initial_model)


def test_the_path_norm_at_initialization_is_that_of_the_initial_model(
    small_family: Family,
) -> None:
    """For single networks and in stacks, and other than after training."""
    for recipe in small_family.recipes:
        values = evaluate(path_norm_at_initialization, "initial", small_family, recipe)
        trained = evaluate(path_norm, "trained", small_family, recipe)
        for row, n in enumerate(small_family.sizes):
            for column, seed in enumerate(small_family.seeds):
                network = small_family["blobs", recipe, n, seed]
                expected = path_norm(initial(network))
                assert values[row, column] == pytest.approx(expected, rel=1e-12)
                assert path_norm_at_initialization(network) == pytest.approx(expected, rel=1e-12)
        assert np.all(np.abs(values / trained - 1) > 1e-4)


def test_the_path_norm_at_initialization_can_be_done_by_hand() -> None:
    """(2 * 3)^2 + (5 * 3)^2 + 7^2 before training, whatever came after."""
    model, start = randomize(perceptron([1, 1, 1]), 0), perceptron([1, 1, 1])
    with torch.no_grad():
        for parameter, value in zip(start.parameters(), (-2, 5, 3, -7), strict=True):
            parameter.fill_(value)
    network = sample_network(model, torch.zeros(2, 1), torch.zeros(2).long(), initial_model=start)
    assert path_norm_at_initialization(network) == pytest.approx(36 + 225 + 49, rel=1e-12)


def test_a_measure_too_large_at_initialization_recommends_what_there_is() -> None:
    """Its own forms, which then give a number."""

    def huge(stack: NetworkStack) -> list[float]:
        return [800.0] * len(stack)

    start = at_initialization(StackMeasure(huge, is_logarithm=True))
    assert isinstance(start, StackMeasure)
    network = network_of(perceptron([3, 2]), (3,))
    with pytest.raises(UndefinedMeasureError, match=r"audit huge_at_initialization\.bound_form"):
        start(network)
    assert start.logarithm(network) == 800.0
    assert start.bound_form(network) == pytest.approx(math.exp(400) / math.sqrt(3), rel=1e-9)


def test_running_statistics_are_those_of_initialization_too() -> None:
    """Batch normalization is folded with the initial mean and variance."""

    def model(seed: int) -> nn.Module:
        layers = [nn.Flatten(), nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)]
        return randomize(nn.Sequential(*layers), seed)

    network = sample_network(
        model(1), torch.zeros(2, 3), torch.zeros(2).long(), initial_model=model(2)
    )
    expected = path_norm(network_of(model(2), (3,)))
    assert path_norm_at_initialization(network) == pytest.approx(expected, rel=1e-12)
    assert path_norm_at_initialization(network) != pytest.approx(path_norm(network), rel=1e-3)


def test_results_of_trained_weights_are_not_mistaken_for_initial_ones(
    small_family: Family,
) -> None:
    """What a stack has worked out belongs to the trained weights, in either order."""
    runs = [small_family.trained_run("adam", 32, seed) for seed in (0, 1, 2)]

    def compute(stack: NetworkStack) -> torch.Tensor:
        return stack.once("norm", lambda: stack.weights["1.weight"].square().sum(dim=(1, 2)))

    measure = stacked(compute)
    start = at_initialization(measure)
    assert isinstance(start, StackMeasure)
    for order in ((measure, start), (start, measure)):
        stack = NetworkStack.of_runs(runs, torch.device("cpu"), {})
        values = {each.__name__: each.over_stack(stack) for each in order}
        for place, run in enumerate(runs):
            for name, weights in (
                ("compute", run.weights),
                ("compute_at_initialization", run.initial_weights),
            ):
                expected = float(weights["1.weight"].square().sum())
                assert values[name][place] == pytest.approx(expected, rel=1e-6)


def first_weight(network: TrainedNetwork) -> float:
    """Return the sum of squares of the first layer."""
    return float(network.model.state_dict()["1.weight"].square().sum())


def of_module(model: nn.Module, n: int) -> float:
    """Return the same, in another shape."""
    return n * float(model.state_dict()["1.weight"].square().sum())


def test_a_plain_function_can_be_taken_at_initialization(small_family: Family) -> None:
    """In every shape that a measure may have; name and mark say so."""
    network = small_family["blobs", "adam", 32, 1]
    expected = first_weight(initial(network))
    assert expected != first_weight(network)
    for measure, factor in ((first_weight, 1), (of_module, 32)):
        start = at_initialization(measure)
        assert evaluate(start, "start", small_family, "adam")[1, 1] == pytest.approx(
            factor * expected, rel=1e-6
        )
        assert measure_name(start) == f"{measure.__name__}_at_initialization"
        assert is_control(start) and not is_control(measure)


def test_an_oracle_at_initialization_is_still_an_oracle(small_family: Family) -> None:
    """It is handed the test set, with the initial model."""

    def mistakes(network: Any) -> float:
        with torch.no_grad():
            predicted = network.model(network.test_inputs).argmax(dim=1)
        return 1.0 + int((predicted != network.test_labels).sum())

    start = at_initialization(oracle(mistakes))
    assert is_oracle(start)
    values = evaluate(start, "start", small_family, "adam")
    network = small_family.oracle_network("adam", 64, 2)
    with torch.no_grad():
        predicted = network.initial_model(network.test_inputs).argmax(dim=1)
    assert values[2, 2] == 1 + int((predicted != network.test_labels).sum())


def test_a_stacked_measure_at_initialization_is_still_stacked() -> None:
    """With name, mark, form and source; it reads other weights."""
    start = at_initialization(path_norm)
    assert isinstance(start, StackMeasure)
    assert measure_name(start) == "path_norm_at_initialization"
    assert is_control(start) and start.form == RAW and start.source == path_norm.source
    assert start.reads == ("initial weights",)
    assert "path_norm" in (start.__doc__ or "")
    assert measure_name(start.bound_form) == "path_norm_at_initialization.bound_form"
    assert is_control(start.bound_form)


def test_the_bound_form_at_initialization_is_the_bound_form_of_the_initial_weights(
    small_family: Family,
) -> None:
    """The root over n, or the bound that the measure brings."""
    network = small_family["blobs", "adam", 32, 1]
    assert isinstance(path_norm_at_initialization, StackMeasure)
    expected = math.sqrt(path_norm(initial(network)) / 32)
    assert path_norm_at_initialization.bound_form(network) == pytest.approx(expected, rel=1e-12)
    start = at_initialization(negative_log_evidence)
    assert isinstance(start, StackMeasure)
    assert start.bound_form(network) == pytest.approx(
        negative_log_evidence.bound_form(network), rel=1e-9
    )


# what is a control


def test_exactly_the_controls_are_marked() -> None:
    """Of all measures that the package has."""
    measures: dict[str, Measure] = {"noise": noise, "oracle_test_error": oracle_test_error}
    measures |= reference_measures()
    assert {name for name, measure in measures.items() if is_control(measure)} == set(CONTROLS)
    assert all(getattr(package, name) is measure for name, measure in CONTROLS.items())
    # they say so, and only one is an oracle
    for measure in CONTROLS.values():
        assert "control" in (measure.__doc__ or "").lower()
        assert is_oracle(measure) == (measure is oracle_test_error)


def test_a_measure_of_ones_own_can_be_marked() -> None:
    """With no effect on what it returns."""

    @control
    def seven(network: TrainedNetwork) -> float:
        return 7.0

    assert is_control(seven) and not is_oracle(seven)
    assert not is_control(first_weight) and not is_control(stacked(lambda stack: [1.0]))
    assert seven(network_of(perceptron([3, 2]), (3,))) == 7.0


# names


class Sharpness:
    """A measure that is an object, without a name."""

    def __call__(self, network: TrainedNetwork) -> float:
        """Return the same for every network."""
        return 1.0


def test_a_measure_is_called_by_its_name_or_the_one_given() -> None:
    """A given name comes first, and makes nameless callables usable."""
    assert measure_name(path_norm) == "path_norm"
    assert measure_name(path_norm, "path-norm.2") == "path-norm.2"
    assert measure_name(Sharpness(), "sharpness") == "sharpness"
    assert measure_name(lambda network: 1.0, "one") == "one"


@in_turn(
    ("measure", "name", "text"),
    [
        (lambda network: 1.0, None, "'<lambda>'"),
        (stacked(lambda stack: [1.0]), None, "'<lambda>'"),
        (Sharpness(), None, "type Sharpness is called None"),
        (path_norm, "", "is called ''"),
        (path_norm, "path norm", "is called 'path norm'"),
        (path_norm, "trend[x]", "is called 'trend[x]'"),
    ],
)
def test_a_measure_needs_a_usable_name(measure: Measure, name: str | None, text: str) -> None:
    """The error says what to do."""
    with pytest.raises(SettingsError) as error:
        measure_name(measure, name)
    assert text in str(error.value)
    assert "give it one with name='...'" in str(error.value)


@in_turn("measure", [None, 3.0, "path_norm"])
@in_turn("name", [None, "path_norm"])
def test_a_measure_must_be_callable(measure: object, name: str | None) -> None:
    """A name does not help what cannot be called."""
    with pytest.raises(SettingsError, match="expected a function of one TrainedNetwork") as error:
        measure_name(measure, name)  # type: ignore[arg-type]
    assert type(measure).__name__ in str(error.value)
