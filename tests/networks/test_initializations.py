"""Initialization schemes against their published variances and bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from pytest_fragility.errors import SettingsError
from pytest_fragility.networks import build_network
from pytest_fragility.networks.initialization import InitialStates
from pytest_fragility.perturbations import get_perturbation
from pytest_fragility.recipes import INITIALIZATIONS, MLP, SGD, Adam, Recipe, ScaleInvariantMLP
from tests.reference_training import initial_weights

# fan-in and fan-out differ in every layer, both ways round
WIDTHS = (200, 300, 100, 150)
ARCHITECTURE = MLP(hidden=WIDTHS[1:-1])

VARIANCES: dict[str, Callable[[int, int], float]] = {
    "he-normal": lambda fan_in, fan_out: 2 / fan_in,
    "he-uniform": lambda fan_in, fan_out: 2 / fan_in,
    "glorot-normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot-uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "lecun-normal": lambda fan_in, fan_out: 1 / fan_in,
}
# torch's names, each with what it takes to give the same distribution
TORCH: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "he-normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "he-uniform": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
    "glorot-normal": nn.init.xavier_normal_,
    "glorot-uniform": nn.init.xavier_uniform_,
    "lecun-normal": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"),
}

schemes = pytest.mark.parametrize("scheme", INITIALIZATIONS)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads inside an operation only slow such small networks down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def draw(recipe: Recipe, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return the initial weights of a network with a recipe's architecture."""
    return initial_weights(build_network(recipe.architecture, (200,), 150), recipe, seed)


def matrices(recipe: Recipe, seed: int = 0) -> list[torch.Tensor]:
    """Return the matrices among the initial weights, first layer to last."""
    return [weight for weight in draw(recipe, seed).values() if weight.dim() == 2]


def with_scheme(scheme: str, scale: float = 1.0) -> Recipe:
    """Return a recipe with an initialization."""
    return Recipe(architecture=ARCHITECTURE, initialization=scheme, initialization_scale=scale)


def test_every_scheme_is_tested() -> None:
    """What the recipe knows is what is held against a formula here."""
    assert {*VARIANCES, "orthogonal"} == set(INITIALIZATIONS)


@pytest.mark.parametrize("scheme", VARIANCES)
def test_variances_are_as_published(scheme: str) -> None:
    """Each layer has mean zero, the published variance, and that of torch's own initializer."""
    found = matrices(with_scheme(scheme))
    assert [tuple(weight.shape) for weight in found] == [(300, 200), (100, 300), (150, 100)]
    for weight in found:
        fan_out, fan_in = weight.shape
        expected = VARIANCES[scheme](fan_in, fan_out)
        # 15,000 values or more: these are five standard errors, of a normal variance at most
        spread = 5 * math.sqrt(2 / weight.numel())
        assert weight.var().item() == pytest.approx(expected, rel=spread)
        assert abs(weight.mean().item()) < 5 * math.sqrt(expected / weight.numel())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            torchs = TORCH[scheme](torch.empty_like(weight))
        assert weight.var().item() == pytest.approx(torchs.var().item(), rel=1.5 * spread)


@pytest.mark.parametrize("scheme", VARIANCES)
def test_forms_are_normal_or_uniform(scheme: str) -> None:
    """Uniform weights fill their bounds, sqrt(3) standard deviations; normal ones go beyond."""
    for weight in matrices(with_scheme(scheme)):
        scaled = weight / math.sqrt(VARIANCES[scheme](weight.shape[1], weight.shape[0]))
        within_one = (scaled.abs() < 1).double().mean().item()
        largest = scaled.abs().max().item()
        if scheme.endswith("uniform"):
            assert 0.999 * math.sqrt(3) < largest < math.sqrt(3) * (1 + 1e-6)
            assert within_one == pytest.approx(1 / math.sqrt(3), abs=0.02)
        else:
            assert 3.3 < largest < 6
            assert within_one == pytest.approx(0.6827, abs=0.019)


def test_orthogonal_matrices_are_orthogonal() -> None:
    """Rows, or columns where they are fewer, are orthogonal and of length sqrt(2)."""
    found = matrices(with_scheme("orthogonal"))
    for weight in found:
        short = weight if weight.shape[0] <= weight.shape[1] else weight.mT
        expected = 2 * torch.eye(len(short))
        torch.testing.assert_close(short @ short.mT, expected, rtol=0, atol=1e-5)
        # no axis is preferred: entries of both signs, none of them large
        assert weight.abs().max() < 0.6 and abs((weight > 0).double().mean() - 0.5) < 0.02


@schemes
def test_layers_and_seeds_are_unlike_and_biases_zero(scheme: str) -> None:
    """Each layer and each seed has a draw of its own."""
    recipe = Recipe(architecture=MLP(hidden=(150, 150, 150)), initialization=scheme)
    weights = draw(recipe)
    for weight in weights.values():
        assert weight.dim() == 2 or not weight.any()
    square = matrices(recipe)[1:]
    others = matrices(recipe, seed=1)[1:]
    drawn = [*square, *others]
    for place, one in enumerate(drawn):
        for other in drawn[:place]:
            cosine = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0)
            assert abs(cosine.item()) < 0.04


@schemes
@pytest.mark.parametrize("scale", [0.5, 2.0, 4.0])
def test_the_scale_multiplies_the_same_draw(scheme: str, scale: float) -> None:
    """Recipes that differ in scale start from one point, times a factor: every bit of it."""
    for one, scaled in zip(
        matrices(with_scheme(scheme)), matrices(with_scheme(scheme, scale)), strict=True
    ):
        assert torch.equal(scaled, scale * one)


@schemes
def test_init_x2_doubles_the_draw(scheme: str) -> None:
    """The catalogue's perturbation leaves the direction of the initial weights."""
    recipe = with_scheme(scheme, 1.5)
    changed = get_perturbation("init-x2")(recipe)
    for name, weight in draw(recipe).items():
        assert torch.equal(draw(changed)[name], 2 * weight)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("he-normal", "glorot-normal"),
        ("he-normal", "lecun-normal"),
        ("he-uniform", "glorot-uniform"),
    ],
)
def test_schemes_of_one_form_share_the_draw(one: str, other: str) -> None:
    """Each layer of the one is a positive factor times that of the other."""
    for first, second in zip(matrices(with_scheme(one)), matrices(with_scheme(other)), strict=True):
        variances = [VARIANCES[scheme](*reversed(first.shape)) for scheme in (one, other)]
        factor = math.sqrt(variances[1] / variances[0])
        torch.testing.assert_close(second, factor * first, rtol=1e-5, atol=1e-7)


@schemes
def test_the_rest_of_the_recipe_does_not_matter(scheme: str) -> None:
    """Runs that differ elsewhere start from the same point, bit by bit."""
    recipe = with_scheme(scheme)
    changed = recipe.replace(
        optimizer=Adam(), batch_size=3, label_smoothing=0.1, sample_order=2, gradient_clipping=1.0
    )
    for name, weight in draw(recipe).items():
        assert torch.equal(weight, draw(changed)[name])


@schemes
def test_float64_weights_are_the_float32_draw(scheme: str) -> None:
    """A network in double precision starts from the very same numbers."""
    recipe = with_scheme(scheme, 1.1)
    for name, weight in draw(recipe.replace(precision="float64")).items():
        assert weight.dtype == torch.float64
        assert torch.equal(weight, draw(recipe)[name].double())


@schemes
def test_torchs_generator_neither_matters_nor_moves(scheme: str) -> None:
    """The draw is a function of the seed, and takes nothing from the global generator."""
    expected = draw(with_scheme(scheme))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4321)
        before = torch.get_rng_state()
        found = draw(with_scheme(scheme))
        assert torch.equal(torch.get_rng_state(), before)
    for name, weight in expected.items():
        assert torch.equal(found[name], weight)


@schemes
def test_torchs_default_dtype_does_not_matter(scheme: str) -> None:
    """The draw is made in float32 whatever the default."""
    expected = draw(with_scheme(scheme))
    torch.set_default_dtype(torch.float64)
    try:
        found = draw(with_scheme(scheme))
    finally:
        torch.set_default_dtype(torch.float32)
    for name, weight in expected.items():
        assert found[name].dtype == torch.float32 and torch.equal(found[name], weight)


@schemes
def test_what_is_not_trained_is_not_drawn(scheme: str) -> None:
    """A fixed classifier keeps its values under every scheme, scale and seed."""
    recipe = Recipe(
        architecture=ScaleInvariantMLP(hidden=(20, 30)),
        optimizer=SGD(),
        initialization=scheme,
        initialization_scale=3.0,
    )
    fixed = list(build_network(recipe.architecture, (200,), 150).parameters())[-1].detach()
    for seed in (0, 1):
        *trained, classifier = matrices(recipe, seed)
        assert torch.equal(classifier, fixed)
        assert not any(weight.shape == fixed.shape for weight in trained)


class OwnProduct(nn.Module):
    """A linear map that is no linear layer: its weights are a plain parameter."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, classes))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return inputs @ self.weight


def own_product(input_shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return a network of which a recipe draws no weights."""
    return OwnProduct(input_shape[0], classes)


@pytest.mark.parametrize(
    "changes", [{"initialization": "orthogonal"}, {"initialization_scale": 2.0}]
)
def test_an_initialization_that_nothing_takes_is_refused(changes: dict[str, Any]) -> None:
    """Where no weights are drawn, another way to draw them would be left out."""
    plain = Recipe(architecture=own_product)
    network = build_network(plain.architecture, (4,), 3)
    drawn = InitialStates(network, input_shape=(4,), classes=3)
    assert set(drawn.draw(plain, 0).weights) == {"weight"}
    with pytest.raises(SettingsError, match=r"architecture own_product: .* change nothing"):
        drawn.draw(plain.replace(**changes), 0)
