"""Train accuracies of one network with many sets of weights at once: what a noise search counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from pytest_fragility.measures.common.outputs import logits_of, relu_chain_of
from pytest_fragility.measures.common.parameter_vectors import layer_keys, split_vectors
from pytest_fragility.networks.stacks import NetworkStack, Tensors

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
        self._stack = stack
        self._buffers = {
            name: buffer[place].float() if buffer.is_floating_point() else buffer[place]
            for name, buffer in stack.buffers.items()
        }
        self._inputs = inputs
        self._labels = _Labels(labels)

    def of(self, weights: Tensors) -> torch.Tensor:
        """See `Accuracies.of`."""
        draws = len(next(iter(weights.values())))
        buffers = {name: b.expand(draws, *b.shape) for name, b in self._buffers.items()}
        inputs = self._inputs.expand(draws, *self._inputs.shape)
        logits = logits_of(self._stack, weights, buffers, inputs)
        return self._labels.fractions_right(logits.mT)

    def along(self, weights: Tensors, noise: Tensors, sigma: float) -> torch.Tensor:
        """See `Accuracies.along`."""
        return self.of({name: weights[name] + sigma * noise[name] for name in weights})


class _Perceptron:
    """A ReLU perceptron, with samples along the last dimension, where large products are fastest.

    The first layer sees the same samples under all weights: its part in noise is worked out once.
    """

    def __init__(
        self, layers: list[str], inputs: torch.Tensor, labels: torch.Tensor, buffers: Buffers
    ) -> None:
        self._keys = layer_keys(layers)
        self._inputs = inputs.flatten(1).T.contiguous()
        self._labels = _Labels(labels)
        self._first: tuple[torch.Tensor, torch.Tensor] | None = None
        self._buffers = buffers

    def of(self, weights: Tensors) -> torch.Tensor:
        """See `Accuracies.of`."""
        return self._behind_first(self._first_layer(weights, "layer 0"), weights)

    def along(self, weights: Tensors, noise: Tensors, sigma: float) -> torch.Tensor:
        """See `Accuracies.along`."""
        if self._first is None:
            self._first = self._first_layer(weights, "weights"), self._first_layer(noise, "noise")
        base, change = self._first
        outputs = self._buffer("layer 0", *change.shape[:2])
        torch.add(base, change, alpha=sigma, out=outputs)
        behind = {
            key: torch.add(weights[key], noise[key], alpha=sigma)
            for keys in self._keys[1:]
            for key in keys
            if key in weights
        }
        return self._behind_first(outputs, behind)

    def _first_layer(self, weights: Tensors, use: str) -> torch.Tensor:
        """Return the first layer's outputs in front of the ReLU, shape (S, outputs, samples)."""
        draws = len(weights[self._keys[0][0]])
        return self._layer(0, weights, self._inputs.expand(draws, *self._inputs.shape), use)

    def _behind_first(self, outputs: torch.Tensor, weights: Tensors) -> torch.Tensor:
        for index in range(1, len(self._keys)):
            outputs = self._layer(index, weights, outputs.relu_(), f"layer {index}")
        return self._labels.fractions_right(outputs)

    def _layer(self, index: int, weights: Tensors, inputs: torch.Tensor, use: str) -> torch.Tensor:
        weight_key, bias_key = self._keys[index]
        weight = weights[weight_key]
        outputs = self._buffer(use, *weight.shape[:2])
        if bias_key in weights:
            return torch.baddbmm(weights[bias_key].unsqueeze(2), weight, inputs, out=outputs)
        return torch.bmm(weight, inputs, out=outputs)

    def _buffer(self, use: str, draws: int, outputs: int) -> torch.Tensor:
        """Return memory for a layer's outputs; new memory each time would take twice as long."""
        if (use, draws) not in self._buffers:
            shape = (draws, outputs, self._inputs.shape[1])
            self._buffers[use, draws] = self._inputs.new_empty(shape)
        return self._buffers[use, draws]


class _Labels:
    """One network's labels, shape (samples,), which its largest logits are to be at."""

    def __init__(self, labels: torch.Tensor) -> None:
        self._labels = labels
        self._hidden: torch.Tensor | None = None

    def fractions_right(self, logits: torch.Tensor) -> torch.Tensor:
        """Return how often the label has the largest of the logits, (S, classes, samples).

        Of equal logits the first counts, as for `torch.argmax`; without equals, a comparison with
        the largest of the others says the same in a fraction of the time.
        """
        if self._hidden is None:
            own_place = self._labels.unsqueeze(0)
            self._hidden = logits.new_zeros(logits.shape[1:]).scatter_(0, own_place, -torch.inf)
        own = logits.gather(1, self._labels.expand(len(logits), 1, -1))
        others = (logits + self._hidden).amax(dim=1, keepdim=True)
        is_right = own > others
        # neither way: equal, or no numbers
        if not bool((is_right | (own < others)).all()):
            is_right = (logits.argmax(dim=1) == self._labels).unsqueeze(1)
        return is_right.squeeze(1).count_nonzero(dim=1).double() / len(self._labels)


# what the layers of all networks put out at a time
BYTES = 1 << 30


def can_look_together(stack: NetworkStack) -> bool:
    """Return whether a stack's networks are to be looked at side by side."""
    return stack.device.type == "cuda" and relu_chain_of(stack) is not None


class StackAccuracies:
    """Fractions of their training samples that a stack's ReLU perceptrons classify as labelled."""

    def __init__(self, stack: NetworkStack) -> None:
        chain = relu_chain_of(stack)
        assert chain is not None
        self._stack = stack
        self._keys = layer_keys(chain)
        inputs, self._labels = stack.load_samples()
        # samples last: all sets of a network's first weights are one matrix
        self._inputs = inputs.flatten(2).float().mT.contiguous()
        widths = [stack.weights[key].shape[1] for key, _ in self._keys]
        self._network_bytes = 4 * stack.n * sum(widths)

    def of(self, places: list[int], rows: torch.Tensor) -> torch.Tensor:
        """Return the accuracies of A of the networks with other weights, shape (A, S), float64.

        `rows` are all parameters as one row, in S sets each: float32, shape (A, S, parameters).
        """
        together = max(1, BYTES // (self._network_bytes * rows.shape[1]))
        parts = range(0, len(places), together)
        return torch.cat(
            [self._of(places[at : at + together], rows[at : at + together]) for at in parts]
        )

    def _of(self, places: list[int], rows: torch.Tensor) -> torch.Tensor:
        networks, draws = rows.shape[:2]
        weights = split_vectors(self._stack, rows.flatten(0, 1))
        chosen = torch.tensor(places, device=rows.device)
        outputs = self._inputs.index_select(0, chosen)
        for index, (weight_key, bias_key) in enumerate(self._keys):
            weight = weights[weight_key]
            if index == 0:
                of_network = weight.reshape(networks, -1, weight.shape[2])
                outputs = torch.bmm(of_network, outputs).view(networks * draws, -1, self._stack.n)
            else:
                outputs = torch.bmm(weight, outputs.relu_())
            if bias_key in weights:
                outputs.add_(weights[bias_key].unsqueeze(2))
        labels = self._labels.index_select(0, chosen).unsqueeze(1)
        is_right = outputs.argmax(dim=1).view(networks, draws, -1) == labels
        return is_right.count_nonzero(dim=2).double() / self._stack.n
