"""Weight layers of a network, told by their type, with batch normalization folded into them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import fx, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.network_stacks import NetworkStack, Tensors

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
SAMPLE_NORMALIZATIONS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
    nn.CrossMapLRN2d,
    _InstanceNorm,
)


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
    for name, module in modules.items():
        _require_known(name, module)
    folded = _foldable(structure, modules)
    layers = [
        WeightLayer(name, module, folded.get(name))
        for name, module in modules.items()
        if _is_weight_layer(module)
    ]
    if not layers:
        raise UndefinedMeasureError(
            f"{_called('', structure)} has no linear layer and no convolution, so no weight matrix"
        )
    return layers


def _is_weight_layer(module: nn.Module) -> TypeGuard[nn.Linear | _ConvNd]:
    """Tell by the exact type: a subclass may do anything with its weight."""
    return type(module) in WEIGHT_LAYERS


def _require_known(name: str, module: nn.Module) -> None:
    """Refuse a module whose weights or statistics no weight matrix holds."""
    if isinstance(module, SAMPLE_NORMALIZATIONS):
        raise UndefinedMeasureError(
            f"{_called(name, module)} divides by a statistic of each sample, which cannot be "
            "folded into a weight; norms of weights say nothing about such a network's function"
        )
    own = [key for key, _ in module.named_parameters(recurse=False)]
    is_plain = _is_weight_layer(module) or isinstance(module, _BatchNorm)
    if _is_weight_layer(module) and "weight" not in own:
        raise UndefinedMeasureError(
            f"{_called(name, module)} has a weight that is made from other tensors at each pass "
            f"({', '.join(own)}); this measure reads weights that are parameters"
        )
    if own and not (is_plain and set(own) <= {"weight", "bias"}):
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
    calls = [str(node.target) for node in traced(structure).nodes if node.op == "call_module"]
    odd = [name for name in waiting if calls.count(name) != 1]
    if odd:
        raise UndefinedMeasureError(
            f"{_called(odd[0], modules[odd[0]])} is used {calls.count(odd[0])} times, so that it "
            "cannot be folded into one weight"
        )
    for node in traced(structure).nodes:
        if node.op != "call_module" or node.target not in waiting:
            continue
        name = str(node.target)
        module = waiting[name]
        assert isinstance(module, _BatchNorm)
        if module.running_mean is None:
            raise UndefinedMeasureError(
                f"{_called(name, module)} has no running statistics: it uses those of the batch, "
                "which cannot be folded into a weight"
            )
        before = node.all_input_nodes[0]
        if not _is_sole_use_of_a_weight_layer(before, modules):
            raise UndefinedMeasureError(
                f"{_called(name, module)} does not directly follow a linear layer or convolution "
                f"of its own (it follows {before}), so that it cannot be folded into a weight; "
                "measures that read functions or whole parameter vectors still apply"
            )
        folded[str(before.target)] = (name, module.eps)
    return folded


def _is_sole_use_of_a_weight_layer(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op != "call_module" or len(node.users) != 1:
        return False
    if not _is_weight_layer(modules[str(node.target)]):
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
    if _is_weight_layer(structure):
        graph = fx.Graph()
        graph.output(graph.call_module("", (graph.placeholder("input"),)))
        return graph
    try:
        return fx.Tracer().trace(structure)
    except Exception as error:
        # a forward pass that is run on proxies may raise anything
        first_line = (str(error).splitlines() or ["no message"])[0]
        raise UndefinedMeasureError(
            f"the forward pass of {type(structure).__name__} cannot be traced by torch.fx "
            f"({type(error).__name__}: {first_line}), which this measure needs in order to know "
            "what follows what"
        ) from error


def relu_chain(structure: nn.Module) -> list[str] | None:
    """Return the linear layers of a ReLU perceptron, first to last; None for anything else.

    Linear layers with a ReLU between each two, behind a flattening or none, whether written as
    `torch.nn.Sequential` or as a forward pass of one's own. None of them shares a parameter.
    """
    modules = dict(structure.named_modules())
    every_name = list(structure.named_parameters(remove_duplicate=False))
    if len(every_name) != len(list(structure.parameters())):
        return None
    try:
        nodes = list(traced(structure).nodes)
    except UndefinedMeasureError:
        return None
    names: list[str] = []
    expects_linear = True
    for node in nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if len(node.all_input_nodes) > 1 or len(node.users) > 1:
            return None
        if type(module) is nn.Linear and expects_linear:
            names.append(str(node.target))
            expects_linear = False
        elif _is_relu(node, module) and not expects_linear:
            expects_linear = True
        elif not _keeps_values(node, module, is_first=not names):
            return None
    is_plain = len(set(names)) == len(names) and not expects_linear
    return names if is_plain else None


def _is_relu(node: fx.Node, module: nn.Module | None) -> bool:
    return isinstance(module, nn.ReLU) or node.target in (torch.relu, functional.relu, "relu")


def _keeps_values(node: fx.Node, module: nn.Module | None, *, is_first: bool) -> bool:
    if node.op in ("placeholder", "output") or isinstance(module, nn.Identity | nn.Dropout):
        return True
    is_flattening = isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1)
    is_call = node.target in (torch.flatten, "flatten") and (*node.args[1:],) == (1,)
    return is_first and (is_flattening or (is_call and not node.kwargs))


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
        name: part.view(len(vectors), *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
