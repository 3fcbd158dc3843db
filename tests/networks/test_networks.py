"""Networks and their initial weights."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from pytest_fragility.errors import TrainingError
from pytest_fragility.networks import build_network
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.recipes import MLP, Factory, Recipe, ScaleInvariantMLP
from tests.reference_training import initial_weights
from tests.training.test_own_networks import CPU, trained


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Return whether two sets of weights agree bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_layers() -> None:
    """Flatten, then linear layers with ReLU between them and none behind the last."""
    for hidden, input_shape, widths in [
        ((), (5,), (5, 3)),
        ((8,), (5,), (5, 8, 3)),
        ((8, 6, 4), (2, 3), (6, 8, 6, 4, 3)),
    ]:
        network = build_network(MLP(hidden=hidden), input_shape, 3)
        kinds = [nn.Flatten, nn.Linear, *[nn.ReLU, nn.Linear] * len(hidden)]
        assert [type(module) for module in network] == kinds
        linear = [module for module in network if isinstance(module, nn.Linear)]
        found = [(layer.in_features, layer.out_features) for layer in linear]
        assert found == list(itertools.pairwise(widths))
        assert all(layer.bias is not None for layer in linear)
        assert network(torch.ones(4, *input_shape)).shape == (4, 3)


def test_networks_are_independent() -> None:
    """What is done to one network shows in no other, nor in those built later."""
    architecture = MLP(hidden=(8,))
    one, other = (build_network(architecture, (5,), 3) for _ in range(2))
    before = {name: weight.clone() for name, weight in other.state_dict().items()}
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.fill_(7)
    one.eval()
    one[1].register_forward_hook(lambda *_: torch.full((1, 8), torch.nan))
    one.append(nn.Tanh())
    vars(one[2])["inplace"] = True
    one.double()
    for network in (other, build_network(architecture, (5,), 3)):
        assert equal(dict(network.state_dict()), before)
        assert len(network) == 4 and network.training and not vars(network[2])["inplace"]
        assert network(torch.ones(1, 5)).isfinite().all()
        assert all(parameter.requires_grad for parameter in network.parameters())


def test_building_draws_nothing_from_the_global_generator() -> None:
    """Torch's generator is as before, at the first building of an architecture too."""
    before = torch.get_rng_state()
    for architecture in (MLP(hidden=(11, 13)), ScaleInvariantMLP(hidden=(9, 17))):
        network = build_network(architecture, (5,), 3)
        initial_weights(network, Recipe(initialization_scale=1.0), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_are_float32_whatever_the_default() -> None:
    """Neither weights nor their draw depend on torch's default dtype."""
    expected = initial_weights(
        build_network(MLP(hidden=(9,)), (5,), 3), Recipe(initialization_scale=1.0), 0
    )
    torch.set_default_dtype(torch.float64)
    try:
        network = build_network(MLP(hidden=(9, 10)), (5,), 3)
        found = initial_weights(
            build_network(MLP(hidden=(9,)), (5,), 3), Recipe(initialization_scale=1.0), 0
        )
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert equal(found, expected)


def test_initial_weights_have_the_variance_of_he() -> None:
    """Weights are normal with variance 2 / fan_in, layers unlike; biases are zero."""
    network = build_network(MLP(hidden=(200, 200)), (100,), 200)
    weights = initial_weights(network, Recipe(initialization_scale=1.0), 0)
    assert list(weights) == [name for name, _ in network.named_parameters()]
    for name, weight in weights.items():
        assert weight.shape == network.get_parameter(name).shape
        if weight.dim() == 1:
            assert not weight.any()
            continue
        scaled = weight * math.sqrt(weight.shape[1] / 2)
        # 20,000 values or more: these are at least five standard errors
        assert scaled.std().item() == pytest.approx(1, abs=0.025)
        assert scaled.mean().item() == pytest.approx(0, abs=0.036)
        assert (scaled.abs() < 1).float().mean().item() == pytest.approx(0.6827, abs=0.017)
    matrices = [weight for weight in weights.values() if weight.dim() > 1]
    assert not torch.equal(matrices[1], matrices[2])


def test_initial_weights_are_a_function_of_seed_and_scale() -> None:
    """The same seed draws the same weights, times the scale; another draws others."""
    network = build_network(MLP(hidden=(8,)), (5,), 3)
    one = initial_weights(network, Recipe(initialization_scale=1.0), 0)
    assert equal(one, initial_weights(network, Recipe(initialization_scale=1.0), 0))
    double = initial_weights(network, Recipe(initialization_scale=2.0), 0)
    assert equal(double, {name: 2 * weight for name, weight in one.items()})
    other = initial_weights(network, Recipe(initialization_scale=1.0), 1)
    assert not torch.equal(other["1.weight"], one["1.weight"])


def test_a_function_that_builds_another_network_later_is_named() -> None:
    """Trained weights are of no use there."""
    has_bias = True

    def either() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=has_bias))

    (one,) = trained(Factory(either, version="1"), seeds=1)
    has_bias = False
    with pytest.raises(TrainingError, match=r"either.* builds another network .*1\.bias"):
        TrainedNetwork.build(one, "baseline", CPU)
