"""Initialization schemes against their published variances and bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pytest_fragility.errors import SettingsError
from pytest_fragility.networks import build_network
from pytest_fragility.networks.initialization import InitialStates
from pytest_fragility.perturbations import get_perturbation
from pytest_fragility.recipes import INITIALIZATIONS, MLP, SGD, Adam, Recipe, ScaleInvariantMLP
from tests.reference_training import initial_weights

pytestmark = pytest.mark.usefixtures("one_thread")

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


def test_variances_are_as_published() -> None:
    """Each layer has mean zero, the published variance, and that of torch's own initializer."""
    for scheme in VARIANCES:
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


def test_forms_are_normal_or_uniform() -> None:
    """Uniform weights fill their bounds, sqrt(3) standard deviations; normal ones go beyond."""
    for scheme in VARIANCES:
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


def test_layers_and_seeds_are_unlike_and_biases_zero() -> None:
    """Each layer and each seed has a draw of its own."""
    for scheme in INITIALIZATIONS:
        recipe = Recipe(architecture=MLP(hidden=(150, 150, 150)), initialization=scheme)
        weights = draw(recipe)
        for weight in weights.values():
            assert weight.dim() == 2 or not weight.any()
        square = matrices(recipe)[1:]
        others = matrices(recipe, seed=1)[1:]
        drawn = [*square, *others]
        for place, one in enumerate(drawn):
            for other in drawn[:place]:
                cosine = torch.nn.functional.cosine_similarity(
                    one.flatten(), other.flatten(), dim=0
                )
                assert abs(cosine.item()) < 0.04


def test_schemes_of_one_form_share_the_draw() -> None:
    """Each layer of the one is a positive factor times that of the other."""
    for one, other in [
        ("he-normal", "glorot-normal"),
        ("he-normal", "lecun-normal"),
        ("he-uniform", "glorot-uniform"),
    ]:
        for first, second in zip(
            matrices(with_scheme(one)), matrices(with_scheme(other)), strict=True
        ):
            variances = [VARIANCES[scheme](*reversed(first.shape)) for scheme in (one, other)]
            factor = math.sqrt(variances[1] / variances[0])
            torch.testing.assert_close(second, factor * first, rtol=1e-5, atol=1e-7)


def test_recipes_that_start_alike_share_the_draw() -> None:
    """Bit by bit, times the scale; in double precision it is the same numbers.

    It takes nothing from torch's global generator or default dtype, and leaves both alone.
    """
    for scheme in INITIALIZATIONS:
        recipe = with_scheme(scheme, 1.5)
        expected = draw(recipe)
        others = [
            recipe.replace(
                optimizer=Adam(), batch_size=3, label_smoothing=0.1, sample_order=2, precision=dtype
            )
            for dtype in ("float32", "float64")
        ]
        scaled = [(scale, with_scheme(scheme, 1.5 * scale)) for scale in (0.5, 4.0)]
        scaled += [(1.0, each) for each in others]
        scaled.append((2.0, get_perturbation("init-x2")(recipe)))
        for factor, other in scaled:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(4321)
                before = torch.get_rng_state()
                torch.set_default_dtype(torch.float64)
                try:
                    found = draw(other)
                finally:
                    torch.set_default_dtype(torch.float32)
                assert torch.equal(torch.get_rng_state(), before)
            for name, weight in expected.items():
                assert found[name].dtype == getattr(torch, other.precision)
                assert torch.equal(found[name], (factor * weight).to(found[name].dtype))


def test_what_is_not_trained_is_not_drawn() -> None:
    """A fixed classifier keeps its values under every scheme, scale and seed."""
    for scheme in INITIALIZATIONS:
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


def test_an_initialization_that_nothing_takes_is_refused() -> None:
    """Where no weights are drawn, another way to draw them would be left out."""
    for changes in [{"initialization": "orthogonal"}, {"initialization_scale": 2.0}]:
        plain = Recipe(architecture=own_product)
        network = build_network(plain.architecture, (4,), 3)
        drawn = InitialStates(network, input_shape=(4,), classes=3)
        assert set(drawn.draw(plain, 0).weights) == {"weight"}
        with pytest.raises(SettingsError, match=r"architecture own_product: .* change nothing"):
            drawn.draw(plain.replace(**changes), 0)
