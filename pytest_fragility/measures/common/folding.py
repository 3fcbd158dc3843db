"""Weights of layers with batch normalization folded into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.func import functional_call

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.common.parameter_vectors import layer_keys
from pytest_fragility.networks.stacks import NetworkStack, Tensors
from pytest_fragility.networks.weight_layers import WeightLayer, weight_layers


def folded_parameters(
    stack: NetworkStack, *, initial: bool = False
) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """Return weight and bias of every weight layer with its normalization folded in, in float64.

    Batch normalization in eval mode, ``gamma (z - mean) / sqrt(variance + eps) + beta``, scales
    each output of the layer before it and shifts its bias. Weights have the shape
    (K, outputs, inputs, *kernel), biases (K, outputs) or are None. `initial` takes the initial
    weights and statistics instead of the trained ones.
    """
    weights = stack.initial_weights if initial else stack.weights
    buffers = stack.initial_buffers if initial else stack.buffers

    def compute() -> list[tuple[torch.Tensor, torch.Tensor | None]]:
        layers = weight_layers(stack)
        if any(layer.normalization for layer in layers):
            _require_normalized_features(stack, layers)
        everything = _with_shared(stack.structure, weights)
        return [_fold(layer, everything, buffers) for layer in layers]

    return stack.once(("folded parameters", initial), compute)


def _with_shared(structure: nn.Module, weights: Tensors) -> Tensors:
    """Return parameters under every name that they have; modules may share them."""
    names = {id(parameter): name for name, parameter in structure.named_parameters()}
    return {
        alias: weights[names[id(parameter)]]
        for alias, parameter in structure.named_parameters(remove_duplicate=False)
    }


def _require_normalized_features(stack: NetworkStack, layers: list[WeightLayer]) -> None:
    """Refuse batch normalization over positions, which linear layers on sequences allow."""

    def check(
        layer: WeightLayer,
    ) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def look(module: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            if not layer.is_convolution and output.dim() > 2:
                assert layer.normalization is not None
                raise UndefinedMeasureError(
                    f"normalization layer {layer.normalization[0]} is one of positions, not of "
                    f"features: layer {layer.name} before it has outputs of shape "
                    f"{tuple(output.shape[1:])}, so that it cannot be folded into the weight"
                )

        return look

    modules = dict(stack.structure.named_modules())
    handles = [
        modules[layer.name].register_forward_hook(check(layer))
        for layer in layers
        if layer.normalization
    ]
    run_once(stack, handles)


def run_once(stack: NetworkStack, handles: Sequence[torch.utils.hooks.RemovableHandle]) -> None:
    """Run the first network on one sample for what hooks see, and take the hooks away."""
    state = {name: tensor[0] for name, tensor in [*stack.weights.items(), *stack.buffers.items()]}
    try:
        with torch.no_grad():
            functional_call(stack.structure, state, (stack.inputs[0, :1],))
    finally:
        for handle in handles:
            handle.remove()


def _fold(
    layer: WeightLayer, weights: Tensors, buffers: Tensors
) -> tuple[torch.Tensor, torch.Tensor | None]:
    ((weight_key, bias_key),) = layer_keys([layer.name])
    weight, bias = weights[weight_key].double(), weights.get(bias_key)
    bias = None if bias is None else bias.double()
    if layer.normalization is None:
        return weight, bias
    name, epsilon = layer.normalization
    mean = buffers[f"{name}.running_mean"].double()
    scale = (buffers[f"{name}.running_var"].double() + epsilon).rsqrt()
    if f"{name}.weight" in weights:
        scale = scale * weights[f"{name}.weight"].double()
    shifted = (-mean if bias is None else bias - mean) * scale
    if f"{name}.bias" in weights:
        shifted = shifted + weights[f"{name}.bias"].double()
    return weight * scale.reshape(*scale.shape, *[1] * (weight.dim() - 2)), shifted


def weight_matrices(stack: NetworkStack, *, initial: bool = False) -> list[torch.Tensor]:
    """Return every layer's weight as a matrix, shape (K, outputs, inputs), float64.

    A convolution's kernel is reshaped to (outputs, inputs x kernel positions); batch normalization
    is folded in; biases are left out.
    """
    return [weight.flatten(2) for weight, _ in folded_parameters(stack, initial=initial)]
