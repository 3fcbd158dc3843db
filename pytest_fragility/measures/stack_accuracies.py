"""Train accuracies of many perceptrons with many sets of weights each, at once, as a device likes.

On a CPU one network after the other is faster: what all have put out would fall out of its caches.
"""

from __future__ import annotations

import torch

from pytest_fragility.measures.common.outputs import relu_chain_of
from pytest_fragility.measures.common.parameter_vectors import split_vectors
from pytest_fragility.networks.stacks import NetworkStack

# what the layers of all networks put out at a time
BYTES = 1 << 30


def can_look_together(stack: NetworkStack) -> bool:
    """Return whether a stack's networks are to be looked at side by side."""
    return stack.device.type == "cuda" and relu_chain_of(stack) is not None


class StackAccuracies:
    """Fractions of their training samples that networks classify as labelled.

    Parameters
    ----------
    stack
        ReLU perceptrons.
    """

    def __init__(self, stack: NetworkStack) -> None:
        chain = relu_chain_of(stack)
        assert chain is not None
        prefixes = [f"{name}." if name else "" for name in chain]
        self._stack = stack
        self._keys = [(f"{prefix}weight", f"{prefix}bias") for prefix in prefixes]
        inputs, self._labels = stack.load_samples()
        # samples last: all sets of a network's first weights are one matrix
        self._inputs = inputs.flatten(2).float().mT.contiguous()
        widths = [stack.weights[key].shape[1] for key, _ in self._keys]
        self._network_bytes = 4 * stack.n * sum(widths)

    def of(self, places: list[int], rows: torch.Tensor) -> torch.Tensor:
        """Return the accuracies of some networks with other weights than their own.

        Parameters
        ----------
        places
            A networks of the stack.
        rows
            All parameters as one row, in S sets: float32, shape (A, S, parameters).

        Returns
        -------
        torch.Tensor
            Shape (A, S), float64.
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
