"""Networks: from an architecture to a module with paired initial weights."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch.nn import Parameter, Sequential

from pytest_fragility.randomness import derive_seed
from pytest_fragility.recipes import Architecture, Recipe, ScaleInvariantMLP


def build_network(
    architecture: Architecture, input_shape: tuple[int, ...], classes: int
) -> Sequential:
    """Return a module with this architecture: float32, on the CPU, weights zero.

    Parameters that are not trained do not require a gradient, and have their values already.

    Parameters
    ----------
    architecture
        The layers between input and output.
    input_shape
        Shape of one input; it is flattened.
    classes
        Number of outputs (logits).
    """
    network = _clone(_template(architecture, input_shape, classes))
    assert isinstance(network, Sequential)
    return network


def _clone(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy with tensors, submodules and hooks of its own.

    As `copy.deepcopy`, at a tenth of its cost: an audit makes thousands.
    """
    clone = module.__new__(type(module))
    for name, value in vars(module).items():
        vars(clone)[name] = value.copy() if isinstance(value, dict) else value
    for name, parameter in module._parameters.items():
        if parameter is not None:
            copied = parameter.detach().clone()
            clone._parameters[name] = Parameter(copied, requires_grad=parameter.requires_grad)
    for name, child in module._modules.items():
        clone._modules[name] = None if child is None else _clone(child)
    return clone


@lru_cache(maxsize=32)
def _template(architecture: Architecture, input_shape: tuple[int, ...], classes: int) -> Sequential:
    widths = [math.prod(input_shape), *architecture.hidden, classes]
    if isinstance(architecture, ScaleInvariantMLP):
        layers = _scale_invariant_layers(widths)
    else:
        layers = _perceptron_layers(widths)
    return Sequential(torch.nn.Flatten(), *layers)


def _perceptron_layers(widths: list[int]) -> list[torch.nn.Module]:
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [_linear(fan_in, fan_out, bias=True), torch.nn.ReLU()]
    return layers[:-1]


def _scale_invariant_layers(widths: list[int]) -> list[torch.nn.Module]:
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in pairwise(widths[:-1]):
        normalization = torch.nn.LayerNorm(
            fan_out, eps=0.0, elementwise_affine=False, device="cpu", dtype=torch.float32
        )
        layers += [_linear(fan_in, fan_out, bias=False), normalization, torch.nn.ReLU()]
    classifier = _linear(widths[-2], widths[-1], bias=False)
    classifier.weight = Parameter(_fixed_classifier(widths[-1], widths[-2]), requires_grad=False)
    return [*layers, classifier]


def _linear(fan_in: int, fan_out: int, *, bias: bool) -> torch.nn.Linear:
    # weights are set later: torch's own draw would move its global generator
    layer: Any = torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]
        torch.nn.Linear, fan_in, fan_out, bias=bias, device="cpu", dtype=torch.float32
    )
    assert isinstance(layer, torch.nn.Linear)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    return layer


def _fixed_classifier(classes: int, width: int) -> torch.Tensor:
    """Return a matrix with orthonormal rows or columns, the same for all seeds."""
    generator = torch.Generator(device="cpu")
    generator.manual_seed(derive_seed("fixed classifier", classes, width))
    weight = torch.empty(classes, width, dtype=torch.float32, device="cpu")
    torch.nn.init.orthogonal_(weight, generator=generator)
    return weight


def initial_weights(network: torch.nn.Module, recipe: Recipe, seed: int) -> dict[str, torch.Tensor]:
    """Return initial parameters in the recipe's precision, biases zero, on the CPU.

    The draw depends on `seed`, the parameters' shapes and the distribution's form, so that recipes
    with the same architecture start from the same point, times a factor for each layer.

    Parameters
    ----------
    network
        Gives names and shapes, and the values of what is not trained.
    recipe
        Gives scheme, scale and precision.
    seed
        The run's seed.
    """
    shapes = [list(parameter.shape) for parameter in network.parameters()]
    generator = torch.Generator(device="cpu")
    generator.manual_seed(derive_seed("initial weights", shapes, seed))
    dtype = getattr(torch, recipe.precision)
    weights: dict[str, torch.Tensor] = {}
    for name, parameter in network.named_parameters():
        weight = torch.zeros(parameter.shape, dtype=torch.float32, device="cpu")
        if not parameter.requires_grad:
            weight.copy_(parameter.detach())
        elif parameter.dim() > 1:
            _draw(weight, recipe.initialization, generator)
            weight.mul_(recipe.initialization_scale)
        weights[name] = weight.to(dtype)
    return weights


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
