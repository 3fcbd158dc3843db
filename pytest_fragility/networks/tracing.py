"""What follows what in a network's forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.networks.attachments import attached_to_forward
from pytest_fragility.networks.shape_checks import trace

# by exact type: a subclass may do anything
WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def traced(structure: nn.Module) -> fx.Graph:
    """Return the operations of a module's forward pass, in order.

    What is attached to one of torch's layers within it, such as a hook, does not show: see
    `as_written`.

    Raises
    ------
    UndefinedMeasureError
        If it cannot be traced, for instance because its path depends on the data, or if a hook or
        the like is attached to the module itself.
    """
    attached = attached_to_forward(structure)
    if attached:
        raise UndefinedMeasureError(
            f"{type(structure).__name__} has {attached}, which a trace of the forward pass does "
            "not show; this measure needs to know what follows what"
        )
    if type(structure) in WEIGHT_LAYERS:
        graph = fx.Graph()
        graph.output(graph.call_module("", (graph.placeholder("input"),)))
        return graph
    try:
        return trace(structure)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # a forward pass that is run on proxies may raise anything
        first_line = (str(error).splitlines() or ["no message"])[0]
        raise UndefinedMeasureError(
            f"the forward pass of {type(structure).__name__} cannot be traced by torch.fx "
            f"({type(error).__name__}: {first_line}), which this measure needs in order to know "
            "what follows what"
        ) from error


def called(name: str, module: nn.Module) -> str:
    """Return what messages call a module of a network."""
    return f"layer {name} ({type(module).__name__})" if name else type(module).__name__


def as_written(structure: nn.Module) -> dict[str, nn.Module]:
    """Return the modules by path whose forward pass has nothing attached to it."""
    modules = structure.named_modules()
    return {name: module for name, module in modules if not attached_to_forward(module)}


def relu_chain(structure: nn.Module) -> list[str] | None:
    """Return the linear layers of a ReLU perceptron, first to last; None for anything else.

    Linear layers with a ReLU between each two, behind a flattening or none, whether written as
    `torch.nn.Sequential` or as a forward pass of one's own. None of them shares a parameter.
    """
    modules = as_written(structure)
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
        elif is_relu(node, module) and not expects_linear:
            expects_linear = True
        elif not _keeps_values(node, module, is_first=not names):
            return None
    is_plain = len(set(names)) == len(names) and not expects_linear
    return names if is_plain else None


def is_relu(node: fx.Node, module: nn.Module | None) -> bool:
    """Return whether an operation, or the module that it calls, is a ReLU."""
    return type(module) is nn.ReLU or calls(node, torch.relu, functional.relu, "relu")


def is_flattening(node: fx.Node, module: nn.Module | None) -> bool:
    """Return whether an operation flattens all but the samples."""
    if type(module) is nn.Flatten:
        return (module.start_dim, module.end_dim) == (1, -1)
    dimensions = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
    is_all = {"start_dim": 0, "end_dim": -1, **dimensions} == {"start_dim": 1, "end_dim": -1}
    return calls(node, torch.flatten, "flatten") and is_all


def calls(node: fx.Node, *targets: Callable[..., Any] | str) -> bool:
    """Return whether an operation is one of these functions, or methods of tensors by name."""
    # a module or a tensor of the network may have the name of a method
    return node.op in ("call_function", "call_method") and node.target in targets


def _keeps_values(node: fx.Node, module: nn.Module | None, *, is_first: bool) -> bool:
    if node.op in ("placeholder", "output") or type(module) in (nn.Identity, nn.Dropout):
        return True
    return is_first and is_flattening(node, module)
