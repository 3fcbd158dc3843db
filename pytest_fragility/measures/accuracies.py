"""Train accuracies of one network with many sets of weights at once: what a noise search counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from pytest_fragility.measures.layers import relu_chain_of
from pytest_fragility.measures.outputs import logits_of
from pytest_fragility.network_stacks import NetworkStack, Tensors

Buffers = dict[tuple[str, int], torch.Tensor]


class Accuracies(Protocol):
    """Fractions of one network's training samples that it classifies as labelled."""

    def of(self, weights: Tensors) -> torch.Tensor:
        """Return the accuracy under each of S sets of weights, shape (S,), float64."""

    def along(self, weights: Tensors, noise: Tensors, sigma: float) -> torch.Tensor:
        """Return the accuracies under ``weights + sigma * noise``, shape (S,), float64.

        `weights` holds one set, `noise` S sets; called again and again with the same of both.
        """


def accuracies_of(stack: NetworkStack) -> Iterator[Accuracies]:
    """Yield one counter per network of a stack; they share memory, so use one after the other."""
    inputs, labels = stack.load_samples()
    buffers: Buffers = {}
    chain = relu_chain_of(stack)
    for place in range(len(stack)):
        if chain is None:
            yield _AnyNetwork(stack, place, inputs[place].float(), labels[place])
        else:
            yield _Perceptron(chain, inputs[place].float(), labels[place], buffers)


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

    def along(self, weights: Tensors, noise: Tensors, sigma: float) -> torch.Tensor:
        """See `Accuracies.along`."""
        return self.of({name: weights[name] + sigma * noise[name] for name in weights})


class _Perceptron:
    """A ReLU perceptron, with samples along the last dimension, where large products are fastest.

    Biases are weights from a neuron that is always one, so that a layer is one product. The first
    layer sees the same samples under all weights: its part in noise is worked out once.
    """

    def __init__(
        self, layers: list[str], inputs: torch.Tensor, labels: torch.Tensor, buffers: Buffers
    ) -> None:
        prefixes = [f"{name}." if name else "" for name in layers]
        self._keys = [(f"{prefix}weight", f"{prefix}bias") for prefix in prefixes]
        samples = inputs.flatten(1).T
        self._inputs = torch.cat([samples, samples.new_ones(1, samples.shape[1])])
        self._labels = labels
        self._pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._buffers = buffers

    def of(self, weights: Tensors) -> torch.Tensor:
        """See `Accuracies.of`."""
        first = self._first_layer(weights, one=1.0, use="layer 0")
        behind = [
            self._matrices(index, weights, one=1.0, use="matrices")
            for index in range(1, len(self._keys))
        ]
        return self._behind_first(first, behind)

    def along(self, weights: Tensors, noise: Tensors, sigma: float) -> torch.Tensor:
        """See `Accuracies.along`."""
        if not self._pairs:
            first = (
                self._first_layer(weights, one=1.0, use="weights"),
                self._first_layer(noise, one=0.0, use="noise"),
            )
            self._pairs = [first] + [
                (
                    self._matrices(index, weights, one=1.0, use="own matrices"),
                    self._matrices(index, noise, one=0.0, use="noise matrices"),
                )
                for index in range(1, len(self._keys))
            ]
        base, change = self._pairs[0]
        outputs = self._buffer("layer 0", *change.shape[:2])
        torch.add(base, change, alpha=sigma, out=outputs)
        behind = [torch.add(*pair, alpha=sigma) for pair in self._pairs[1:]]
        return self._behind_first(outputs, behind)

    def _first_layer(self, weights: Tensors, *, one: float, use: str) -> torch.Tensor:
        """Return the first layer's outputs in front of the ReLU, shape (S, outputs, samples)."""
        matrices = self._matrices(0, weights, one=one, use="matrices")
        outputs = self._buffer(use, *matrices.shape[:2])
        torch.mm(matrices.flatten(0, 1), self._inputs, out=outputs.view(-1, outputs.shape[2]))
        return outputs

    def _behind_first(self, outputs: torch.Tensor, behind: list[torch.Tensor]) -> torch.Tensor:
        for index, matrices in enumerate(behind, 1):
            buffer = self._buffer(f"layer {index}", *matrices.shape[:2])
            outputs = torch.bmm(matrices, outputs.relu_(), out=buffer)
        return _fractions_right(outputs, self._labels)

    def _buffer(self, use: str, draws: int, outputs: int) -> torch.Tensor:
        """Return memory for a layer's outputs; new memory each time would take twice as long."""
        if (use, draws) not in self._buffers:
            shape = (draws, outputs, self._inputs.shape[1])
            self._buffers[use, draws] = self._inputs.new_empty(shape)
        return self._buffers[use, draws]

    def _matrices(self, index: int, weights: Tensors, *, one: float, use: str) -> torch.Tensor:
        """Return a layer's weights with its biases as the last column, shape (S, rows, columns).

        But for the last layer, one more row hands the neuron that is always one to the next.
        """
        weight_key, bias_key = self._keys[index]
        weight = weights[weight_key]
        draws, outputs, inputs = weight.shape
        is_last = index == len(self._keys) - 1
        shape = (draws, outputs + (not is_last), inputs + 1)
        matrices = self._zeros(f"{use} {index}", shape)
        matrices[:, :outputs, :inputs] = weight
        if bias_key in weights:
            matrices[:, :outputs, inputs] = weights[bias_key]
        if not is_last:
            matrices[:, outputs, inputs] = one
        return matrices

    def _zeros(self, use: str, shape: tuple[int, int, int]) -> torch.Tensor:
        """Return memory that was zero at first, and is written to in the same places each time."""
        if (use, shape[0]) not in self._buffers:
            self._buffers[use, shape[0]] = self._inputs.new_zeros(shape)
        return self._buffers[use, shape[0]]


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
