"""The margin: which order statistic it is, and when it is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures import (
    StackMeasure,
    inverse_margin,
    parameter_norm,
    path_norm_over_margin,
    product_of_frobenius_norms_over_margin,
    product_of_spectral_norms,
    product_of_spectral_norms_over_margin,
    product_of_spectral_norms_over_margin_fft,
    spectral_bound_initialization,
    spectral_bound_initialization_fft,
    spectral_bound_origin,
    spectral_bound_origin_fft,
    sum_of_frobenius_norms_over_margin,
    sum_of_spectral_norms_over_margin,
    sum_of_spectral_norms_over_margin_fft,
)
from pytest_fragility.measures.common.outputs import train_logits, train_margins
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from tests.in_turn import in_turn
from tests.sample_networks import perceptron, randomize, sample_network

WITH_MARGIN = (
    path_norm_over_margin,
    inverse_margin,
    product_of_frobenius_norms_over_margin,
    sum_of_frobenius_norms_over_margin,
    product_of_spectral_norms_over_margin,
    sum_of_spectral_norms_over_margin,
    spectral_bound_origin,
    spectral_bound_initialization,
    product_of_spectral_norms_over_margin_fft,
    sum_of_spectral_norms_over_margin_fft,
    spectral_bound_origin_fft,
    spectral_bound_initialization_fft,
)

brief = settings(deadline=None, max_examples=30)
briefest = settings(deadline=None, max_examples=5)
seeds = st.integers(0, 2**32 - 1)
every_margin_measure = in_turn("measure", WITH_MARGIN, ids=lambda measure: measure.__name__)


class Identity(nn.Module):
    """A network whose logits are its inputs times a weight of one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.layer.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the inputs."""
        outputs: torch.Tensor = self.layer(inputs.unsqueeze(-1)).squeeze(-1)
        return outputs


def identity_perceptron(classes: int) -> nn.Module:
    """Return a perceptron whose logits are its inputs."""
    model = perceptron([classes, classes], bias=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.eye(classes))
    return model


def network_with_margins(margins: Sequence[float], *, seed: int = 0) -> TrainedNetwork:
    """Return a network of three classes with these margins, the label now first and now last."""
    logits = torch.zeros(len(margins), 3, dtype=torch.float64)
    labels = torch.tensor([2 * (place % 2) for place in range(len(margins))])
    for row, label, margin in zip(logits, labels, margins, strict=True):
        row[label] = margin
    # the class in the middle never comes second
    logits[:, 1] = logits.amin(dim=1) - 5
    model = identity_perceptron(3).double()
    initial = randomize(perceptron([3, 3], bias=False).double(), seed)
    return sample_network(model, logits, labels, initial_model=initial, seed=seed)


@brief
@given(margins=st.lists(st.floats(0.01, 100), min_size=10, max_size=64))
def test_the_margin_is_the_tenth_percentile(margins: list[float]) -> None:
    """The floor(n / 10)-th smallest, counted from one."""
    gamma = sorted(margins)[len(margins) // 10 - 1]
    assert inverse_margin(network_with_margins(margins)) == pytest.approx(gamma**-2, rel=1e-10)


@brief
@given(
    seed=seeds,
    n=st.integers(10, 40),
    classes=st.integers(2, 5),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_margins_are_the_labels_logit_minus_the_largest_other(
    seed: int, n: int, classes: int, dtype: torch.dtype
) -> None:
    """One sample at a time, right or wrong, whatever the network's precision."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, classes)).astype(np.float32)
    labels = generator.integers(classes, size=n)
    network = sample_network(
        identity_perceptron(classes).to(dtype),
        torch.from_numpy(logits).to(dtype),
        torch.from_numpy(labels),
    )
    expected = []
    for row, label in zip(logits.astype(np.float64).tolist(), labels.tolist(), strict=True):
        own = row.pop(label)
        expected.append(own - max(row))
    margins = train_margins(NetworkStack.of_network(network))
    assert margins.dtype == torch.float64 and margins.shape == (1, n)
    np.testing.assert_allclose(margins[0].numpy(), expected, rtol=1e-12, atol=1e-15)


@every_margin_measure
@in_turn("n", [1, 5, 9])
def test_fewer_than_ten_samples_are_refused(measure: StackMeasure, n: int) -> None:
    """The reason says how many there are, and how many it takes."""
    with pytest.raises(UndefinedMeasureError) as error:
        measure(network_with_margins([1.0] * n))
    text = str(error.value)
    assert "10th percentile over the training samples" in text
    assert f"there are only {n}" in text
    assert "expected at least 10" in text


@every_margin_measure
@in_turn("margin", [-0.25, 0.0])
def test_a_margin_that_is_not_positive_is_refused(measure: StackMeasure, margin: float) -> None:
    """Published code takes the absolute value of a negative one, and divides by zero."""
    with pytest.raises(UndefinedMeasureError) as error:
        measure(network_with_margins([margin] + [1.0] * 15))
    for form in (measure.bound_form, measure.logarithm):
        with pytest.raises(UndefinedMeasureError, match="must be positive"):
            form(network_with_margins([margin] + [1.0] * 15))
    text = str(error.value)
    assert f"is {margin:.3g}, and must be positive" in text
    assert "mislabels about a tenth of its training samples" in text
    assert "Train it further" in text and "without margin" in text


def test_a_few_mislabelled_samples_are_passed_over() -> None:
    """Of thirty samples, two may be wrong: the third smallest margin counts."""
    for mislabelled in (0, 2):
        margins = [-3.0] * mislabelled + [0.5] * (30 - mislabelled)
        assert inverse_margin(network_with_margins(margins)) == pytest.approx(4)
    with pytest.raises(UndefinedMeasureError, match="is -3, and must be positive"):
        inverse_margin(network_with_margins([-3.0] * 3 + [0.5] * 27))


@in_turn("measure", [parameter_norm, product_of_spectral_norms])
def test_measures_without_margin_do_not_mind_mislabelled_samples(measure: StackMeasure) -> None:
    """Nor fewer than ten."""
    assert measure(network_with_margins([-1.0] * 12)) > 0
    assert measure(network_with_margins([1.0] * 3)) > 0


@brief
@given(seed=seeds)
def test_logits_of_any_network_are_computed_in_double_precision(seed: int) -> None:
    """A float32 network that is no perceptron, against NumPy in float64."""
    model = randomize(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), seed)
    inputs = torch.from_numpy(np.random.default_rng(seed).normal(size=(12, 4))).float()
    network = sample_network(model, inputs, torch.arange(12) % 3)
    logits = train_logits(NetworkStack.of_network(network))
    parts = [part.detach().numpy().astype(np.float64) for part in model.parameters()]
    hidden = np.tanh(inputs.numpy().astype(np.float64) @ parts[0].T + parts[1])
    np.testing.assert_allclose(logits[0].numpy(), hidden @ parts[2].T + parts[3], rtol=1e-10)


def test_a_network_whose_outputs_are_not_numbers_is_refused() -> None:
    """Diverged weights have no margin."""
    network = network_with_margins([1.0] * 12)
    with torch.no_grad():
        next(iter(network.model.parameters())).fill_(math.nan)
    with pytest.raises(UndefinedMeasureError, match="is nan"):
        inverse_margin(network)


@every_margin_measure
@briefest
@given(seed=seeds)
def test_a_stack_gives_what_its_networks_give_alone(measure: StackMeasure, seed: int) -> None:
    """Each network with weights, initial weights and samples of its own."""
    generator = np.random.default_rng(seed)
    networks = []
    for place in range(3):
        network = network_with_margins(generator.uniform(0.1, 1, size=23).tolist(), seed=place)
        with torch.no_grad():
            for parameter in network.model.parameters():
                parameter.mul_(1 + place)
        networks.append(network)
    values = measure.over_stack(NetworkStack.of_networks(networks))
    assert values.shape == (3,) and values.dtype == np.float64
    assert len(set(values.tolist())) == 3
    assert values.tolist() == pytest.approx([measure(one) for one in networks], rel=1e-10)


def test_a_module_that_is_no_perceptron_has_the_same_margins() -> None:
    """Stacked or not."""
    networks = []
    for place, margins in enumerate(([0.5] * 4 + [2.0] * 6, [4.0] * 10)):
        logits = torch.zeros(10, 2)
        logits[:, 0] = torch.tensor(margins)
        labels = torch.zeros(10, dtype=torch.int64)
        networks.append(sample_network(Identity(), logits, labels, seed=place))
    values = inverse_margin.over_stack(NetworkStack.of_networks(networks))
    assert values.tolist() == pytest.approx([4, 1 / 16], rel=1e-12)
    assert [inverse_margin(one) for one in networks] == pytest.approx([4, 1 / 16], rel=1e-12)
