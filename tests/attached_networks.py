"""Networks that look like perceptrons or plain convolutional ones, and compute something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from pytest_fragility.recipes import Factory


def perceptron(bias: bool = True) -> nn.Sequential:
    """Return a perceptron for images of 4 x 4 pixels and four classes."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8, bias=bias), nn.ReLU(), nn.Linear(8, 4, bias=bias)
    )


def convolutional() -> nn.Sequential:
    """Return a plain convolutional network for the same."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )


class Tempered(nn.Sequential):
    """Logits over a temperature."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        outputs: torch.Tensor = super().forward(inputs)
        return outputs / 4


class Called(nn.Sequential):
    """Is called in its own way."""

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        outputs: torch.Tensor = super().__call__(inputs)
        return outputs.tanh()


class Doubled(nn.Linear):
    """Twice a linear layer."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        return 2 * super().forward(inputs)


class Leaky(nn.ReLU):
    """A ReLU that lets through a tenth of what is negative."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        return torch.where(inputs > 0, inputs, 0.1 * inputs)


class Centred(nn.Flatten):
    """A flattening that takes the mean away."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs to outputs."""
        flat = super().forward(inputs)
        return flat - flat.mean(dim=1, keepdim=True)


def with_hook(register: str, hook: Callable[..., Any], place: int | None = None) -> nn.Module:
    """Return a perceptron with a hook, registered so, on one of its layers or on itself."""
    network = perceptron()
    getattr(network if place is None else network[place], register)(hook)
    return network


def with_tensor_hook() -> nn.Module:
    """Return a perceptron half of whose first weights get no gradient."""
    network = perceptron()
    network[1].weight.register_hook(lambda gradient: gradient * (torch.arange(16) % 2))
    return network


def with_own_forward(place: int | None = None) -> nn.Module:
    """Return a perceptron one of whose modules has a forward pass assigned to it."""
    network = perceptron()
    module = network if place is None else network[place]
    before = module.forward
    module.forward = lambda inputs: 1 + 0.5 * before(inputs)  # type: ignore[method-assign]
    return network


def with_fixed_bias() -> nn.Module:
    """Return a perceptron whose first bias is a buffer; its last layer has a parameter too many."""
    network = perceptron()
    bias = network[1].bias.detach() + 1
    del network[1].bias
    network[1].register_buffer("bias", bias)
    network[3].unused = nn.Parameter(torch.ones(4))
    return network


def pruned(layer_of: Callable[[], nn.Sequential], place: int) -> nn.Module:
    """Return a network half of whose weights in a layer are cut off."""
    network = layer_of()
    prune.random_unstructured(network[place], "weight", amount=0.5)
    return network


def changed(place: int, change: Callable[[Any], Any]) -> nn.Module:
    """Return a perceptron with a layer changed."""
    network = perceptron()
    network[place] = change(network[place])
    return network


def halve(_: nn.Module, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Halve what goes into a module."""
    return (args[0] / 2,)


def square(_: nn.Module, __: Any, outputs: torch.Tensor) -> torch.Tensor:
    """Change what comes out of a module."""
    return outputs + 0.1 * outputs.square()


def damp(_: nn.Module, gradients: tuple[torch.Tensor, ...], __: Any = None) -> Any:
    """Halve gradients."""
    return tuple(None if each is None else each / 2 for each in gradients)


# what changes the forward pass
FORWARD: dict[str, Callable[[], nn.Module]] = {
    "sequential's subclass": lambda: Tempered(*perceptron()),
    "own call": lambda: Called(*perceptron()),
    "linear's subclass": lambda: changed(3, lambda _: Doubled(8, 4)),
    "relu's subclass": lambda: changed(2, lambda _: Leaky()),
    "flatten's subclass": lambda: changed(0, lambda _: Centred()),
    "convolutional subclass": lambda: Tempered(*convolutional()),
    "forward hook": lambda: with_hook("register_forward_hook", square, 1),
    "forward hook on a relu": lambda: with_hook("register_forward_hook", square, 2),
    "forward hook on the network": lambda: with_hook("register_forward_hook", square),
    "forward pre-hook": lambda: with_hook("register_forward_pre_hook", halve, 3),
    "forward pre-hook on the network": lambda: with_hook("register_forward_pre_hook", halve),
    "own forward of a layer": lambda: with_own_forward(1),
    "own forward of a relu": lambda: with_own_forward(2),
    "own forward": with_own_forward,
    "fixed bias": with_fixed_bias,
    "pruned": lambda: pruned(perceptron, 1),
    "pruned without bias": lambda: pruned(lambda: perceptron(bias=False), 1),
    "pruned convolution": lambda: pruned(convolutional, 0),
    "spectral norm": lambda: changed(1, spectral_norm),
    "weight norm": lambda: changed(1, weight_norm),
    "weight norm without bias": lambda: nn.Sequential(
        nn.Flatten(), weight_norm(nn.Linear(16, 8, bias=False)), nn.ReLU(), nn.Linear(8, 4)
    ),
    "parametrized": lambda: changed(1, parametrizations.weight_norm),
    "orthogonal": lambda: changed(1, parametrizations.orthogonal),
    "spectral parametrization": lambda: changed(1, parametrizations.spectral_norm),
}
# what changes gradients alone
BACKWARD: dict[str, Callable[[], nn.Module]] = {
    "backward hook": lambda: with_hook("register_full_backward_hook", damp, 1),
    "backward hook on a relu": lambda: with_hook("register_full_backward_hook", damp, 2),
    "backward pre-hook": lambda: with_hook("register_full_backward_pre_hook", damp, 3),
    "tensor hook": with_tensor_hook,
}
ATTACHED = {name: Factory(make) for name, make in {**FORWARD, **BACKWARD}.items()}
