"""Weight layers of a network, told by their type, with batch normalization folded into them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.network_stacks import NetworkStack, Tensors


@dataclass(frozen=True)
class WeightLayer:
    """A linear layer or a convolution.

    Parameters
    ----------
    name
        The module's path.
    module
        Gives stride, padding and the like; its own weights mean nothing.
    normalization
        Path of the batch normalization behind it, which is folded into it, and its epsilon.
    """

    name: str
    module: nn.Linear | _ConvNd
    normalization: tuple[str, float] | None

    @property
    def is_convolution(self) -> bool:
        """Whether the layer is a convolution."""
        return isinstance(self.module, _ConvNd)


def weight_layers(stack: NetworkStack) -> list[WeightLayer]:
    """Return linear layers and convolutions in the order of registration.

    Raises
    ------
    UndefinedMeasureError
        If a module has parameters of another kind, or normalizes in a way that cannot be folded
        into a weight.
    """
    return stack.once("weight layers", lambda: find_weight_layers(stack.structure))


def find_weight_layers(structure: nn.Module) -> list[WeightLayer]:
    """Return the weight layers of one module; see `weight_layers`."""
    modules = dict(structure.named_modules())
    folded = _foldable(structure, modules)
    layers = []
    for name, module in modules.items():
        if type(module) is nn.Linear or _is_plain_convolution(module):
            layers.append(WeightLayer(name, module, folded.get(name)))
        else:
            _require_known(name, module)
    if not layers:
        raise UndefinedMeasureError(
            f"{_called('', structure)} has no linear layer and no convolution, so no weight matrix"
        )
    return layers


def _is_plain_convolution(module: nn.Module) -> bool:
    return isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd)


def _require_known(name: str, module: nn.Module) -> None:
    """Refuse a module whose weights or statistics no weight matrix holds."""
    if isinstance(module, _BatchNorm):
        return
    if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.modules.instancenorm._InstanceNorm):
        raise UndefinedMeasureError(
            f"{_called(name, module)} divides by a statistic of each sample, which cannot be "
            "folded into a weight; norms of weights say nothing about such a network's function"
        )
    own = [key for key, _ in module.named_parameters(recurse=False)]
    if own:
        raise UndefinedMeasureError(
            f"{_called(name, module)} has parameters ({', '.join(own)}) of a kind that this "
            "measure does not know; it reads linear layers, convolutions and batch normalization"
        )


def _foldable(structure: nn.Module, modules: dict[str, nn.Module]) -> dict[str, tuple[str, float]]:
    """Return, by weight layer, the batch normalization that directly follows it."""
    waiting = {name: m for name, m in modules.items() if isinstance(m, _BatchNorm)}
    if not waiting:
        return {}
    folded: dict[str, tuple[str, float]] = {}
    for node in traced(structure).nodes:
        if node.op != "call_module" or node.target not in waiting:
            continue
        name = str(node.target)
        module = waiting.pop(name)
        assert isinstance(module, _BatchNorm)
        if module.running_mean is None:
            raise UndefinedMeasureError(
                f"{_called(name, module)} has no running statistics: it uses those of the batch, "
                "which cannot be folded into a weight"
            )
        before = node.args[0]
        if not _is_sole_use_of_a_weight_layer(before, modules):
            raise UndefinedMeasureError(
                f"{_called(name, module)} does not directly follow a linear layer or convolution "
                f"of its own (it follows {before}), so that it cannot be folded into a weight; "
                "measures that read functions or whole parameter vectors still apply"
            )
        folded[str(before.target)] = (name, module.eps)
    if waiting:
        raise UndefinedMeasureError(
            f"normalization {', '.join(waiting)} is used more than once or not at all, so that it "
            "cannot be folded into a weight"
        )
    return folded


def _is_sole_use_of_a_weight_layer(node: fx.node.Argument, modules: dict[str, nn.Module]) -> bool:
    if not isinstance(node, fx.Node) or node.op != "call_module" or len(node.users) != 1:
        return False
    module = modules[str(node.target)]
    if type(module) is not nn.Linear and not _is_plain_convolution(module):
        return False
    uses = [other for other in node.graph.nodes if other.target == node.target]
    return len(uses) == 1


def traced(structure: nn.Module) -> fx.Graph:
    """Return the operations of a module's forward pass, in order.

    Raises
    ------
    UndefinedMeasureError
        If it cannot be traced, for instance because its path depends on the data.
    """
    try:
        return fx.Tracer().trace(structure)
    except (fx.proxy.TraceError, TypeError, RuntimeError, AttributeError, ValueError) as error:
        raise UndefinedMeasureError(
            f"the forward pass of {type(structure).__name__} cannot be traced by torch.fx "
            f"({type(error).__name__}: {str(error).splitlines()[0]}), which this measure needs in "
            "order to know what follows what"
        ) from error


def _called(name: str, module: nn.Module) -> str:
    return f"layer {name} ({type(module).__name__})" if name else type(module).__name__


def folded_parameters(
    stack: NetworkStack, *, initial: bool = False
) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """Return weight and bias of every weight layer with its normalization folded in.

    Batch normalization in eval mode, ``gamma (z - mean) / sqrt(variance + eps) + beta``, scales
    each output of the layer before it and shifts its bias.

    Parameters
    ----------
    stack
        The networks.
    initial
        Whether to take the initial weights and statistics instead of the trained ones.

    Returns
    -------
    list of (weight, bias)
        Weights of shape (K, outputs, inputs, *kernel), biases (K, outputs) or None; float64.
    """
    weights = stack.initial_weights if initial else stack.weights
    buffers = stack.initial_buffers if initial else stack.buffers
    return stack.once(
        ("folded parameters", initial),
        lambda: [_fold(layer, weights, buffers) for layer in weight_layers(stack)],
    )


def _fold(
    layer: WeightLayer, weights: Tensors, buffers: Tensors
) -> tuple[torch.Tensor, torch.Tensor | None]:
    prefix = f"{layer.name}." if layer.name else ""
    weight = weights[f"{prefix}weight"].double()
    bias = weights.get(f"{prefix}bias")
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


def parameter_vectors(stack: NetworkStack, *, initial: bool = False) -> torch.Tensor:
    """Return all parameters of each network as one row, shape (K, P), float64.

    Everything that was trained, as it stands: biases and normalization included, nothing folded.
    """
    weights = stack.initial_weights if initial else stack.weights
    return stack.once(
        ("parameter vectors", initial),
        lambda: torch.cat([w.flatten(1).double() for w in weights.values()], dim=1),
    )


def split_vectors(stack: NetworkStack, vectors: torch.Tensor) -> Tensors:
    """Cut rows of shape (S, P) into parameters by name, each of shape (S, *shape)."""
    shapes = {name: weight.shape[1:] for name, weight in stack.weights.items()}
    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = torch.split(vectors, sizes, dim=1)
    return {
        name: part.reshape(len(vectors), *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
