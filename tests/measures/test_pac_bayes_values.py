"""Values of the PAC-Bayes measures, against loops and against the published algorithm."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import (
    StackMeasure,
    pac_bayes_flatness,
    pac_bayes_flatness_as_published,
    pac_bayes_initialization,
    pac_bayes_initialization_as_published,
    pac_bayes_magnitude_flatness,
    pac_bayes_magnitude_flatness_as_published,
    pac_bayes_magnitude_initialization,
    pac_bayes_magnitude_initialization_as_published,
    pac_bayes_magnitude_origin,
    pac_bayes_magnitude_origin_as_published,
    pac_bayes_origin,
    pac_bayes_origin_as_published,
)
from pytest_fragility.measures.noise_search import sigma_search
from pytest_fragility.network_stacks import NetworkStack
from pytest_fragility.trained_networks import TrainedNetwork
from tests.sample_networks import labelled_by, perceptron, randomize, sample_network

FLOOR = 1e-3

# with 77 samples no drop lies just on the search's tolerance, where rounding would decide
N = 77

PUBLISHED: dict[StackMeasure, StackMeasure] = {
    pac_bayes_origin: pac_bayes_origin_as_published,
    pac_bayes_initialization: pac_bayes_initialization_as_published,
    pac_bayes_flatness: pac_bayes_flatness_as_published,
    pac_bayes_magnitude_origin: pac_bayes_magnitude_origin_as_published,
    pac_bayes_magnitude_initialization: pac_bayes_magnitude_initialization_as_published,
    pac_bayes_magnitude_flatness: pac_bayes_magnitude_flatness_as_published,
}

every_default = pytest.mark.parametrize("measure", PUBLISHED, ids=lambda m: m.__name__)
every_published = pytest.mark.parametrize("measure", PUBLISHED.values(), ids=lambda m: m.__name__)
every_pair = pytest.mark.parametrize(
    ("default", "published"), PUBLISHED.items(), ids=[measure.__name__ for measure in PUBLISHED]
)


def linear_model() -> nn.Module:
    """Return a linear classifier."""
    return nn.Sequential(nn.Linear(5, 3))


def perceptron_model() -> nn.Module:
    """Return a perceptron with biases."""
    return perceptron([5, 7, 3])


def normalized_model() -> nn.Module:
    """Return a perceptron with batch normalization behind a layer that has a bias."""
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))


def convolutional_model(*, bias: bool = True) -> nn.Module:
    """Return a convolutional network with batch normalization."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=bias),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 3),
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (linear_model, (5,)),
    "perceptron": (perceptron_model, (5,)),
    "normalized": (normalized_model, (5,)),
    "convolutional": (convolutional_model, (1, 5, 5)),
}

every_model = pytest.mark.parametrize("name", MODELS)


def network_of(
    build: Callable[[], nn.Module], shape: tuple[int, ...], *, seed: int = 0, scale: float = 0.7
) -> TrainedNetwork:
    """Return a network that is right about its samples, with another one as its initial."""
    model = randomize(build(), seed, scale=scale)
    initial = randomize(build(), seed + 50, scale=scale / 2)
    values = np.random.default_rng(seed).normal(size=(N, *shape))
    inputs = torch.from_numpy(values).float()
    labels = labelled_by(model, inputs)
    return sample_network(model, inputs, labels, initial_model=initial, seed=seed)


def accuracy(model: nn.Module, network: TrainedNetwork) -> float:
    """Return the fraction of samples that a module classifies as labelled."""
    with torch.no_grad():
        predictions = model(network.inputs).argmax(dim=1).tolist()
    pairs = zip(predictions, network.labels.tolist(), strict=True)
    return sum(prediction == label for prediction, label in pairs) / network.n


# the formulas


@dataclass(frozen=True)
class Vectors:
    """Trained entries, initial entries, and the noise that goes with them."""

    trained: list[float]
    initial: list[float]
    sigma: float
    scale: float

    def value(self, measure: StackMeasure, n: int) -> float:
        """Return a measure, default or published, by its formula in Jiang et al. 2020."""
        if measure in (pac_bayes_flatness, pac_bayes_flatness_as_published):
            return 1 / self.sigma**2
        if measure in (pac_bayes_magnitude_flatness, pac_bayes_magnitude_flatness_as_published):
            return 1 / self.scale**2
        squared = 0.0
        for trained, initial in zip(self.trained, self.initial, strict=True):
            squared += (
                (trained - initial) ** 2 if "initialization" in measure.__name__ else (trained**2)
            )
        if "magnitude" not in measure.__name__:
            return squared / (4 * self.sigma**2) + math.log(n / self.sigma) + 10
        total = 0.0
        for trained, initial in zip(self.trained, self.initial, strict=True):
            numerator = FLOOR**2 + (self.scale**2 + 1) * squared / len(self.trained)
            total += math.log(numerator / (FLOOR**2 + self.scale**2 * (trained - initial) ** 2))
        return total / 4 + math.log(n / self.scale) + 10


def entries(tensors: list[torch.Tensor]) -> list[float]:
    """Return all entries of all tensors as numbers."""
    return [float(entry) for tensor in tensors for entry in tensor.detach().double().numpy().flat]


def default_vectors(network: TrainedNetwork) -> Vectors:
    """Return all parameters as they stand, with the noise of the default search."""
    return Vectors(
        trained=entries(list(network.model.parameters())),
        initial=entries(list(network.initial_model.parameters())),
        sigma=sigma_search(network).sigma,
        scale=sigma_search(network, magnitude_aware=True).sigma,
    )


@every_default
@every_model
def test_measures_are_their_formulas_over_all_parameters(measure: StackMeasure, name: str) -> None:
    """Biases and normalization included, given the sigma of the search."""
    network = network_of(*MODELS[name])
    expected = default_vectors(network).value(measure, N)
    assert measure(network) == pytest.approx(expected, rel=1e-9)


@every_default
@every_model
def test_the_bound_form_is_the_root_of_the_value_over_n(measure: StackMeasure, name: str) -> None:
    """As it enters the bound."""
    network = network_of(*MODELS[name])
    expected = math.sqrt(default_vectors(network).value(measure, N) / N)
    assert measure.bound_form(network) == pytest.approx(expected, rel=1e-9)


# the published algorithm, once more


def folded(model: nn.Module) -> nn.Module:
    """Return a copy whose normalization is moved into weight and bias of the layer before it."""
    other = copy.deepcopy(model)
    layers = list(other.children())
    with torch.no_grad():
        for layer, after in itertools.pairwise(layers):
            if not isinstance(after, nn.BatchNorm1d | nn.BatchNorm2d):
                continue
            assert isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None
            assert after.running_mean is not None and after.running_var is not None
            for unit in range(len(layer.bias)):
                mean, variance = float(after.running_mean[unit]), float(after.running_var[unit])
                factor = float(after.weight[unit]) / math.sqrt(variance + after.eps)
                layer.weight[unit] = (layer.weight[unit].double() * factor).float()
                shifted = (float(layer.bias[unit]) - mean) * factor + float(after.bias[unit])
                layer.bias[unit] = shifted
            after.weight.fill_(1)
            after.bias.zero_()
            after.running_mean.zero_()
            after.running_var.fill_(1)
    return other


def published_search(network: TrainedNetwork, *, magnitude_aware: bool) -> float:
    """Return sigma by the published algorithm, with the noise that the package draws."""
    stream = "published magnitude-aware noise" if magnitude_aware else "published noise"
    generator = NetworkStack.of_network(network).generator(0, stream)
    model = folded(network.model)
    own = accuracy(model, network)
    low, high = 0.0, 2.0
    for _ in range(15):
        sigma = (low + high) / 2
        noise = [
            torch.randn(10, *parameter.shape, generator=generator)
            for parameter in model.parameters()
        ]
        accuracies = []
        for draw in range(10):
            noisy = copy.deepcopy(model)
            with torch.no_grad():
                for parameter, part in zip(noisy.parameters(), noise, strict=True):
                    variance = torch.full_like(parameter, sigma**2)
                    if magnitude_aware:
                        variance = sigma**2 * parameter.abs() ** 2 + FLOOR**2
                    # a variance for a standard deviation
                    parameter.add_(part[draw] * variance)
            accuracies.append(accuracy(noisy, network))
        drop = abs(own - sum(accuracies) / 10)
        if abs(drop - 0.1) < 0.01:
            return sigma
        if drop > 0.1:
            high = sigma
        else:
            low = sigma
    return sigma


def matrices_of(model: nn.Module) -> list[torch.Tensor]:
    """Return the weights of linear layers and convolutions, normalization folded, no biases."""
    modules = folded(model).modules()
    return [module.weight for module in modules if isinstance(module, nn.Linear | nn.Conv2d)]


def published_vectors(network: TrainedNetwork) -> Vectors:
    """Return entries of weight matrices alone, with the noise of the published search."""
    return Vectors(
        trained=entries(matrices_of(network.model)),
        initial=entries(matrices_of(network.initial_model)),
        sigma=published_search(network, magnitude_aware=False),
        scale=published_search(network, magnitude_aware=True),
    )


@every_model
@pytest.mark.parametrize("seed", range(3))
def test_published_variants_are_the_published_algorithm(name: str, seed: int) -> None:
    """All six, with the same noise."""
    network = network_of(*MODELS[name], seed=seed)
    vectors = published_vectors(network)
    assert 2.0**-14 < vectors.sigma < 1.999
    for measure in PUBLISHED.values():
        expected = vectors.value(measure, N)
        assert measure(network) == pytest.approx(expected, rel=1e-6), measure.__name__
        bound_form = math.sqrt(expected / N)
        assert measure.bound_form(network) == pytest.approx(bound_form, rel=1e-6), measure.__name__


def test_the_published_norm_leaves_biases_out() -> None:
    """A bias of all classes alike changes no decision and no published value, but the default."""
    network = network_of(*MODELS["linear"])
    model = copy.deepcopy(network.model)
    model.get_parameter("0.bias").data += 16.0
    shifted = sample_network(
        model, network.inputs, network.labels, initial_model=network.initial_model
    )
    for measure in (pac_bayes_origin_as_published, pac_bayes_initialization_as_published):
        assert measure(shifted) == pytest.approx(measure(network), rel=1e-6)
    assert pac_bayes_origin(shifted) > pac_bayes_origin(network) + 100


@every_pair
@every_model
def test_published_values_are_not_the_defaults(
    default: StackMeasure, published: StackMeasure, name: str
) -> None:
    """The deviations show."""
    network = network_of(*MODELS[name])
    assert abs(math.log(published(network) / default(network))) > 0.05


# the known answer


def linear_network(known: float, seed: int, *, d: int = 150, n: int = 1000) -> TrainedNetwork:
    """Return a linear classifier of two classes that tolerates noise of a known deviation."""
    generator = np.random.default_rng(seed)
    rows, x = generator.normal(size=(2, d)), generator.normal(size=(n, d))
    ratios = np.abs(x @ (rows[1] - rows[0])) / (math.sqrt(2) * np.linalg.norm(x, axis=1))
    sigma = float(brentq(lambda s: norm.cdf(-ratios / s).mean() - 0.1, 1e-4, 1e4))
    model = nn.Sequential(nn.Linear(d, 2, bias=False))
    model[0].weight.data = torch.from_numpy(rows * known / sigma).float()
    inputs = torch.from_numpy(x).float()
    return sample_network(model, inputs, labelled_by(model, inputs), seed=seed)


def test_published_sigma_is_the_root_of_the_deviation_that_is_tolerated() -> None:
    """Noise has the standard deviation sigma^2, so that a linear classifier gives its root.

    A drop of 0.09 or 0.11 will do, which a deviation 10 percent off has, and sigma 5 percent off.
    """
    ratios = []
    for seed, known in enumerate(np.geomspace(0.01, 3.0, 10)):
        network = linear_network(float(known), seed)
        ratios.append(pac_bayes_flatness_as_published(network) ** -0.5 / math.sqrt(known))
        assert pac_bayes_flatness(network) ** -0.5 == pytest.approx(known, rel=0.1)
    assert ratios == pytest.approx([1.0] * 10, rel=0.09)
    assert math.exp(float(np.mean(np.log(ratios)))) == pytest.approx(1.0, rel=0.05)


@every_published
def test_a_search_that_saturates_gives_a_number(measure: StackMeasure) -> None:
    """Where noise of standard deviation 4 costs too little, sigma is what halvings leave: near 2.

    Magnitude-aware noise costs too little of small weights, of which it is the square.
    """
    is_magnitude_aware = "magnitude" in measure.__name__
    network = linear_network(1e-3 if is_magnitude_aware else 1e3, 0)
    sigma = published_search(network, magnitude_aware=is_magnitude_aware)
    assert sigma == 2 - 2.0**-14
    value = measure(network)
    assert math.isfinite(value)
    if "flatness" in measure.__name__:
        assert value == pytest.approx(0.25, rel=1e-3)
    else:
        trained = entries(matrices_of(network.model))
        vectors = Vectors(trained, trained, sigma, sigma)
        assert value == pytest.approx(vectors.value(measure, network.n), rel=1e-6)


# normalization


@every_published
def test_normalization_behind_a_convolution_with_bias_is_folded(measure: StackMeasure) -> None:
    """A network that says the same without the normalization, but for its noise, has its norm."""
    network = network_of(*MODELS["convolutional"])
    without = folded(network.model)
    torch.testing.assert_close(
        without.eval()(network.inputs), network.model(network.inputs), rtol=1e-3, atol=1e-3
    )
    already_folded = sample_network(
        without,
        network.inputs,
        network.labels,
        initial_model=folded(network.initial_model),
    )
    # its own normalization divides by sqrt(1 + eps) still, which is folded again
    assert measure(already_folded) == pytest.approx(measure(network), rel=1e-4)


@every_pair
def test_normalization_behind_a_convolution_without_bias_is_refused(
    default: StackMeasure, published: StackMeasure
) -> None:
    """The message names the layer and the way out, which is open."""
    network = network_of(lambda: convolutional_model(bias=False), (1, 5, 5))
    with pytest.raises(UndefinedMeasureError, match="bias of layer 0") as refusal:
        published(network)
    assert "without _as_published" in str(refusal.value)
    assert math.isfinite(default(network))


# what the docstrings say


def documentation(measure: StackMeasure) -> str:
    """Return a docstring as one line."""
    return " ".join((inspect.getdoc(measure) or "").split())


@every_pair
def test_docstrings_of_published_variants_name_the_default(
    default: StackMeasure, published: StackMeasure
) -> None:
    """And none has the same source."""
    assert documentation(published).startswith(f"Return `{default.__name__}` as published code")
    assert published.source != default.source


@pytest.mark.parametrize(
    ("measure", "noise"),
    [
        (pac_bayes_origin_as_published, "standard deviation sigma^2"),
        (pac_bayes_magnitude_origin_as_published, "standard deviation s^2 |w|^2 + e^2"),
    ],
    ids=["plain", "magnitude"],
)
def test_docstrings_of_the_published_origins_say_what_differs(
    measure: StackMeasure, noise: str
) -> None:
    """The noise, its range, and what the norm leaves out."""
    text = documentation(measure)
    for difference in (noise, "in (0, 2]", "over weight matrices alone"):
        assert difference in text


@every_published
def test_docstrings_of_all_published_variants_lead_to_what_differs(measure: StackMeasure) -> None:
    """Each says it, or names the one that does, of its own kind of noise."""
    kind = "magnitude_" if "magnitude" in measure.__name__ else ""
    origin = f"pac_bayes_{kind}origin_as_published"
    assert measure.__name__ == origin or f"`{origin}`" in documentation(measure)
    assert "biases" in documentation(measure)
