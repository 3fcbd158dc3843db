"""Changes of weights that leave a network's function as it is."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import Parameter

from pytest_fragility.symmetries.links import Link, find_links, last_layer, weight_of

LAYER_FACTOR = 4.0
LARGEST_POWER = 3.0
LOGIT_SHIFT = 5.0

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
    """Double one neuron of every hidden layer, and halve what leaves both of it."""
    links = find_links(models[0])
    for link in links:
        outputs = weight_of(models[0], link.first).shape[0]
        chosen = int(torch.randint(outputs, (1,), generator=generator))
        order = torch.cat([torch.arange(outputs), torch.tensor([chosen])])
        for model in models:
            _keep_outputs(model, link, order)
            _keep_inputs(model, link, order)
            blocks = _blocks(model, link)
            blocks[:, [chosen, outputs]] /= 2
    return bool(links)


def add_dead_neurons(models: Models, generator: torch.Generator) -> bool:
    """Add a neuron to every hidden layer whose output a ReLU always cuts off."""
    links = [
        link
        for link in find_links(models[0])
        if link.is_rectified and not link.normalization and _has_bias(models[0], link)
    ]
    for link in links:
        for model in models:
            _add_neuron(model, link, incoming=0.0, bias=-1.0, outgoing=1.0)
    return bool(links)


def add_silent_neurons(models: Models, generator: torch.Generator) -> bool:
    """Add a neuron to every hidden layer that nothing listens to."""
    links = [link for link in find_links(models[0]) if not link.normalization]
    for link in links:
        for model in models:
            _add_neuron(model, link, incoming=1.0, bias=0.0, outgoing=0.0)
    return bool(links)


def scale_before_normalization(models: Models, generator: torch.Generator) -> bool:
    """Multiply every layer in front of a batch normalization by 4, and its statistics with it."""
    trained = models[0]
    links = [link for link in find_links(trained) if link.normalization]
    for link in links:
        layer = trained.get_submodule(link.first)
        _scale_outputs(layer, torch.tensor(LAYER_FACTOR, dtype=torch.float64))
        assert link.normalization is not None
        statistics = trained.get_submodule(link.normalization)
        assert isinstance(statistics, nn.modules.batchnorm._BatchNorm)
        assert statistics.running_mean is not None and statistics.running_var is not None
        with torch.no_grad():
            variance = statistics.running_var + statistics.eps
            statistics.running_mean *= LAYER_FACTOR
            statistics.running_var.copy_(LAYER_FACTOR**2 * variance - statistics.eps)
    return bool(links)


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


def _keep_outputs(model: nn.Module, link: Link, order: torch.Tensor) -> None:
    """Give the first layer, and the normalization behind it, these of its outputs."""
    names = [link.first] + ([link.normalization] if link.normalization else [])
    for name in names:
        layer = model.get_submodule(name)
        for key, parameter in list(layer.named_parameters(recurse=False)):
            setattr(layer, key, Parameter(parameter.detach()[order].clone()))
        for key, buffer in list(layer.named_buffers(recurse=False)):
            if buffer.dim():
                setattr(layer, key, buffer[order].clone())
        _count(layer, "out", len(order))


def _keep_inputs(model: nn.Module, link: Link, order: torch.Tensor) -> None:
    """Give the second layer these of what it hears of."""
    layer = model.get_submodule(link.second)
    weight = weight_of(model, link.second).detach()
    spread = weight.shape[1] // (int(order.max()) + 1)
    blocks = _in_blocks(weight, spread)[:, order]
    layer.weight = Parameter(blocks.flatten(1, 2).clone())
    _count(layer, "in", len(order) * spread)


def _add_neuron(
    model: nn.Module, link: Link, *, incoming: float, bias: float, outgoing: float
) -> None:
    outputs = weight_of(model, link.first).shape[0]
    order = torch.cat([torch.arange(outputs), torch.tensor([0])])
    _keep_outputs(model, link, order)
    _keep_inputs(model, link, order)
    layer = model.get_submodule(link.first)
    with torch.no_grad():
        weight_of(model, link.first)[-1] = incoming
        if isinstance(layer.bias, torch.Tensor):
            layer.bias[-1] = bias
        _blocks(model, link)[:, -1] = outgoing


def _has_bias(model: nn.Module, link: Link) -> bool:
    return getattr(model.get_submodule(link.first), "bias", None) is not None


def _count(layer: nn.Module, side: str, number: int) -> None:
    """Correct what a layer says of its own size."""
    for name in (f"{side}_features", f"{side}_channels", "num_features"):
        if hasattr(layer, name) and (name != "num_features" or side == "out"):
            setattr(layer, name, number)
