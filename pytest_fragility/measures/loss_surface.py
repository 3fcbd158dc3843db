"""The training loss as a function of all parameters: gradients and products with its Hessian."""

from __future__ import annotations

import torch
from torch.nn import functional

from pytest_fragility.measures.layers import parameter_vectors, split_vectors
from pytest_fragility.measures.outputs import in_double, logits_of
from pytest_fragility.network_stacks import NetworkStack


class LossSurface:
    """Mean train cross-entropy of K networks, in nats, each of its own parameters, float64.

    Parameters
    ----------
    stack
        The networks.
    """

    def __init__(self, stack: NetworkStack) -> None:
        self._stack = stack
        self._buffers = in_double(stack.buffers)
        self._inputs = stack.inputs.double()
        self._labels = stack.labels
        self.weights = parameter_vectors(stack)

    def sample_losses(self, weights: torch.Tensor) -> torch.Tensor:
        """Return each sample's cross-entropy at weights of shape (K, P), shape (K, n)."""
        parts = split_vectors(self._stack, weights)
        logits = logits_of(self._stack.structure, parts, self._buffers, self._inputs)
        losses = functional.cross_entropy(
            logits.flatten(0, 1), self._labels.flatten(), reduction="none"
        )
        return losses.view(self._labels.shape)

    def losses(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy at weights of shape (K, P), shape (K,)."""
        return self.sample_losses(weights).mean(dim=1)

    def gradients(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the gradient of each network's loss, shape (K, P)."""
        with torch.enable_grad():
            leaf = weights.detach().requires_grad_()
            (gradients,) = torch.autograd.grad(self.losses(leaf).sum(), leaf)
        return gradients

    def hessian_products(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return each network's Hessian at its own weights times a vector, shape (K, P)."""
        with torch.enable_grad():
            leaf = self.weights.detach().requires_grad_()
            (gradients,) = torch.autograd.grad(self.losses(leaf).sum(), leaf, create_graph=True)
            (products,) = torch.autograd.grad(gradients, leaf, vectors)
        return products
