"""Symmetries: the function stays, the weights move, and measures notice or not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pytest_fragility.errors import SettingsError, TrainingError
from pytest_fragility.families import Family
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
from pytest_fragility.symmetries import (
    SYMMETRIES,
    Symmetry,
    get_symmetry,
    in_double,
    symmetry_factors,
)
from pytest_fragility.trained_networks import TrainedNetwork
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
}

every_model = pytest.mark.parametrize("name", MODELS)
every_symmetry = pytest.mark.parametrize("symmetry", SYMMETRIES.values(), ids=lambda s: s.name)


def network_of(name: str, seed: int = 0) -> TrainedNetwork:
    """Return a network with random trained and random initial weights, in float32."""
    build, shape, _ = MODELS[name]
    model, initial = randomize(build(), seed), randomize(build(), seed + 100)
    values = np.random.default_rng(seed).normal(size=(23, *shape))
    inputs = torch.from_numpy(values).float()
    labels = labelled_by(model, inputs)
    return sample_network(model, inputs, labels, initial_model=initial, seed=seed)


def probabilities(network: TrainedNetwork) -> torch.Tensor:
    """Return the classes' log-probabilities on the network's samples."""
    with torch.no_grad():
        return network.model(network.inputs).log_softmax(dim=1)


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of all parameters and buffers."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@every_model
def test_a_network_has_the_symmetries_of_its_structure(name: str) -> None:
    """And no others: what is none is told by None, and never by an error."""
    network = in_double(network_of(name))
    found = {s.name for s in SYMMETRIES.values() if s(network) is not None}
    assert found == MODELS[name][2]


@every_model
@every_symmetry
def test_the_function_stays_and_the_network_moves(symmetry: Symmetry, name: str) -> None:
    """Log-probabilities to rounding, on samples that it was not checked on too."""
    network = in_double(network_of(name))
    before = state(network.model)
    changed = symmetry(network)
    after = network.model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    if changed is None:
        return
    torch.testing.assert_close(probabilities(changed), probabilities(network), rtol=0, atol=1e-9)
    fresh = torch.randn(50, *network.inputs.shape[1:], generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        outputs = [each.model(fresh.double()).log_softmax(dim=1) for each in (network, changed)]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-8)
    moved = changed.model.state_dict()
    assert any(
        before[key].shape != moved[key].shape or not torch.equal(before[key], moved[key])
        for key in before
    )


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


@pytest.mark.parametrize("name", ["neuron-rescaling", "permutation"])
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
    assert second.shape == (9, 4)
    torch.testing.assert_close(second[:8], first)
    twin = next(row for row in range(8) if torch.equal(second[row], second[8]))
    outgoing = dict(changed.model.named_parameters())["3.weight"].detach()
    torch.testing.assert_close(outgoing[:, twin], outgoing[:, 8])


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


@pytest.mark.parametrize("seed", range(3))
def test_the_path_norm_withstands_rescaling_and_no_dead_neurons(seed: int) -> None:
    """Paths keep their products; a dead neuron's bias counts as a path."""
    network = network_of("perceptron", seed)
    factors = symmetry_factors(path_norm, network)
    withstood = scaled(factors, *sorted(RESCALING), "permutation", "silent-neurons")
    assert withstood == pytest.approx([1.0] * 4, rel=1e-9)
    assert factors["dead-neurons"] > 1
    assert factors["split-neurons"] < 1


def test_a_dead_neuron_adds_the_paths_of_its_bias() -> None:
    """In one hidden layer: one path of weight one to each of three logits."""
    model = randomize(perceptron([2, 3, 3]), 0)
    inputs = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))
    network = sample_network(model, inputs, labelled_by(model, inputs))
    before = path_norm(in_double(network))
    factors = symmetry_factors(path_norm, network)
    assert factors["dead-neurons"] == pytest.approx((before + 3) / before, rel=1e-9)


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
    """Eight and six neurons become nine and seven."""
    factors = symmetry_factors(parameter_count, network_of("perceptron"))
    before, after = 4 * 8 + 8 + 8 * 6 + 6 + 6 * 3 + 3, 4 * 9 + 9 + 9 * 7 + 7 + 7 * 3 + 3
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
