"""Changes of weights that leave a network's function as it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import Parameter
from torch.nn.modules.batchnorm import _BatchNorm

from pytest_fragility.symmetries.layer_links import (
    NORMALIZATIONS,
    Link,
    find_links,
    find_normalized,
    last_layer,
    weight_of,
)

LAYER_FACTOR = 4.0
LARGEST_POWER = 3.0
LOGIT_SHIFT = 5.0
DEAD_BIAS = -4.0
Models = tuple[nn.Module, nn.Module]


def rescale_layers(models: Models, generator: torch.Generator) -> bool:
    """Multiply every other linked layer by 4 and divide the next by it; biases move along."""
    trained = models[0]
    links = [link for link in find_links(trained) if link.is_homogeneous]
    touched: set[str] = set()
    for link in links:
        if not touched & {link.first, link.second}:
            outputs = weight_of(trained, link.first).shape[0]
            factors = torch.full((outputs,), LAYER_FACTOR, dtype=torch.float64)
            _rescale(trained, link, factors)
            touched |= {link.first, link.second}
    return bool(links)


def rescale_neurons(models: Models, generator: torch.Generator) -> bool:
    """Multiply what enters each neuron by a random factor in [1/8, 8], divide what leaves it."""
    trained = models[0]
    links = [link for link in find_links(trained) if link.is_homogeneous]
    for link in links:
        outputs = weight_of(trained, link.first).shape[0]
        uniform = torch.rand(outputs, generator=generator, dtype=torch.float64)
        _rescale(trained, link, 2 ** (LARGEST_POWER * (2 * uniform - 1)))
    return bool(links)


def permute_neurons(models: Models, generator: torch.Generator) -> bool:
    """Put the neurons of every hidden layer in a random order, the initial network's too."""
    links = find_links(models[0])
    for link in links:
        outputs = weight_of(models[0], link.first).shape[0]
        order = torch.randperm(outputs, generator=generator)
        for model in models:
            _keep_outputs(model, link, order)
            _keep_inputs(model, link, order)
    return bool(links)


def split_neurons(models: Models, generator: torch.Generator) -> bool:
    """Double every neuron of every hidden layer, and halve what leaves both of it."""
    links = [link for link in find_links(models[0]) if link.is_separable]
    for link in links:
        order = _twice(models[0], link)
        for model in models:
            _keep_outputs(model, link, order)
            _keep_inputs(model, link, order)
            blocks = _blocks(model, link)
            blocks /= 2
    return bool(links)


def add_dead_neurons(models: Models, generator: torch.Generator) -> bool:
    """Add as many neurons to every hidden layer, whose output a ReLU always cuts off."""
    links = [
        link
        for link in find_links(models[0])
        if link.is_rectified and not link.normalization and _has_bias(models[0], link)
    ]
    for link in links:
        for model in models:
            _add_neurons(model, link, incoming=0.0, bias=DEAD_BIAS, outgoing=1.0)
    return bool(links)


def add_silent_neurons(models: Models, generator: torch.Generator) -> bool:
    """Add as many neurons to every hidden layer, which nothing listens to."""
    links = [link for link in find_links(models[0]) if not link.normalization]
    for link in links:
        for model in models:
            _add_neurons(model, link, incoming=1.0, bias=0.0, outgoing=0.0)
    return bool(links)


def scale_before_normalization(models: Models, generator: torch.Generator) -> bool:
    """Multiply every layer in front of a normalization by 4, and what that compares it with."""
    trained = models[0]
    pairs = find_normalized(trained)
    factor = torch.tensor(LAYER_FACTOR, dtype=torch.float64)
    for layer, name in pairs:
        _scale_outputs(trained.get_submodule(layer), factor)
        normalization = trained.get_submodule(name)
        if isinstance(normalization, _BatchNorm) and normalization.running_var is not None:
            _scale_statistics(normalization)
        else:
            _scale_eps(normalization, weight_of(trained, layer).dtype)
    return bool(pairs)


def shift_logits(models: Models, generator: torch.Generator) -> bool:
    """Add 5 to the bias of every logit, which no probability notices."""
    name = last_layer(models[0])
    bias = None if name is None else getattr(models[0].get_submodule(name), "bias", None)
    if bias is None:
        return False
    with torch.no_grad():
        bias += LOGIT_SHIFT
    return True


def _blocks(model: nn.Module, link: Link) -> torch.Tensor:
    """Return the second layer's weight, shape (outputs, outputs of the first, spread, *kernel)."""
    return _in_blocks(weight_of(model, link.second).detach(), link.spread(model))


def _in_blocks(weight: torch.Tensor, spread: int) -> torch.Tensor:
    return weight.view(weight.shape[0], -1, spread, *weight.shape[2:])


def _rescale(model: nn.Module, link: Link, factors: torch.Tensor) -> None:
    source = link.normalization or link.first
    _scale_outputs(model.get_submodule(source), factors)
    blocks = _blocks(model, link)
    blocks /= factors.to(blocks.device).view(1, -1, *[1] * (blocks.dim() - 2))


def _scale_outputs(layer: nn.Module, factors: torch.Tensor) -> None:
    """Multiply each of a layer's outputs by its factor, or all by one."""
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            each = factors.to(parameter.device).expand(len(parameter))
            parameter.mul_(each.view(-1, *[1] * (parameter.dim() - 1)))


def _scale_statistics(normalization: _BatchNorm) -> None:
    """Let a batch normalization compare inputs times 4 with tracked statistics of such."""
    mean, variance = normalization.running_mean, normalization.running_var
    assert mean is not None and variance is not None
    with torch.no_grad():
        mean *= LAYER_FACTOR
        variance.copy_(LAYER_FACTOR**2 * (variance + normalization.eps) - normalization.eps)


def _scale_eps(normalization: nn.Module, dtype: torch.dtype) -> None:
    """Let eps grow as the squares of inputs times 4 do, from which statistics are taken."""
    assert type(normalization) in NORMALIZATIONS
    own: Any = normalization
    # RMSNorm without an eps adds the rounding of its inputs' type
    eps = torch.finfo(dtype).eps if own.eps is None else own.eps
    own.eps = LAYER_FACTOR**2 * eps


def _keep_outputs(model: nn.Module, link: Link, order: torch.Tensor) -> None:
    """Give the first layer, and the normalization behind it, these of its outputs."""
    names = [link.first] + ([link.normalization] if link.normalization else [])
    for name in names:
        layer = model.get_submodule(name)
        for key, parameter in list(layer.named_parameters(recurse=False)):
            setattr(layer, key, _like(parameter, parameter.detach()[order].clone()))
        for key, buffer in list(layer.named_buffers(recurse=False)):
            if buffer.dim():
                setattr(layer, key, buffer[order].clone())
        _count(layer, "out", len(order))


def _keep_inputs(model: nn.Module, link: Link, order: torch.Tensor) -> None:
    """Give the second layer these of what it hears of."""
    layer = model.get_submodule(link.second)
    weight = weight_of(model, link.second)
    spread = weight.shape[1] // (int(order.max()) + 1)
    blocks = _in_blocks(weight.detach(), spread)[:, order]
    layer.weight = _like(weight, blocks.flatten(1, 2).clone())
    _count(layer, "in", len(order) * spread)


def _like(parameter: torch.Tensor, values: torch.Tensor) -> Parameter:
    """Return a parameter of other values, frozen where the given one is."""
    return Parameter(values, requires_grad=parameter.requires_grad)


def _add_neurons(
    model: nn.Module, link: Link, *, incoming: float, bias: float, outgoing: float
) -> None:
    live = weight_of(model, link.first).shape[0]
    order = _twice(model, link)
    _keep_outputs(model, link, order)
    _keep_inputs(model, link, order)
    layer = model.get_submodule(link.first)
    with torch.no_grad():
        weight_of(model, link.first)[live:] = incoming
        if isinstance(layer.bias, torch.Tensor):
            layer.bias[live:] = bias
        _blocks(model, link)[:, live:] = outgoing


def _twice(model: nn.Module, link: Link) -> torch.Tensor:
    """Return the order in which every output of the first layer comes twice."""
    return torch.arange(weight_of(model, link.first).shape[0]).repeat(2)


def _has_bias(model: nn.Module, link: Link) -> bool:
    return getattr(model.get_submodule(link.first), "bias", None) is not None


def _count(layer: nn.Module, side: str, number: int) -> None:
    """Correct what a layer says of its own size."""
    for name in (f"{side}_features", f"{side}_channels", "num_features"):
        if hasattr(layer, name) and (name != "num_features" or side == "out"):
            setattr(layer, name, number)
