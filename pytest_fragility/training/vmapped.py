"""Stacks of networks of any structure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from pytest_fragility.training.buffers import Carried
from pytest_fragility.training.devices import WhileUsed
from pytest_fragility.training.dropout import seeded_dropout
from pytest_fragility.training.gradients import Sink, Tensors
from pytest_fragility.training.perceptron_stacks import Losses


class ByAutograd:
    """A stack of networks of any structure, whose gradients are torch's.

    Parameters
    ----------
    network
        Gives the structure.
    label_smoothing
        Share of the target that is spread evenly over all classes.
    """

    def __init__(self, network: nn.Module, label_smoothing: float = 0.0) -> None:
        self._network = network
        self._names = trained_names(network)
        self._label_smoothing = label_smoothing

    def _give(self, gradients: Iterable[torch.Tensor], sinks: Sequence[Sink]) -> None:
        for sink in sinks:
            for index, gradient in enumerate(gradients):
                sink.add(index, gradient)


class MappedNetwork(ByAutograd):
    """A stack of networks that `torch.func.vmap` takes; parameters as of `ByAutograd`."""

    def __init__(self, network: nn.Module, label_smoothing: float = 0.0) -> None:
        super().__init__(network, label_smoothing)

        def evaluate_one(tensors: dict[str, torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = functional_call(network, tensors, (inputs,))
            return logits

        def train_one(
            tensors: dict[str, torch.Tensor],
            seed: torch.Tensor,
            steps: torch.Tensor,
            inputs: torch.Tensor,
        ) -> torch.Tensor:
            with seeded_dropout(seed, steps):
                return evaluate_one(tensors, inputs)

        self._evaluate: Callable[..., torch.Tensor] = vmap(evaluate_one)
        self._train: Callable[..., torch.Tensor] = vmap(train_one, in_dims=(0, 0, None, 0))

    def logits(self, weights: Tensors, carried: Carried, inputs: torch.Tensor) -> torch.Tensor:
        """See `StackedNetwork.logits`."""
        with mode(self._network, training=False):
            return self._evaluate(self._named(weights, carried), inputs)

    def bind(
        self, weights: Tensors, sinks: Sequence[Sink], scale: torch.Tensor, carried: Carried
    ) -> Losses:
        """See `StackedNetwork.bind`."""
        leaves = [weight.detach().requires_grad_() for weight in weights]
        tensors = self._named(leaves, carried)

        def losses(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            with torch.enable_grad(), mode(self._network, training=True):
                logits = self._train(tensors, carried.seeds, carried.steps, inputs)
                found, objective = cross_entropies(logits, labels, self._label_smoothing)
                slopes = torch.autograd.grad(
                    (objective * scale).sum(), leaves, materialize_grads=True
                )
            self._give(slopes, sinks)
            carried.steps.add_(1)
            return found.detach()

        return losses

    def _named(self, weights: Tensors, carried: Carried) -> dict[str, torch.Tensor]:
        return {**dict(zip(self._names, weights, strict=True)), **carried.tensors}


def cross_entropies(
    logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each network's mean cross-entropy, plain and with smoothed labels: shape (K,) each."""
    logs = functional.log_softmax(logits, dim=2)
    found = -logs.gather(2, labels.unsqueeze(2)).mean(dim=(1, 2))
    if not label_smoothing:
        return found, found
    smoothed = (1 - label_smoothing) * found - label_smoothing * logs.mean(dim=(1, 2))
    return found, smoothed


def trained_names(network: nn.Module) -> list[str]:
    """Return the names of the parameters that require a gradient, in their order."""
    return [name for name, each in network.named_parameters() if each.requires_grad]


@contextmanager
def mode(network: nn.Module, *, training: bool) -> Iterator[None]:
    """Set a network's mode, and leave it in training mode."""
    # each by its own method: a network may change either
    change = network.train if training else network.eval
    change()
    try:
        with plain_attention():
            yield
    finally:
        network.train()


@contextmanager
def _products_alone() -> Iterator[None]:
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


# has attention be computed by products: torch's faster forms are not known to vmap
plain_attention = WhileUsed(_products_alone)
