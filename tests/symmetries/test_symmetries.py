"""Symmetries: the function stays, the weights move, and measures notice or not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from pytest_fragility.errors import SettingsError, TrainingError
from pytest_fragility.families.family import Family
from pytest_fragility.measures import (
    adaptive_sharpness,
    fisher_rao_norm,
    frobenius_distance_from_initialization,
    parameter_count,
    parameter_norm,
    path_norm,
    product_of_spectral_norms,
    train_loss,
)
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.symmetries import (
    SYMMETRIES,
    Symmetry,
    get_symmetry,
    in_double,
    symmetry_factors,
)
from pytest_fragility.symmetries.weight_changes import Models, scale_before_normalization
from tests.in_turn import in_turn
from tests.sample_networks import labelled_by, perceptron, randomize, sample_network

EVERYWHERE = {"permutation", "split-neurons", "silent-neurons", "logit-shift"}
RESCALING = {"layer-rescaling", "neuron-rescaling"}


class Functional(nn.Module):
    """A convolutional network whose activations and flattening are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 2, stride=2)
        self.last = nn.Linear(12, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        hidden = torch.relu(self.first(inputs))
        logits: torch.Tensor = self.last(torch.flatten(functional.relu(self.second(hidden)), 1))
        return logits


class Residual(nn.Module):
    """A network whose layers are heard by two, or hear two: nothing links."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        hidden = torch.relu(self.first(inputs))
        logits: torch.Tensor = self.last(hidden + torch.relu(self.second(hidden)))
        return logits


class Autoencoding(nn.Module):
    """A network that reads the weight of one of its layers a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 5), nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        hidden = torch.relu(self.second(torch.relu(self.first(inputs))))
        decoded = functional.linear(hidden, self.second.weight.t())
        logits: torch.Tensor = self.last(functional.linear(decoded, self.first.weight.t()))
        return logits


class NormalizedResidual(nn.Module):
    """A network whose normalized outputs are heard by two, and whose inputs go around one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.inner, self.outer = nn.LayerNorm(5), nn.LayerNorm(5)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        hidden = torch.relu(self.inner(input=self.first(inputs)))
        logits: torch.Tensor = self.last(self.outer(hidden + self.second(hidden)))
        return logits


def convolutional() -> nn.Module:
    """Return convolutions with pooling and batch normalization."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 2),
        nn.LeakyReLU(),
        nn.Flatten(),
        nn.Linear(20, 3),
    )


def smooth() -> nn.Module:
    """Return a perceptron with an activation that is not homogeneous."""
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def on_sequences() -> nn.Module:
    """Return a linear layer along a sequence, flattened features fastest: no link."""
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


def tied() -> nn.Module:
    """Return a perceptron that uses one hidden layer twice."""
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(4, 3))


def tied_normalization() -> nn.Module:
    """Return a perceptron that uses one batch normalization twice."""
    normalization = nn.BatchNorm1d(4)
    layers = [nn.Linear(4, 4), normalization, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(4, 4), normalization, nn.ReLU(), nn.Linear(4, 3))


def parametrized() -> nn.Module:
    """Return a perceptron whose hidden layer is computed from a length and a direction."""
    return nn.Sequential(weight_norm(nn.Linear(4, 5)), nn.ReLU(), nn.Linear(5, 3))


def depthwise() -> nn.Module:
    """Return convolutions of single channels, and transposed ones, in front of normalizations."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, groups=2),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 2, 2),
        nn.BatchNorm2d(2, affine=False),
        nn.Flatten(),
        nn.Linear(50, 3),
    )


def normalized_perceptron(normalization: Callable[[], nn.Module]) -> nn.Module:
    """Return a perceptron with normalizations of six neurons, whose last layer is frozen."""
    first = [nn.Linear(4, 6), normalization(), nn.ReLU()]
    second = [nn.Linear(6, 6, bias=False), normalization(), nn.ReLU()]
    return nn.Sequential(*first, *second, nn.Linear(6, 3).requires_grad_(False))


def normalized_convolutions(
    normalization: Callable[[int], nn.Module], dimensions: int = 2
) -> nn.Module:
    """Return convolutions with normalizations of four channels, of lengths 6 and 2."""
    convolution = nn.Conv2d if dimensions == 2 else nn.Conv1d
    pooling = nn.MaxPool2d if dimensions == 2 else nn.MaxPool1d
    return nn.Sequential(
        convolution(1, 4, 3, padding=1),
        normalization(6),
        nn.ReLU(),
        pooling(2),
        convolution(4, 4, 2, bias=False),
        normalization(2),
        nn.Flatten(),
        nn.Linear(4 * 2**dimensions, 3),
    )


class Checking(nn.Module):
    """A forward pass that checks the shape of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Linear(100, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        if x.dim() != 4 or x.shape[-2:] != (7, 7):
            raise ValueError("expected images of 7 x 7")
        hidden = torch.relu(self.first(x))
        assert x.size(1) == 1
        return self.second(hidden.flatten(start_dim=1))  # type: ignore[no-any-return]


class CheckingInside(Checking):
    """It checks how many neurons it has, too, of which a changed network has more."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        hidden = torch.relu(self.first(x))
        assert hidden.size(1) == 4
        return self.second(hidden.flatten(start_dim=1))  # type: ignore[no-any-return]


class TwoPaths(nn.Module):
    """A forward pass that goes on in either case, one of which breaks off while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        hidden = torch.relu(self.first(x))
        if x.shape[1] == 4:
            hidden = hidden + torch.arange(int(x.shape[1])).sum()
        return self.second(hidden)  # type: ignore[no-any-return]


Build = Callable[[], nn.Module]

# network, input shape, the symmetries that it has
MODELS: dict[str, tuple[Build, tuple[int, ...], set[str]]] = {
    "perceptron": (
        lambda: perceptron([4, 8, 6, 3]),
        (4,),
        EVERYWHERE | RESCALING | {"dead-neurons"},
    ),
    "without biases": (
        lambda: perceptron([4, 8, 3], bias=False),
        (4,),
        EVERYWHERE - {"logit-shift"} | RESCALING,
    ),
    "functional": (Functional, (1, 7, 7), EVERYWHERE | RESCALING | {"dead-neurons"}),
    "checking shapes": (Checking, (1, 7, 7), EVERYWHERE | RESCALING | {"dead-neurons"}),
    "checking inside": (CheckingInside, (1, 7, 7), set()),
    "of two paths": (TwoPaths, (4,), set()),
    "convolutional": (
        convolutional,
        (1, 6, 6),
        EVERYWHERE | RESCALING | {"normalization-scale"},
    ),
    "smooth": (smooth, (4,), EVERYWHERE),
    "residual": (Residual, (4,), {"logit-shift"}),
    "linear": (lambda: nn.Linear(4, 3), (4,), {"logit-shift"}),
    "on sequences": (on_sequences, (2, 3), {"logit-shift"}),
    "tied": (tied, (4,), {"logit-shift"}),
    "tied normalization": (tied_normalization, (4,), {"logit-shift"}),
    "parametrized": (parametrized, (4,), {"logit-shift"}),
    "autoencoding": (Autoencoding, (4,), {"logit-shift"}),
    "depthwise": (depthwise, (2, 6, 6), {"normalization-scale", "logit-shift"}),
    "normalized residual": (NormalizedResidual, (4,), {"normalization-scale", "logit-shift"}),
    "tracked instances": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
            nn.Flatten(),
            nn.Linear(64, 3),
        ),
        (1, 6, 6),
        {"logit-shift"},
    ),
    "untracked batches": (
        lambda: nn.Sequential(
            nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 3)
        ),
        (4,),
        {"normalization-scale", "logit-shift"},
    ),
    "normalized along a sequence": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm((2, 4)), nn.Flatten(), nn.Linear(8, 3)),
        (2, 3),
        {"normalization-scale", "logit-shift"},
    ),
    "normalized images": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.LayerNorm(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)
        ),
        (1, 6, 6),
        {"normalization-scale", "logit-shift"},
    ),
}

# a network of a normalization with or without parameters and with an eps, input shape, and whether
# the normalization takes all outputs of a layer at once
NORMALIZATIONS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...], bool]] = {
    "LayerNorm perceptron": (
        lambda affine, eps: normalized_perceptron(
            lambda: nn.LayerNorm(6, elementwise_affine=affine, eps=eps)
        ),
        (4,),
        True,
    ),
    "RMSNorm perceptron": (
        lambda affine, eps: normalized_perceptron(
            lambda: nn.RMSNorm(6, elementwise_affine=affine, eps=eps)
        ),
        (4,),
        True,
    ),
    "GroupNorm perceptron": (
        lambda affine, eps: normalized_perceptron(
            lambda: nn.GroupNorm(2, 6, affine=affine, eps=eps)
        ),
        (4,),
        False,
    ),
    "LayerNorm convolutions": (
        lambda affine, eps: normalized_convolutions(
            lambda length: nn.LayerNorm((4, length, length), elementwise_affine=affine, eps=eps)
        ),
        (1, 6, 6),
        True,
    ),
    "GroupNorm convolutions": (
        lambda affine, eps: normalized_convolutions(
            lambda length: nn.GroupNorm(2, 4, affine=affine, eps=eps)
        ),
        (1, 6, 6),
        False,
    ),
    "InstanceNorm2d convolutions": (
        lambda affine, eps: normalized_convolutions(
            lambda length: nn.InstanceNorm2d(4, affine=affine, eps=eps)
        ),
        (1, 6, 6),
        False,
    ),
    "InstanceNorm1d convolutions": (
        lambda affine, eps: normalized_convolutions(
            lambda length: nn.InstanceNorm1d(4, affine=affine, eps=eps), dimensions=1
        ),
        (1, 6),
        False,
    ),
}


def symmetries_with_normalization(affine: bool, all_at_once: bool) -> set[str]:
    """Return what a network has that is normalized behind each hidden layer."""
    found = {"normalization-scale", "logit-shift"}
    if all_at_once:
        # behind the statistics, a normalization's own parameters can be rescaled
        found |= {"permutation"} | (RESCALING if affine else set())
    return found


NORMALIZED: dict[str, tuple[Build, tuple[int, ...], set[str]]] = {
    f"{name}, affine={affine}, eps={eps}": (
        partial(build, affine, eps),
        shape,
        symmetries_with_normalization(affine, all_at_once),
    )
    for name, (build, shape, all_at_once) in NORMALIZATIONS.items()
    for affine in (True, False)
    for eps in ((1e-5, 0.0, None) if name.startswith("RMSNorm") else (1e-5, 0.0))
}
MODELS |= NORMALIZED

every_model = in_turn("name", MODELS)
every_normalized = in_turn("name", NORMALIZED)
every_symmetry = in_turn("symmetry", SYMMETRIES.values(), ids=lambda s: s.name)


def network_of(name: str, seed: int = 0) -> TrainedNetwork:
    """Return a network with random trained and random initial weights, in float32."""
    build, shape, _ = MODELS[name]
    model, initial = randomize(build(), seed), randomize(build(), seed + 100)
    values = np.random.default_rng(seed).normal(size=(23, *shape))
    inputs = torch.from_numpy(values).float()
    labels = labelled_by(model, inputs)
    return sample_network(model, inputs, labels, initial_model=initial, seed=seed)


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@every_model
def test_a_network_has_the_symmetries_of_its_structure(name: str) -> None:
    """And no others: what is none is told by None. The function stays, on other samples too."""
    network = in_double(network_of(name))
    before = state(network.model)
    fresh = torch.randn(50, *network.inputs.shape[1:], generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = network.model(fresh.double()).log_softmax(dim=1)
    found = set()
    for symmetry in SYMMETRIES.values():
        changed = symmetry(network)
        after = network.model.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before), symmetry
        if changed is None:
            continue
        found.add(symmetry.name)
        with torch.no_grad():
            outputs = changed.model(fresh.double()).log_softmax(dim=1)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-8, msg=symmetry.name)
        moved = changed.model.state_dict()
        assert any(
            before[key].shape != moved[key].shape or not torch.equal(before[key], moved[key])
            for key in before
        ), symmetry
    assert found == MODELS[name][2]


@every_symmetry
def test_the_same_network_is_changed_in_the_same_way(symmetry: Symmetry) -> None:
    """Twice, whatever the global random state."""
    name = "convolutional" if symmetry.name == "normalization-scale" else "perceptron"
    first = symmetry(in_double(network_of(name)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        again = symmetry(in_double(network_of(name)))
    assert first is not None and again is not None
    states = state(first.model), state(again.model)
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@in_turn("name", ["neuron-rescaling", "permutation"])
def test_networks_of_another_seed_are_changed_in_another_way(name: str) -> None:
    """Where chance decides: the same weights, under two seeds."""
    network = in_double(network_of("perceptron"))
    changed = [get_symmetry(name)(replace(network, seed=seed)) for seed in (0, 1)]
    weights = [next(each.model.parameters()) for each in changed if each is not None]
    assert len(weights) == 2 and not torch.equal(*weights)


def test_neurons_are_added_to_the_initial_network_too() -> None:
    """So that distances from initialization can still be taken."""
    network = in_double(network_of("perceptron"))
    for name in ("split-neurons", "dead-neurons", "silent-neurons", "permutation"):
        changed = get_symmetry(name)(network)
        assert changed is not None
        shapes = [
            [p.shape for p in model.parameters()]
            for model in (changed.model, changed.initial_model)
        ]
        assert shapes[0] == shapes[1]
        with torch.no_grad():
            torch.testing.assert_close(
                changed.initial_model(network.inputs).log_softmax(dim=1),
                network.initial_model(network.inputs).log_softmax(dim=1),
            )
    widths = [layer.out_features for layer in changed.model if isinstance(layer, nn.Linear)]  # type: ignore[attr-defined]
    assert widths == [8, 6, 3]


def test_rescaling_leaves_the_initial_network() -> None:
    """Training does not commute with it."""
    network = in_double(network_of("perceptron"))
    for name in RESCALING:
        changed = get_symmetry(name)(network)
        assert changed is not None
        before, after = state(network.initial_model), state(changed.initial_model)
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_split_neuron_is_there_twice() -> None:
    """Its incoming weights are repeated, its outgoing ones halved."""
    network = in_double(network_of("perceptron"))
    changed = get_symmetry("split-neurons")(network)
    assert changed is not None
    first, second = (
        dict(each.model.named_parameters())["1.weight"].detach() for each in (network, changed)
    )
    torch.testing.assert_close(second, torch.cat([first, first]), rtol=0, atol=0)
    outgoing = dict(changed.model.named_parameters())["3.weight"].detach()
    torch.testing.assert_close(outgoing[:, :8], outgoing[:, 8:], rtol=0, atol=0)


def layers_in_front(model: nn.Module) -> list[nn.Module]:
    """Return the layers in front of the normalizations of a network with two of them."""
    kinds = nn.Linear | nn.Conv1d | nn.Conv2d
    layers: list[nn.Module] = [each for each in model.children() if isinstance(each, kinds)]
    return layers[:2]


@every_normalized
def test_what_a_normalization_takes_out_again_is_multiplied_by_four(name: str) -> None:
    """Weights and biases of both layers in front of one, and nothing else."""
    network = in_double(network_of(name))
    changed = get_symmetry("normalization-scale")(network)
    assert changed is not None
    in_front = {id(p) for each in layers_in_front(network.model) for p in each.parameters()}
    after = state(changed.model)
    for key, parameter in network.model.named_parameters():
        assert torch.equal(after[key], (4 if id(parameter) in in_front else 1) * parameter)
    first, second = state(network.initial_model), state(changed.initial_model)
    assert all(torch.equal(first[key], second[key]) for key in first)


def eps_of(model: nn.Module) -> list[Any]:
    """Return the eps of each normalization of a model."""
    return [each.eps for each in model.modules() if hasattr(each, "eps")]


def scale_alone(models: Models, generator: torch.Generator) -> bool:
    """Multiply the layers in front of normalizations, and leave the latter's eps."""
    before = copy.deepcopy(models[0])
    found = scale_before_normalization(models, generator)
    for old, new in zip(before.modules(), models[0].modules(), strict=True):
        if hasattr(old, "eps"):
            new.eps = old.eps
    return found


@every_normalized
def test_without_its_eps_a_normalization_notices_the_scale_in_front_of_it(name: str) -> None:
    """The scale is a symmetry only where eps moves along, or is zero."""
    network = in_double(network_of(name))
    eps = eps_of(network.model)
    if None in eps:
        # squares so small that the rounding of doubles, which None stands for, is felt
        with torch.no_grad():
            for layer in layers_in_front(network.model):
                for parameter in layer.parameters():
                    parameter.mul_(1e-7)
    changed = get_symmetry("normalization-scale")(network)
    assert changed is not None
    rounding = torch.finfo(torch.float64).eps
    assert eps_of(changed.model) == [16 * (rounding if each is None else each) for each in eps]
    assert eps_of(changed.initial_model) == eps
    alone = Symmetry("alone", scale_alone, "")
    if eps[0] == 0:
        assert alone(network) is not None
    else:
        with pytest.raises(TrainingError, match="symmetry alone changed the log-probabilities"):
            alone(network)


def test_tracked_statistics_are_scaled_in_place_of_eps() -> None:
    """A batch normalization keeps its eps: its statistics are weights, as it were."""
    network = in_double(network_of("convolutional"))
    changed = get_symmetry("normalization-scale")(network)
    assert changed is not None
    assert eps_of(changed.model) == eps_of(network.model) == [1e-5]
    before, after = state(network.model), state(changed.model)
    torch.testing.assert_close(after["1.running_mean"], 4 * before["1.running_mean"])
    torch.testing.assert_close(
        after["1.running_var"] + 1e-5, 16 * (before["1.running_var"] + 1e-5), rtol=1e-12, atol=0
    )


@every_symmetry
def test_frozen_parameters_stay_frozen(symmetry: Symmetry) -> None:
    """In both networks; the others stay trainable."""
    normalized = symmetry.name == "normalization-scale"
    network = in_double(network_of("convolutional" if normalized else "perceptron"))
    for model in (network.model, network.initial_model):
        for number, parameter in enumerate(model.parameters()):
            parameter.requires_grad_(number % 3 == 1)
    changed = symmetry(network)
    assert changed is not None
    for old, new in (
        (network.model, changed.model),
        (network.initial_model, changed.initial_model),
    ):
        expected = {key: p.requires_grad for key, p in old.named_parameters()}
        assert {key: p.requires_grad for key, p in new.named_parameters()} == expected
        assert set(expected.values()) == {True, False}


@every_symmetry
def test_a_symmetry_prints_as_code(symmetry: Symmetry) -> None:
    """Which returns it."""
    assert repr(symmetry) == f"get_symmetry('{symmetry.name}')"
    assert eval(repr(symmetry), {"get_symmetry": get_symmetry}) is symmetry


def test_a_symmetry_of_ones_own_prints_its_values() -> None:
    """Even under the name of a known one, which `get_symmetry` would not return."""
    for name in ("mine", "permutation"):
        mine = Symmetry(name, scale_alone, "x 4")
        assert repr(mine) == f"Symmetry(name={name!r}, change={scale_alone!r}, summary='x 4')"


def test_a_change_of_the_function_is_refused() -> None:
    """The error names the symmetry, the network, and by how much."""

    def wrong(models: tuple[nn.Module, nn.Module], generator: torch.Generator) -> bool:
        with torch.no_grad():
            next(models[0].parameters()).mul_(1.001)
        return True

    with pytest.raises(TrainingError, match=r"symmetry nearly changed .* of task samples, .* n=23"):
        Symmetry("nearly", wrong, "")(in_double(network_of("perceptron")))


def test_an_unknown_symmetry_is_refused() -> None:
    """The error names those that there are."""
    with pytest.raises(SettingsError, match=r"unknown symmetry 'mirror'.*dead-neurons"):
        get_symmetry("mirror")


def scaled(factors: dict[str, float], *names: str) -> list[float]:
    """Return some of the factors."""
    return [factors[name] for name in names]


@in_turn("seed", range(3))
def test_the_path_norm_withstands_rescaling_and_no_dead_neurons(seed: int) -> None:
    """Paths keep their products; a dead neuron's bias counts as a path."""
    network = network_of("perceptron", seed)
    factors = symmetry_factors(path_norm, network)
    withstood = scaled(factors, *sorted(RESCALING), "permutation", "silent-neurons")
    assert withstood == pytest.approx([1.0] * 4, rel=1e-9)
    assert factors["dead-neurons"] > 1
    assert factors["split-neurons"] < 1


def test_a_dead_neuron_adds_the_paths_of_its_bias() -> None:
    """In one hidden layer: three neurons of bias -4, each with a path to each of three logits."""
    model = randomize(perceptron([2, 3, 3]), 0)
    inputs = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))
    network = sample_network(model, inputs, labelled_by(model, inputs))
    before = path_norm(in_double(network))
    factors = symmetry_factors(path_norm, network)
    assert factors["dead-neurons"] == pytest.approx((before + 3 * 3 * 4**2) / before, rel=1e-9)


def test_measures_of_the_function_do_not_move() -> None:
    """The training loss under no symmetry, the Fisher-Rao norm under no rescaling."""
    network = network_of("perceptron")
    fisher = symmetry_factors(fisher_rao_norm, network)
    assert scaled(fisher, *fisher) == pytest.approx([1.0] * len(fisher), rel=1e-8)
    sharpness = symmetry_factors(adaptive_sharpness, network)
    assert scaled(sharpness, *sorted(RESCALING), "permutation") == pytest.approx(
        [1.0] * 3, rel=1e-6
    )
    assert set(symmetry_factors(train_loss, network).values()) == {1.0}


def test_layers_of_fourfold_weights_have_known_norms() -> None:
    """One layer times 4, the next over 4: of two, the squared norms move so."""
    network = network_of("without biases")
    weights = [p.detach().double() for p in network.model.parameters()]
    expected = (16 * weights[0].square().sum() + weights[1].square().sum() / 16) / sum(
        w.square().sum() for w in weights
    )
    factors = symmetry_factors(parameter_norm, network)
    assert factors["layer-rescaling"] == pytest.approx(float(expected), rel=1e-9)
    assert symmetry_factors(product_of_spectral_norms, network)["layer-rescaling"] == pytest.approx(
        1.0, rel=1e-9
    )


def test_permutation_moves_no_distance_from_initialization() -> None:
    """The initial network's neurons are renamed along with the trained one's."""
    factors = symmetry_factors(frobenius_distance_from_initialization, network_of("convolutional"))
    assert factors["permutation"] == pytest.approx(1.0, rel=1e-9)
    assert factors["neuron-rescaling"] != pytest.approx(1.0, rel=0.1)


def test_the_number_of_parameters_counts_added_neurons() -> None:
    """Eight and six neurons become sixteen and twelve."""
    factors = symmetry_factors(parameter_count, network_of("perceptron"))
    before, after = 4 * 8 + 8 + 8 * 6 + 6 + 6 * 3 + 3, 4 * 16 + 16 + 16 * 12 + 12 + 12 * 3 + 3
    for name in ("split-neurons", "dead-neurons", "silent-neurons"):
        assert factors[name] == pytest.approx(after / before)


def test_plain_functions_and_other_shapes_are_asked_too() -> None:
    """As an audit would ask them; zero before and not after has no factor."""
    network = network_of("perceptron")

    def of_model(model: Any) -> Any:
        return sum(p.abs().sum() for p in model.parameters())

    assert symmetry_factors(of_model, network)["silent-neurons"] > 1
    width = network.model[1].out_features  # type: ignore[index, union-attr]

    def added(each: TrainedNetwork) -> int:
        return len(dict(each.model.named_parameters())["1.weight"]) - int(width)

    factors = symmetry_factors(added, network)
    assert math.isnan(factors["silent-neurons"]) and factors["permutation"] == 1.0


def test_trained_networks_have_symmetries(small_family: Family) -> None:
    """Those of the audit; the family's own copies are left alone."""
    for network in small_family.select(recipe="baseline", n=64):
        before = state(network.model)
        factors = symmetry_factors(path_norm, network)
        assert set(factors) == EVERYWHERE | RESCALING | {"dead-neurons"}
        after = network.model.state_dict()
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert all(tensor.dtype == torch.float32 for tensor in after.values())
        assert copy.deepcopy(network.model).training is False
