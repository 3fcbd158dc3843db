"""What follows what in a network's forward pass."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.nn import functional

from pytest_fragility.errors import UndefinedMeasureError

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def traced(structure: nn.Module) -> fx.Graph:
    """Return the operations of a module's forward pass, in order.

    Raises
    ------
    UndefinedMeasureError
        If it cannot be traced, for instance because its path depends on the data.
    """
    if type(structure) in WEIGHT_LAYERS:
        graph = fx.Graph()
        graph.output(graph.call_module("", (graph.placeholder("input"),)))
        return graph
    try:
        return fx.Tracer().trace(structure)
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
        elif is_relu(node, module) and not expects_linear:
            expects_linear = True
        elif not _keeps_values(node, module, is_first=not names):
            return None
    is_plain = len(set(names)) == len(names) and not expects_linear
    return names if is_plain else None


def is_relu(node: fx.Node, module: nn.Module | None) -> bool:
    """Return whether an operation, or the module that it calls, is a ReLU."""
    return isinstance(module, nn.ReLU) or node.target in (torch.relu, functional.relu, "relu")


def is_flattening(node: fx.Node, module: nn.Module | None) -> bool:
    """Return whether an operation flattens all but the samples."""
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    return node.target in (torch.flatten, "flatten") and node.args[1:] == (1,) and not node.kwargs


def _keeps_values(node: fx.Node, module: nn.Module | None, *, is_first: bool) -> bool:
    if node.op in ("placeholder", "output") or isinstance(module, nn.Identity | nn.Dropout):
        return True
    return is_first and is_flattening(node, module)
