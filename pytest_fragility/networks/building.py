"""From an architecture to a module."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import torch
from torch.nn import Parameter
from torch.nn.parameter import is_lazy

from pytest_fragility._util.text import error_text
from pytest_fragility.errors import SettingsError
from pytest_fragility.networks.convolutional import plain_convolutional, residual
from pytest_fragility.networks.layers import weights_of
from pytest_fragility.networks.perceptrons import perceptron, scale_invariant_perceptron
from pytest_fragility.networks.transformers import vision_transformer
from pytest_fragility.recipes import (
    CNN,
    MLP,
    Architecture,
    Factory,
    ResNet,
    ScaleInvariantMLP,
    ViT,
)

BUILDERS: dict[type[Architecture], Callable[..., torch.nn.Module]] = {
    MLP: perceptron,
    ScaleInvariantMLP: scale_invariant_perceptron,
    CNN: plain_convolutional,
    ResNet: residual,
    ViT: vision_transformer,
}

# torch's global generator and default dtype are one for all threads
_making = threading.RLock()
# what factories have returned and is still in use
_made: WeakSet[torch.nn.Module] = WeakSet()


def build_network(
    architecture: Architecture, input_shape: tuple[int, ...], classes: int
) -> torch.nn.Module:
    """Return a module with this architecture: float32, on the CPU, in training mode.

    The weights that a recipe draws, those of linear layers and convolutions, mean nothing.
    Parameters that are not trained do not require a gradient. Nothing is drawn from torch's global
    generator.

    Parameters
    ----------
    architecture
        The layers between input and output.
    input_shape
        Shape of one input.
    classes
        Number of outputs (logits).

    Raises
    ------
    SettingsError
        If inputs of this shape do not fit the architecture, or a factory returns no module.
    """
    if isinstance(architecture, Factory):
        return make_network(architecture, input_shape, classes, seed=0)
    return _clone(_template(architecture, input_shape, classes))


def make_network(
    factory: Factory, input_shape: tuple[int, ...], classes: int, *, seed: int
) -> torch.nn.Module:
    """Return what a factory makes where torch's global generator is seeded so, and restored.

    Raises
    ------
    SettingsError
        If the function raises, returns no module or the same one again, or its parameters cannot
        be trained.
    """
    with _making, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        dtype = torch.get_default_dtype()
        torch.default_generator.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        try:
            network: Any = factory.make(input_shape, classes)
        except (KeyboardInterrupt, SettingsError):
            raise
        except BaseException as error:
            raise SettingsError(
                f"architecture {factory.name}: the function raised {error_text(error)}"
            ) from error
        finally:
            torch.set_default_dtype(dtype)
    if not isinstance(network, torch.nn.Module):
        raise SettingsError(
            f"architecture {factory.name}: the function returned {type(network).__name__}; "
            "expected a torch.nn.Module"
        )
    _require_trainable(factory, network)
    if network in _made:
        raise SettingsError(
            f"architecture {factory.name}: the function returned the same module as before; "
            "expected a new one each time, since an audit trains many"
        )
    _made.add(network)
    return network.to("cpu", torch.float32).train()


def _require_trainable(factory: Factory, network: torch.nn.Module) -> None:
    for name, parameter in network.named_parameters():
        if is_lazy(parameter):
            reason = f"{name} is lazy, its shape not known before a first call; give it a shape"
        elif parameter.is_meta:
            reason = f"{name} is on the meta device, which holds no values"
        elif parameter.is_complex():
            reason = f"{name} is complex; expected real parameters"
        else:
            continue
        raise SettingsError(f"architecture {factory.name}: the parameter {reason}")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise SettingsError(f"architecture {factory.name}: it has no parameter to train")


@lru_cache(maxsize=32)
def _template(
    architecture: Architecture, input_shape: tuple[int, ...], classes: int
) -> torch.nn.Module:
    count_weights(architecture, input_shape, classes)
    return BUILDERS[type(architecture)](architecture, input_shape, classes)


@lru_cache(maxsize=32)
def count_weights(architecture: Architecture, input_shape: tuple[int, ...], classes: int) -> int:
    """Return how many weights a built-in architecture has, before any memory is asked for.

    Raises
    ------
    SettingsError
        If these are too many, or inputs of this shape do not fit.
    """
    build = BUILDERS[type(architecture)]
    return weights_of(lambda: build(architecture, input_shape, classes))


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
    for name, buffer in module._buffers.items():
        clone._buffers[name] = None if buffer is None else buffer.clone()
    for name, child in module._modules.items():
        clone._modules[name] = None if child is None else _clone(child)
    return clone
