"""Initial weights: the same for all recipes that start alike, times a factor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from pytest_fragility._util.seeds import derive_seed
from pytest_fragility.errors import SettingsError
from pytest_fragility.networks.building import make_network
from pytest_fragility.networks.states import NetworkState, state_of
from pytest_fragility.recipes import OWN, Factory, Recipe

LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class InitialStates:
    """Draws initial parameters and buffers of one architecture, on the CPU.

    A draw depends on the seed, the parameters' shapes and the distribution's form, so that recipes
    with the same architecture start from the same point, times a factor for each layer. Weights of
    linear layers and convolutions are drawn as the recipe says, their biases start at zero;
    everything else starts as it is built.

    Parameters
    ----------
    network
        Gives names and shapes, and the values of what is not drawn; of a factory's, it is built
        anew.
    input_shape, classes
        What a factory is called with.
    """

    def __init__(
        self, network: nn.Module, *, input_shape: tuple[int, ...] = (), classes: int = 0
    ) -> None:
        self._called_with = (input_shape, classes)
        self._shapes = [list(parameter.shape) for parameter in network.parameters()]
        self._template = _Template.of(network)

    def draw(self, recipe: Recipe, seed: int) -> NetworkState:
        """Return where runs with this recipe and seed start, in the recipe's precision."""
        template = self._template
        if isinstance(recipe.architecture, Factory):
            own_seed = derive_seed("own initial weights", self._shapes, seed)
            own = make_network(recipe.architecture, *self._called_with, seed=own_seed)
            template = _Template.of(own)
        _require_layers(recipe, template)
        generator = torch.Generator(device="cpu")
        generator.manual_seed(derive_seed("initial weights", self._shapes, seed))
        state = template.state.copy(torch.float32)
        for name, weight in state.weights.items():
            if name in template.drawn:
                if recipe.initialization != OWN:
                    _draw(weight, recipe.initialization, generator)
                weight.mul_(recipe.initialization_scale)
            elif name in template.zero and recipe.initialization != OWN:
                weight.zero_()
        precision = getattr(torch, recipe.precision)
        return state if precision == torch.float32 else state.copy(precision)


@dataclass(frozen=True)
class _Template:
    """What is not drawn, and the names of what is, and of what starts at zero."""

    state: NetworkState
    drawn: set[str]
    zero: set[str]

    @classmethod
    def of(cls, network: nn.Module) -> _Template:
        return cls(state_of(network), *_layer_parameters(network))


def _require_layers(recipe: Recipe, template: _Template) -> None:
    """Raise a SettingsError where a recipe says how to draw weights, and none are drawn."""
    says_how = recipe.initialization != recipe.architecture.default_initialization
    if not template.drawn and (says_how or recipe.initialization_scale != 1):
        raise SettingsError(
            f"architecture {recipe.architecture}: it has no trained weights of linear layers or "
            f"convolutions, so that initialization={recipe.initialization!r} and "
            f"initialization_scale={recipe.initialization_scale:g} change nothing; leave them, and "
            "perturbations such as init-x2, out"
        )


def _layer_parameters(network: nn.Module) -> tuple[set[str], set[str]]:
    """Return the names of trained weights of linear layers and convolutions, and of biases."""
    trained = {id(each): name for name, each in network.named_parameters() if each.requires_grad}
    weights: set[str] = set()
    biases: set[str] = set()
    for layer in network.modules():
        if isinstance(layer, LAYERS):
            if id(layer.weight) in trained:
                weights.add(trained[id(layer.weight)])
            if layer.bias is not None and id(layer.bias) in trained:
                biases.add(trained[id(layer.bias)])
    return weights, biases


def _draw(weight: torch.Tensor, scheme: str, generator: torch.Generator) -> None:
    fan_in = math.prod(weight.shape[1:])
    fan_out = weight.shape[0] * math.prod(weight.shape[2:])
    if scheme == "orthogonal":
        torch.nn.init.orthogonal_(weight, gain=math.sqrt(2), generator=generator)
        return
    family, _, form = scheme.partition("-")
    variance = {"he": 2 / fan_in, "glorot": 2 / (fan_in + fan_out), "lecun": 1 / fan_in}[family]
    if form == "normal":
        weight.normal_(0.0, math.sqrt(variance), generator=generator)
    else:
        bound = math.sqrt(3 * variance)
        weight.uniform_(-bound, bound, generator=generator)
