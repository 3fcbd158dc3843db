"""Sums over all paths through a network, in the log domain."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import fx, nn
from torch.func import vmap
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.common.folding import folded_parameters
from pytest_fragility.measures.common.outputs import does_the_same, each_alone, perceptron_of
from pytest_fragility.networks.attachments import attached_to_forward
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.tracing import BATCH_NORMALIZATIONS, WEIGHT_LAYERS, called, traced
from pytest_fragility.networks.weight_layers import weight_layers

Parameters = dict[str, tuple[torch.Tensor, torch.Tensor]]
# by exact type: a subclass may do anything
TRANSPARENT = (
    nn.ReLU,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    *BATCH_NORMALIZATIONS,
)
AVERAGE_POOLINGS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
MAX_POOLINGS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
ADAPTIVE_POOLINGS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
RESHAPING = (nn.Flatten, nn.Unflatten)
TRANSPARENT_CALLS = (torch.relu, functional.relu, "relu", "relu_", "contiguous")
RESHAPING_CALLS = (torch.flatten, torch.squeeze, "flatten", "view", "reshape", "squeeze")
ADDITIONS = (operator.add, torch.add, operator.iadd, "add", "add_")
POOLING_CALLS: dict[Any, Callable[..., nn.Module]] = {
    functional.avg_pool1d: nn.AvgPool1d,
    functional.avg_pool2d: nn.AvgPool2d,
    functional.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d,
    functional.max_pool2d: nn.MaxPool2d,
}
CONVOLUTIONS: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
AVERAGES: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}
LOG_OF_NOTHING = -1e300


@dataclass(frozen=True)
class PathSum:
    """Sums over the paths that end in each neuron, ``values * exp(log_scale)``.

    The values are not negative, of order one, and have the shape (1, *neurons).
    """

    values: torch.Tensor
    log_scale: torch.Tensor


def log_path_sums(stack: NetworkStack, power: int) -> torch.Tensor:
    """Return the logarithm of each output's sum over paths of |product of weights|^power.

    A path starts at an input or at a bias and takes one weight of every later layer. Batch
    normalization is folded into the layer before it. An average over k neurons is a layer with
    weights 1/k; a maximum over neurons counts as their sum (Gonon et al. 2024, "A path-norm
    toolkit for modern networks", definition of the path-norm for max-pooling neurons), so that
    the result is one for all inputs. Shape (K, classes), float64; -inf where no path has a weight
    other than zero. Other operations than these, ReLU, addition and reshaping are refused.
    """
    return stack.once(("log path sums", power), lambda: _log_path_sums(stack, power))


def _log_path_sums(stack: NetworkStack, power: int) -> torch.Tensor:
    layers = weight_layers(stack)
    graph = stack.once_for_structure("graph", lambda: _graph_of(stack))
    input_shape = stack.once_for_structure("input shape", lambda: stack.inputs.shape[2:])

    def one(tensors: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        parameters = {layer.name: pair for layer, pair in zip(layers, tensors, strict=True)}
        walk = _Walk(stack.structure, graph, parameters, power)
        start = torch.ones(1, *input_shape, dtype=torch.float64, device=stack.device)
        end = walk.run(PathSum(start, start.new_zeros(())))
        return end.values.flatten().log() + end.log_scale

    with torch.no_grad():
        pairs = [
            (weight, weight.new_zeros(weight.shape[:2]) if bias is None else bias)
            for weight, bias in folded_parameters(stack)
        ]
        sums: torch.Tensor = vmap(one)(pairs)
    return sums


def _graph_of(stack: NetworkStack) -> fx.Graph:
    """Return the operations of a stack's networks, which give what the networks themselves do."""
    graph = traced(stack.structure)
    if type(stack.structure) not in WEIGHT_LAYERS and perceptron_of(stack) is None:
        in_order = fx.GraphModule(stack.structure, graph)
        if not does_the_same(stack, partial(each_alone, in_order)):
            raise UndefinedMeasureError(
                f"{type(stack.structure).__name__} has other outputs than what its forward pass "
                "shows to torch.fx; this measure needs to know what follows what"
            )
    return graph


class _Walk:
    """One pass over a network's operations, with sums over paths in the place of activations."""

    def __init__(
        self, structure: nn.Module, graph: fx.Graph, parameters: Parameters, power: int
    ) -> None:
        self._modules = dict(structure.named_modules())
        self._graph = graph
        self._parameters = parameters
        self._power = power

    def run(self, start: PathSum) -> PathSum:
        """Return the sums at the output."""
        known: dict[fx.Node, Any] = {}
        for node in self._graph.nodes:
            arguments: Any = fx.node.map_arg(node.args, lambda used: known[used])
            if node.op == "call_module":
                named: Any = fx.node.map_arg(node.kwargs, lambda used: known[used])
                arguments = (*arguments, *named.values())
            if node.op == "placeholder":
                # further arguments of the forward pass have their defaults
                known[node] = arguments[0] if known and arguments else start
            elif node.op == "output":
                result = arguments[0]
                assert isinstance(result, PathSum)
                return result
            else:
                known[node] = self._step(node, arguments)
        raise UndefinedMeasureError("the network's forward pass returns nothing")

    def _step(self, node: fx.Node, arguments: Any) -> Any:
        if node.op == "call_module":
            return self._through_module(str(node.target), arguments[0])
        if node.op == "get_attr":
            raise _unknown(f"a tensor that is no layer's ({node.target})")
        if node.target in TRANSPARENT_CALLS or _is_idle_dropout(node):
            return arguments[0]
        is_sum = all(isinstance(a, PathSum) for a in arguments) and not node.kwargs
        if node.target in ADDITIONS and is_sum:
            return _added(*arguments)
        if node.target in RESHAPING_CALLS and isinstance(arguments[0], PathSum):
            return self._reshaped(node, arguments)
        if node.target in POOLING_CALLS and arguments:
            return self._through_pooling_call(node, arguments)
        if node.target in (torch.mean, "mean") and isinstance(arguments[0], PathSum):
            return self._averaged(node, arguments)
        if node.target == "size" or (node.target is getattr and arguments[1] == "shape"):
            return arguments[0].values.size(*arguments[1:] if node.target == "size" else ())
        if node.target is operator.getitem and isinstance(arguments[0], torch.Size):
            return arguments[0][arguments[1]]
        raise _unknown(f"operation {node.name}")

    def _through_module(self, name: str, before: PathSum) -> PathSum:
        module = self._modules[name]
        if name in self._parameters:
            return self._through_weights(module, *self._parameters[name], before)
        if attached := attached_to_forward(module):
            raise _unknown(f"{called(name, module)}, which has {attached}")
        if type(module) in TRANSPARENT:
            return before
        if type(module) in RESHAPING:
            return PathSum(module(before.values), before.log_scale)
        pooled = self._pooled(module, before.values)
        if pooled is None:
            raise _unknown(called(name, module))
        return PathSum(pooled, before.log_scale)

    def _through_weights(
        self,
        module: nn.Module,
        weight: torch.Tensor,
        bias: torch.Tensor,
        before: PathSum,
    ) -> PathSum:
        """Apply |weight|^power, add |bias|^power, and bring the values back to order one."""
        largest = weight.abs().amax()
        weight = (weight.abs() / torch.where(largest > 0, largest, 1.0)).pow(self._power)
        if isinstance(module, _ConvNd):
            values = _convolved(module, weight, before.values)
        else:
            values = functional.linear(before.values, weight)
        through = _rescaled(values, before.log_scale + self._power * largest.log())
        start = self._power * bias.abs().log()
        if isinstance(module, _ConvNd):
            start = start.reshape(-1, *[1] * (values.dim() - 2))
        log_scale = torch.maximum(through.log_scale, start.amax())
        values = through.values * (through.log_scale - log_scale).exp()
        return _rescaled(values + (start - log_scale).exp(), log_scale)

    def _pooled(self, module: nn.Module, values: torch.Tensor) -> torch.Tensor | None:
        """Return the sums behind a pooling layer, or None where it is something else."""
        dimensions = values.dim() - 2
        if type(module) in ADAPTIVE_POOLINGS:
            window, mean = _adaptive_mean(module, values, dimensions)
            return mean * _count(window) ** (1 - self._power)
        if type(module) in AVERAGE_POOLINGS:
            window, mean = _window_mean(module, values, dimensions)
            return mean * _count(window) ** (1 - self._power)
        if type(module) in MAX_POOLINGS:
            if _each(module.dilation, dimensions) != (1,) * dimensions:
                raise _unknown("max-pooling with dilation")
            window, mean = _window_mean(module, values, dimensions)
            return mean * _count(window)
        return None

    def _through_pooling_call(self, node: fx.Node, arguments: Any) -> PathSum:
        """Follow a pooling function as the layer of the same name."""
        before, *options = arguments
        if len(options) > 3:
            raise _unknown(f"operation {node.name} with options that are not named")
        options_by_name: Any = node.kwargs
        module = POOLING_CALLS[node.target](*options, **options_by_name)
        pooled = self._pooled(module, before.values)
        assert pooled is not None
        return PathSum(pooled, before.log_scale)

    def _averaged(self, node: fx.Node, arguments: Any) -> PathSum:
        """Follow ``x.mean(dims)``."""
        before = arguments[0]
        values = before.values.mean(*arguments[1:], **node.kwargs)
        count = before.values.numel() // values.numel()
        return PathSum(values * float(count) ** (1 - self._power), before.log_scale)

    def _reshaped(self, node: fx.Node, arguments: Any) -> PathSum:
        before, rest = arguments[0], arguments[1:]
        if isinstance(node.target, str):
            values = getattr(before.values, node.target)(*rest, **node.kwargs)
        else:
            call: Callable[..., torch.Tensor] = node.target
            values = call(before.values, *rest, **node.kwargs)
        return PathSum(values, before.log_scale)


def _rescaled(values: torch.Tensor, log_scale: torch.Tensor) -> PathSum:
    """Return the same sums with the largest value one; zero outweighs nothing added later."""
    largest = values.amax()
    is_something = largest > 0
    scale = torch.where(is_something, log_scale + largest.log(), LOG_OF_NOTHING)
    return PathSum(values / torch.where(is_something, largest, 1.0), scale)


def _is_idle_dropout(node: fx.Node) -> bool:
    return node.target is functional.dropout and node.kwargs.get("training") is False


def _convolved(module: _ConvNd, weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    if module.padding_mode == "zeros":
        padding: Any = module.padding
    elif module.padding_mode == "circular":
        values = functional.pad(values, module._reversed_padding_repeated_twice, mode="circular")
        padding = 0
    else:
        raise _unknown(f"convolution with {module.padding_mode} padding")
    convolve = CONVOLUTIONS[values.dim() - 2]
    return convolve(
        values,
        weight,
        stride=module.stride,
        padding=padding,
        dilation=module.dilation,
        groups=module.groups,
    )


def _adaptive_mean(
    module: Any, values: torch.Tensor, dimensions: int
) -> tuple[tuple[int, ...], torch.Tensor]:
    """Return the window of an adaptive pooling layer, and the mean over it."""
    before, sizes = values.shape[2:], _each(module.output_size, dimensions)
    after = [own if size is None else size for own, size in zip(before, sizes, strict=True)]
    if any(size % parts for size, parts in zip(before, after, strict=True)):
        raise _unknown(f"adaptive pooling from {tuple(before)} to {tuple(after)}")
    window = tuple(size // parts for size, parts in zip(before, after, strict=True))
    return window, AVERAGES[dimensions](values, window)


def _window_mean(
    module: Any, values: torch.Tensor, dimensions: int
) -> tuple[tuple[int, ...], torch.Tensor]:
    """Return a pooling window and the mean over it, with zeros where it reaches beyond."""
    leaves_padding_out = not getattr(module, "count_include_pad", True)
    if module.ceil_mode or (leaves_padding_out and any(_each(module.padding, dimensions))):
        raise _unknown(f"{module} (windows of different sizes)")
    if getattr(module, "divisor_override", None) is not None:
        raise _unknown(f"{module} (divisor_override)")
    window = _each(module.kernel_size, dimensions)
    stride = _each(module.stride, dimensions)
    padding = _each(module.padding, dimensions)
    return window, AVERAGES[dimensions](values, window, stride, padding)


def _each(value: Any, dimensions: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,) * dimensions


def _count(window: tuple[int, ...]) -> float:
    return float(math.prod(window))


def _added(left: PathSum, right: PathSum) -> PathSum:
    scale = torch.maximum(left.log_scale, right.log_scale)
    values = left.values * (left.log_scale - scale).exp()
    values = values + right.values * (right.log_scale - scale).exp()
    return PathSum(values, scale)


def _unknown(what: str) -> UndefinedMeasureError:
    return UndefinedMeasureError(
        f"sums over paths are not defined here through {what}; they are through linear layers, "
        "convolutions, ReLU, folded batch normalization, pooling, addition and reshaping"
    )
