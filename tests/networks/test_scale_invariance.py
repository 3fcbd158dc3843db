"""The scale-invariant perceptron, and the pairs of trainings that are exactly one for it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pytest_fragility.errors import SettingsError
from pytest_fragility.networks import build_network
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.recipes import (
    SGD,
    Adam,
    AdamW,
    Recipe,
    ScaleInvariantMLP,
    exponential,
    fixed_steps,
)
from pytest_fragility.tasks import Task
from tests.reference_training import CPU, initial_weights, train_all

pytestmark = pytest.mark.usefixtures("one_thread")
LAYERS = ScaleInvariantMLP(hidden=(16, 8))
RECIPE = Recipe(architecture=LAYERS, optimizer=SGD(lr=0.05), batch_size=8, precision="float64")
CLASSIFIER = "7.weight"


def log_probabilities(trained: TrainedRun) -> torch.Tensor:
    """Return the log-probabilities of the training samples."""
    network = TrainedNetwork.build(trained, "baseline", CPU)
    with torch.no_grad():
        return functional.log_softmax(network.model(network.inputs), dim=1)


def trained_norm(trained: TrainedRun) -> float:
    """Return the Euclidean norm of all weights that are trained."""
    parts = [w.flatten() for name, w in trained.weights.items() if name != CLASSIFIER]
    return float(torch.cat(parts).norm())


def test_the_network_is_what_its_docstring_says() -> None:
    """Linear without bias, minus the mean, over the standard deviation, ReLU; then the classifier.

    The standard deviation is that of the layer's units, without a correction or an epsilon.
    """
    network = build_network(LAYERS, (2, 3), 4).double()
    weights = initial_weights(network, RECIPE, 0)
    network.load_state_dict(weights)
    matrices = list(weights.values())
    assert [tuple(matrix.shape) for matrix in matrices] == [(16, 6), (8, 16), (4, 8)]
    inputs = torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    hidden = inputs
    for matrix in matrices[:-1]:
        units = hidden @ matrix.mT
        centred = units - units.mean(dim=1, keepdim=True)
        hidden = (centred / centred.pow(2).mean(dim=1, keepdim=True).sqrt()).clamp(min=0)
    expected = hidden @ matrices[-1].mT
    torch.testing.assert_close(
        network(inputs.view(9, 2, 3)).detach(), expected, rtol=1e-12, atol=1e-12
    )


def test_the_function_stays_when_weights_are_scaled() -> None:
    """Each trained layer may be multiplied by a positive number, however small."""
    for factors in [(2.0, 0.25), (1e-9, 1.0), (3.7, 1e6)]:
        network = build_network(LAYERS, (6,), 4).double()
        network.load_state_dict(initial_weights(network, RECIPE, 0))
        inputs = torch.randn(9, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        with torch.no_grad():
            expected = network(inputs)
            for name, factor in zip(("1.weight", "4.weight"), factors, strict=True):
                network.get_parameter(name).mul_(factor)
            torch.testing.assert_close(network(inputs), expected, rtol=1e-12, atol=1e-12)


def test_gradients_are_orthogonal_to_the_weights(blobs: Task) -> None:
    """What follows from the invariance: without decay a step of SGD can only lengthen weights."""
    (trained,) = train_all([Run(blobs, 24, RECIPE.replace(stopping=fixed_steps(1)), 0)])
    for name, before in trained.initial_weights.items():
        moved = trained.weights[name] - before
        cosine = functional.cosine_similarity(moved.flatten(), before.flatten(), dim=0)
        assert abs(cosine.item()) < 1e-12
        assert name == CLASSIFIER or moved.norm() > 1e-4


def test_the_classifier_is_orthonormal() -> None:
    """Rows, or columns where they are fewer, are orthonormal; only they need no gradient."""
    for width, classes in [(8, 4), (4, 8), (6, 6), (3, 10)]:
        network = build_network(ScaleInvariantMLP(hidden=(5, width)), (3,), classes)
        matrix = network.get_parameter(CLASSIFIER).detach()
        assert tuple(matrix.shape) == (classes, width)
        short = matrix if classes <= width else matrix.mT
        torch.testing.assert_close(short @ short.mT, torch.eye(len(short)), rtol=0, atol=1e-6)
        frozen = [name for name, each in network.named_parameters() if not each.requires_grad]
        assert frozen == [CLASSIFIER]


def test_the_classifier_is_not_trained(blobs: Task) -> None:
    """It is the same for all seeds and recipes, and neither gradients nor decay touch it."""
    for precision in ["float32", "float64"]:
        for optimizer in [
            SGD(lr=0.1, momentum=0.9, weight_decay=0.1),
            SGD(lr=0.1, weight_decay=0.1, decoupled=True),
            Adam(lr=0.01, weight_decay=0.1),
            AdamW(lr=0.01, weight_decay=0.5),
        ]:
            recipe = RECIPE.replace(
                optimizer=optimizer,
                precision=precision,
                initialization_scale=3.0,
                gradient_clipping=1.0,
                stopping=fixed_steps(15),
            )
            fixed = build_network(LAYERS, (6,), 3).get_parameter(CLASSIFIER).detach()
            for trained in train_all([Run(blobs, 24, recipe, seed) for seed in (0, 1)]):
                assert (
                    list(trained.weights)
                    == list(trained.initial_weights)
                    == [
                        "1.weight",
                        "4.weight",
                        CLASSIFIER,
                    ]
                )
                for weights in (trained.weights, trained.initial_weights):
                    assert torch.equal(weights[CLASSIFIER], fixed.to(weights[CLASSIFIER].dtype))
                assert not torch.equal(
                    trained.weights["1.weight"], trained.initial_weights["1.weight"]
                )


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("decay", [0.01, 0.2])
def test_weight_decay_is_a_rate_that_grows(blobs: Task, decay: float, decoupled: bool) -> None:
    """A rate h with decay l is a rate that grows by (1 - h l)**-2 a step (Li & Arora 2020).

    With w(t) the weights under decay and a = 1 - h l, v(t) = w(t) / a**t takes the steps of plain
    SGD at the rate h / a**(2 t + 1): gradients at w / a**t are a**t times those at w.
    """
    lr = 0.1
    shrink = 1 - lr * decay
    decaying = RECIPE.replace(optimizer=SGD(lr=lr, weight_decay=decay, decoupled=decoupled))
    growing = RECIPE.replace(
        optimizer=SGD(lr=lr / shrink), schedule=exponential(1, factor=shrink**-2)
    )
    counts = (1, 7, 50, 128, 200)
    recipes = [
        each.replace(stopping=fixed_steps(n)) for each in (decaying, growing) for n in counts
    ]
    found = train_all([Run(blobs, 24, recipe, 0) for recipe in recipes])
    start = log_probabilities(train_all([Run(blobs, 24, recipes[0], 0)])[0])
    for steps, one, other in zip(counts, found[:5], found[5:], strict=True):
        assert one.record.steps == other.record.steps == steps
        torch.testing.assert_close(
            log_probabilities(one), log_probabilities(other), rtol=0, atol=1e-9
        )
        ratio = trained_norm(other) / trained_norm(one)
        assert ratio == pytest.approx(shrink**-steps, rel=1e-9)
    # networks that do not move would agree as well
    assert (log_probabilities(found[4]) - start).abs().max() > 0.1
    # and so would networks that the decay is too weak to tell apart
    constant = RECIPE.replace(optimizer=SGD(lr=lr), stopping=fixed_steps(200))
    (plain,) = train_all([Run(blobs, 24, constant, 0)])
    assert (log_probabilities(plain) - log_probabilities(found[4])).abs().max() > 1e-3


def test_weights_x4_with_rate_x16_are_the_same_function(blobs: Task) -> None:
    """Powers of two round nothing, so that the pair agrees bit by bit."""
    for precision in ["float32", "float64"]:
        plain = RECIPE.replace(precision=precision, stopping=fixed_steps(100))
        scaled = plain.replace(initialization_scale=4.0, optimizer=SGD(lr=16 * 0.05))
        for seed in (0, 1):
            one, other = train_all([Run(blobs, 24, recipe, seed) for recipe in (plain, scaled)])
            assert torch.equal(log_probabilities(one), log_probabilities(other))
            assert one.record == other.record
            for name, weight in one.weights.items():
                factor = 1 if name == CLASSIFIER else 4
                assert torch.equal(other.weights[name], factor * weight)
            moved = one.weights["1.weight"] - one.initial_weights["1.weight"]
            assert moved.norm() > 0.01 * one.weights["1.weight"].norm()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_works_where_gradients_are_off(blobs: Task, mode: type[torch.no_grad]) -> None:
    """Callers may have switched gradients off, and built the same network before."""
    architecture = ScaleInvariantMLP(hidden=(16, 11 if mode is torch.no_grad else 12))
    run = Run(blobs, 24, Recipe(architecture=architecture, stopping=fixed_steps(5)), 0)
    with mode():
        build_network(architecture, (6,), 3)
        (inside,) = train_all([run])
    (outside,) = train_all([run])
    for name, weight in outside.weights.items():
        assert torch.equal(inside.weights[name], weight)
        assert not inside.weights[name].requires_grad and not inside.weights[name].is_inference()


def test_layers_that_cannot_be_normalized_are_refused() -> None:
    """A layer normalization needs three units to say anything, and the invariance a layer."""
    for build, message in [
        (lambda: ScaleInvariantMLP(hidden=()), r"ScaleInvariantMLP\.hidden=\(\): expected one la"),
        (
            lambda: ScaleInvariantMLP(hidden=(8, 1)),
            r"\.hidden=\(8, 1\): expected one layer or more",
        ),
        (
            lambda: ScaleInvariantMLP(hidden=(2, 8)),
            r"\.hidden=\(2, 8\): expected one layer or more, each of at least 3 units",
        ),
        (lambda: ScaleInvariantMLP(hidden=(8, 0)), r"\.hidden=\(8, 0\): expected a tuple of posi"),
        (lambda: ScaleInvariantMLP(hidden=[8]), r"\.hidden=\[8\]"),  # type: ignore[arg-type]
    ]:
        with pytest.raises(SettingsError, match=message):
            build()


def test_description() -> None:
    """It reads unlike the plain perceptron."""
    assert str(LAYERS) == "scale-invariant mlp 16-8"
    assert str(RECIPE).startswith("scale-invariant mlp 16-8, sgd lr=0.05, ")
