"""Reference measures and controls against NumPy and brute force."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_fragility.errors import SettingsError
from pytest_fragility.families import Family
from pytest_fragility.measures import (
    Measure,
    distance_from_initialization,
    measure_name,
    noise,
    oracle_test_error,
    over_sqrt_n,
    parameter_count,
    path_norm,
    product_of_frobenius_norms,
)
from pytest_fragility.measures.measure import is_oracle
from pytest_fragility.networks import build_network, initial_weights
from pytest_fragility.recipes import MLP, Recipe
from pytest_fragility.runs import Run, TrainedRun, TrainingRecord
from pytest_fragility.tasks import Task, TaskData
from pytest_fragility.trained_networks import OracleNetwork, TrainedNetwork

Floats = npt.NDArray[np.float64]

MEASURES: dict[str, Callable[[TrainedNetwork], float]] = {
    "path_norm": path_norm,
    "product_of_frobenius_norms": product_of_frobenius_norms,
    "distance_from_initialization": distance_from_initialization,
    "parameter_count": parameter_count,
    "noise": noise,
}
RECORD = TrainingRecord(7, True, False, 0.1, 0.0, 3, 10)

unhurried = settings(deadline=None)
widths = st.lists(st.integers(1, 4), min_size=2, max_size=4)
seeds = st.integers(0, 2**32 - 1)

every_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


def network_of(sizes: list[int], *, seed: int = 0) -> OracleNetwork:
    """Return a network with these layer widths and random weights and biases, in float64."""
    inputs, classes = np.zeros((2, sizes[0]), dtype=np.float32), np.array([0, sizes[-1] - 1])
    task = Task("zeros", lambda: TaskData(inputs, classes, inputs, classes))
    recipe = Recipe(architecture=MLP(hidden=tuple(sizes[1:-1])))
    model = build_network(recipe.architecture, (sizes[0],), sizes[-1])
    weights = initial_weights(model, scale=1.0, seed=0)
    network = OracleNetwork.build(
        TrainedRun(Run(task, 2, recipe, 0), weights, weights, RECORD),
        "baseline",
        torch.device("cpu"),
    )
    generator = np.random.default_rng(seed)
    for module in (network.model, network.initial_model):
        module.double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.from_numpy(generator.normal(size=tuple(parameter.shape))))
    return network


def layers(model: torch.nn.Module) -> list[tuple[Floats, Floats]]:
    """Return weights and biases, first layer to last, as NumPy arrays."""
    arrays = [parameter.detach().numpy().astype(np.float64) for parameter in model.parameters()]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def sum_over_paths(model: torch.nn.Module) -> float:
    """Return the sum over paths of squared products, one path at a time.

    A path starts at an input or at a layer's bias and takes one neuron of every later layer.
    """
    parts, total = layers(model), 0.0
    for start, (weight, bias) in enumerate(parts):
        later = [range(len(later_bias)) for _, later_bias in parts[start:]]
        for path in product(*later):
            rest = 1.0
            for layer, (source, target) in enumerate(pairwise(path), start + 1):
                rest *= parts[layer][0][target, source] ** 2
            total += bias[path[0]] ** 2 * rest
            if start == 0:
                total += sum(weight[path[0], i] ** 2 * rest for i in range(weight.shape[1]))
    return total


def state(network: TrainedNetwork) -> dict[str, torch.Tensor]:
    """Return a copy of everything that a network holds."""
    parts = {"inputs": network.inputs, "labels": network.labels}
    parts |= {f"model {key}": value for key, value in network.model.state_dict().items()}
    parts |= {f"initial {key}": value for key, value in network.initial_model.state_dict().items()}
    return {name: part.clone() for name, part in parts.items()}


@unhurried
@given(sizes=widths, seed=seeds)
def test_the_path_norm_is_a_sum_over_paths(sizes: list[int], seed: int) -> None:
    """Against enumeration of all paths, biases included."""
    network = network_of(sizes, seed=seed)
    assert path_norm(network) == pytest.approx(math.sqrt(sum_over_paths(network.model)), rel=1e-12)


@unhurried
@given(seed=seeds, factor=st.floats(0.01, 100))
def test_the_path_norm_ignores_relu_rescaling(seed: int, factor: float) -> None:
    """A neuron's inputs times a factor and its outputs divided by it: the same function."""
    network = network_of([3, 4, 3, 2], seed=seed)
    before = path_norm(network)
    first, _, second = list(network.model.children())[1:4]
    assert isinstance(first, torch.nn.Linear) and isinstance(second, torch.nn.Linear)
    outputs = network.model(network.inputs.double() + 1)
    with torch.no_grad():
        first.weight[1] *= factor
        first.bias[1] *= factor
        second.weight[:, 1] /= factor
    torch.testing.assert_close(network.model(network.inputs.double() + 1), outputs)
    assert path_norm(network) == pytest.approx(before, rel=1e-9)


def test_the_path_norm_of_one_neuron_can_be_done_by_hand() -> None:
    """Root of (2 * 3)^2 + (5 * 3)^2 + 7^2."""
    network = network_of([1, 1, 1])
    with torch.no_grad():
        for parameter, value in zip(network.model.parameters(), (-2, 5, 3, -7), strict=True):
            parameter.fill_(value)
    assert path_norm(network) == pytest.approx(math.sqrt(36 + 225 + 49), rel=1e-12)


@unhurried
@given(sizes=widths, seed=seeds)
def test_norms_of_weight_matrices_are_those_of_numpy(sizes: list[int], seed: int) -> None:
    """Frobenius norms multiplied, and squared distances added; biases are left out."""
    network = network_of(sizes, seed=seed)
    trained = [weight for weight, _ in layers(network.model)]
    initial = [weight for weight, _ in layers(network.initial_model)]
    frobenius = math.prod(float(np.linalg.norm(weight)) for weight in trained)
    assert product_of_frobenius_norms(network) == pytest.approx(frobenius, rel=1e-12)
    flat = np.concatenate([(a - b).ravel() for a, b in zip(trained, initial, strict=True)])
    assert distance_from_initialization(network) == pytest.approx(np.linalg.norm(flat), rel=1e-12)


@pytest.mark.parametrize("measure", [product_of_frobenius_norms, distance_from_initialization])
def test_biases_are_left_out(measure: Measure) -> None:
    """Changing them changes neither norm nor distance."""
    network = network_of([3, 4, 2])
    before = measure(network)
    with torch.no_grad():
        for parameter in network.model.parameters():
            if parameter.dim() == 1:
                parameter.add_(100)
    assert measure(network) == before


@pytest.mark.parametrize(
    ("sizes", "count"), [([3, 2], 3 * 2 + 2), ([6, 8, 3], 6 * 8 + 8 + 8 * 3 + 3)]
)
def test_parameters_are_counted_with_biases(sizes: list[int], count: int) -> None:
    """Weights and biases of every layer."""
    assert parameter_count(network_of(sizes)) == count


def test_the_oracle_gives_the_test_error(small_family: Family) -> None:
    """Recomputed from the test set: (mistakes + 1/2) / (size + 1)."""
    data = small_family.task.data
    for recipe, n, seed in small_family.plan.runs:
        network = small_family.oracle_network(recipe, n, seed)
        with torch.no_grad():
            predicted = network.model(torch.from_numpy(data.test_inputs)).argmax(dim=1).numpy()
        mistakes = int((predicted != data.test_labels).sum())
        assert oracle_test_error(network) == (mistakes + 0.5) / (60 + 1)


def test_noise_has_nothing_to_do_with_the_network(
    blobs: Task, small_recipe: Recipe, small_family: Family
) -> None:
    """In (0, 1], the same for the same run, different for others, 1/2 on average."""
    weights = small_family.trained_run("baseline", 16, 0).weights

    def draw(seed: int) -> float:
        run = Run(blobs, 16, small_recipe, seed)
        trained = TrainedRun(run, weights, weights, RECORD)
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


@every_measure
def test_measures_only_read(measure: Measure, small_family: Family) -> None:
    """No built-in measure changes the network, its mode or its gradients."""
    network = small_family["blobs", "adam", 32, 1]
    before = state(network)
    value = measure(network)
    after = state(network)
    assert isinstance(value, float) and math.isfinite(value) and value > 0
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not network.model.training and not network.initial_model.training
    assert all(parameter.grad is None for parameter in network.model.parameters())


@every_measure
def test_a_bound_form_is_divided_by_the_root_of_n(measure: Measure, small_family: Family) -> None:
    """Its name says so."""
    bound = over_sqrt_n(measure)
    assert measure_name(bound) == f"{measure.__name__}_over_sqrt_n"
    for n in small_family.sizes:
        raw = measure(small_family["blobs", "baseline", n, 0])
        assert bound(small_family["blobs", "baseline", n, 0]) == pytest.approx(raw / n**0.5)


def test_a_bound_form_leaves_the_measure_as_it_is() -> None:
    """Name and kind of the original stay; the bound's form of an oracle is one too."""
    bound = over_sqrt_n(oracle_test_error)
    assert is_oracle(bound) and oracle_test_error.__name__ == "oracle_test_error"
    assert not is_oracle(over_sqrt_n(path_norm))
    network = network_of([2, 2])
    assert bound(replace(network, n=16)) == pytest.approx(3.5 / 11 / 4)


def test_a_bound_form_takes_tensors_and_numpy_scalars() -> None:
    """Whatever a measure may return."""

    def tensor(network: TrainedNetwork) -> torch.Tensor:
        return torch.tensor(float(network.n))

    def scalar(network: TrainedNetwork) -> np.float32:
        return np.float32(network.n)

    network = replace(network_of([2, 2]), n=25)
    assert over_sqrt_n(tensor)(network) == over_sqrt_n(scalar)(network) == 5.0


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


@pytest.mark.parametrize(
    ("measure", "name", "text"),
    [
        (lambda network: 1.0, None, "'<lambda>'"),
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


@pytest.mark.parametrize("measure", [None, 3.0, "path_norm"])
@pytest.mark.parametrize("name", [None, "path_norm"])
def test_a_measure_must_be_callable(measure: object, name: str | None) -> None:
    """A name does not help what cannot be called."""
    with pytest.raises(SettingsError, match="expected a function of one TrainedNetwork") as error:
        measure_name(measure, name)  # type: ignore[arg-type]
    assert type(measure).__name__ in str(error.value)
