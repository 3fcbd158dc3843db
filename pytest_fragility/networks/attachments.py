"""What makes a module compute something else than its type says."""

from __future__ import annotations

import inspect
import sys
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as modules_of_torch
from torch.nn.utils import parametrize

_modules_of_torch: Any = modules_of_torch
_FORWARD_HOOKS = {"_forward_pre_hooks": "a forward pre-hook", "_forward_hooks": "a forward hook"}
_BACKWARD_HOOKS = {
    "_backward_pre_hooks": "a backward pre-hook",
    "_backward_hooks": "a backward hook",
}
_METHODS_OF_A_PASS = {"__call__", "forward", "_conv_forward"}
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def attached_to_forward(module: nn.Module) -> str:
    """Return what changes a module's forward pass from its type's, in words; empty for nothing.

    That is a hook, a method of its own, a parametrization, a parameter or buffer of
    another type than torch's, a weight of one of torch's layers that is no parameter, or a method
    that was put into the class of one of torch's layers. What its children have is not looked at.
    """
    if parametrize.is_parametrized(module):
        parametrizations: Any = module.parametrizations
        made = [f"{name} ({_names(steps)})" for name, steps in parametrizations.items()]
        return f"a parametrization of {', '.join(made)}"
    if own := own_methods(module):
        return f"a method {next(iter(own))} of its own"
    if vars(module).get("_compiled_call_impl") is not None:
        return "a compiled forward pass"
    for name, tensor in _tensors(module):
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            return f"a {name} of type {type(tensor).__name__}"
    if _modules_of_torch._has_any_global_hook():
        return "a hook that is registered for all modules"
    if hook := _hook(module, _FORWARD_HOOKS):
        return hook
    # by the type itself, not by its name
    if getattr(nn, type(module).__name__, None) is type(module):
        if replaced := _replaced_method(type(module)):
            return f"a method {replaced} that is not torch's"
        held = vars(module).keys() | module._buffers.keys()
        apart = [name for name in ("weight", "bias") if name in held and _is_tensor(module, name)]
        # layers without a bias hold None there
        if apart:
            return f"a {apart[0]} that is no parameter"
    return ""


def attached_to(module: nn.Module) -> str:
    """Return what changes a module's forward pass or its gradients; see `attached_to_forward`."""
    for name, tensor in _tensors(module):
        if any(getattr(tensor, hooks, None) for hooks in _TENSOR_HOOKS):
            return f"a hook on its {name}"
    return attached_to_forward(module) or _hook(module, _BACKWARD_HOOKS)


def plain_layers(network: nn.Module) -> dict[str, nn.Module] | None:
    """Return the children of a `torch.nn.Sequential` by name; None for anything else.

    Told by the exact type, with nothing attached to it or to one of them, so that it does nothing
    but pass what one child returns to the next.
    """
    if type(network) is not nn.Sequential:
        return None
    # a child that stands in two places is in both
    children = {name: each for name, each in network._modules.items() if each is not None}
    if any(attached_to(each) for each in (network, *children.values())):
        return None
    return children


def own_methods(module: nn.Module) -> dict[str, Any]:
    """Return what stands in the place of methods of a module's class, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if callable(getattr(type(module), name, None))
    }


def _replaced_method(kind: type[nn.Module]) -> str:
    """Return which method of a pass through torch's layer, or its base, is somebody else's.

    Those of `torch.nn.Module` itself are left out, which tools wrap in order to watch.
    """
    for base in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        # a function knows the module that it was written in, whatever it is called now
        home = vars(sys.modules[base.__module__])
        for name in sorted(_METHODS_OF_A_PASS & vars(base).keys()):
            if getattr(vars(base)[name], "__globals__", None) is not home:
                return name
    return ""


def shared_with_copies(network: nn.Module) -> str:
    """Return what a deep copy of a network would share with it, in words; empty for nothing.

    Functions are not copied: a hook or an assigned method that holds on to the network's modules
    or parameters does so in the copy as well.
    """
    for name, module in network.named_modules():
        hooks = [each for kind in _FORWARD_HOOKS for each in getattr(module, kind).values()]
        attached = [*own_methods(module).items(), *(("forward hook", each) for each in hooks)]
        for what, function in attached:
            if isinstance(function, FunctionType) and _holds_on(function):
                where = f"layer {name} ({type(module).__name__})" if name else type(module).__name__
                return f"the {what} of {where}"
    return ""


def _holds_on(function: FunctionType) -> bool:
    """Return whether a function's own variables are modules, their methods or parameters."""
    held = inspect.getclosurevars(function).nonlocals.values()
    owners = [each.__self__ if isinstance(each, MethodType) else each for each in held]
    return any(isinstance(each, nn.Module | nn.Parameter) for each in owners)


def _is_tensor(module: nn.Module, name: str) -> bool:
    return isinstance(getattr(module, name), torch.Tensor)


def _tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    held = (*module._parameters.items(), *module._buffers.items())
    return [(name, tensor) for name, tensor in held if tensor is not None]


def _hook(module: nn.Module, kinds: dict[str, str]) -> str:
    for attribute, kind in kinds.items():
        hooks: dict[int, Any] = getattr(module, attribute)
        if hooks:
            return f"{kind} ({_names(hooks.values())})"
    return ""


def _names(things: Any) -> str:
    return ", ".join(getattr(each, "__name__", type(each).__name__) for each in things)
