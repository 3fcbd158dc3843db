"""Train accuracies of one network with many sets of weights at once: what a noise search counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from pytest_fragility.measures.outputs import logits_of
from pytest_fragility.measures.tracing import relu_chain
from pytest_fragility.network_stacks import NetworkStack, Tensors


class Accuracies(Protocol):
    """Fractions of one network's training samples that it classifies as labelled."""

    def of(self, weights: Tensors) -> torch.Tensor:
        """Return the accuracy under each of S sets of weights, shape (S,), float64."""

    def along(self, weights: Tensors, noise: Tensors, sigma: float, noisy: Tensors) -> torch.Tensor:
        """Return the accuracies under ``noisy = weights + sigma * noise``, shape (S,), float64.

        `weights` holds one set, `noise` and `noisy` S sets; called again and again with the same
        `weights` and `noise`.
        """


def accuracies_of(stack: NetworkStack) -> Iterator[Accuracies]:
    """Yield one counter per network of a stack."""
    inputs, labels = stack.load_samples()
    chain = stack.once("ReLU chain", lambda: relu_chain(stack.structure))
    for place in range(len(stack)):
        if chain is None:
            yield _AnyNetwork(stack, place, inputs[place].float(), labels[place])
        else:
            yield _Perceptron(chain, inputs[place].float(), labels[place])


class _AnyNetwork:
    """A network of any structure."""

    def __init__(
        self, stack: NetworkStack, place: int, inputs: torch.Tensor, labels: torch.Tensor
    ) -> None:
        self._structure = stack.structure
        self._buffers = {
            name: buffer[place].float() if buffer.is_floating_point() else buffer[place]
            for name, buffer in stack.buffers.items()
        }
        self._inputs = inputs
        self._labels = labels

    def of(self, weights: Tensors) -> torch.Tensor:
        """See `Accuracies.of`."""
        draws = len(next(iter(weights.values())))
        buffers = {name: b.expand(draws, *b.shape) for name, b in self._buffers.items()}
        inputs = self._inputs.expand(draws, *self._inputs.shape)
        logits = logits_of(self._structure, weights, buffers, inputs)
        return _fractions_right(logits.mT, self._labels)

    def along(self, weights: Tensors, noise: Tensors, sigma: float, noisy: Tensors) -> torch.Tensor:
        """See `Accuracies.along`."""
        return self.of(noisy)


class _Perceptron:
    """A ReLU perceptron, with samples along the last dimension, where large products are fastest.

    The first layer sees the same samples under all weights: its part in noise is worked out once.
    """

    def __init__(self, layers: list[str], inputs: torch.Tensor, labels: torch.Tensor) -> None:
        self._keys = [
            (f"{name}.weight", f"{name}.bias") if name else ("weight", "bias") for name in layers
        ]
        self._inputs = inputs.flatten(1).T.contiguous()
        self._labels = labels
        self._first: tuple[torch.Tensor, torch.Tensor] | None = None

    def of(self, weights: Tensors) -> torch.Tensor:
        """See `Accuracies.of`."""
        return self._behind_first(self._first_layer(weights), weights)

    def along(self, weights: Tensors, noise: Tensors, sigma: float, noisy: Tensors) -> torch.Tensor:
        """See `Accuracies.along`."""
        if self._first is None:
            self._first = self._first_layer(weights), self._first_layer(noise)
        return self._behind_first(torch.add(*self._first, alpha=sigma), noisy)

    def _first_layer(self, weights: Tensors) -> torch.Tensor:
        """Return the first layer's outputs in front of the ReLU, shape (S, outputs, samples)."""
        weight_key, bias_key = self._keys[0]
        weight = weights[weight_key]
        products = weight.flatten(0, 1) @ self._inputs
        outputs = products.view(*weight.shape[:2], -1)
        return outputs.add_(weights[bias_key].unsqueeze(2)) if bias_key in weights else outputs

    def _behind_first(self, outputs: torch.Tensor, weights: Tensors) -> torch.Tensor:
        for weight_key, bias_key in self._keys[1:]:
            hidden = outputs.relu_()
            if bias_key in weights:
                outputs = torch.baddbmm(weights[bias_key].unsqueeze(2), weights[weight_key], hidden)
            else:
                outputs = torch.bmm(weights[weight_key], hidden)
        return _fractions_right(outputs, self._labels)


def _fractions_right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return how often the label has the largest of the logits, shape (S, classes, samples).

    Of equal logits the first counts, as for `torch.argmax`; without equals, a comparison with the
    largest says the same in a tenth of the time.
    """
    largest = logits.amax(dim=1, keepdim=True)
    is_largest = logits == largest
    if bool((is_largest.sum(dim=1) != 1).any()):
        is_right = logits.argmax(dim=1) == labels
    else:
        is_right = is_largest.gather(1, labels.expand(len(logits), 1, -1)).squeeze(1)
    return is_right.double().mean(dim=1)
