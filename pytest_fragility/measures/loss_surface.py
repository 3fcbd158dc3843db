"""The training loss as a function of all parameters: gradients and products with its Hessian."""

from __future__ import annotations

from functools import cached_property

import torch
from torch.nn import functional

from pytest_fragility.measures.layers import relu_chain_of
from pytest_fragility.measures.outputs import in_double, logits_of
from pytest_fragility.measures.second_order import SecondOrder
from pytest_fragility.measures.vectors import parameter_vectors, split_vectors
from pytest_fragility.network_stacks import NetworkStack
from pytest_fragility.training.perceptrons import as_perceptron


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

    def losses_and_gradients(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each network's loss, shape (K,), and its gradient, shape (K, P)."""
        perceptron = as_perceptron(self._stack.structure)
        if perceptron is not None:
            rows = torch.empty_like(weights)
            parts, slots = split_vectors(self._stack, weights), split_vectors(self._stack, rows)
            losses_of = perceptron.losses(list(parts.values()), list(slots.values()))
            return losses_of(self._inputs, self._labels), rows
        with torch.enable_grad():
            leaf = weights.detach().requires_grad_()
            losses = self.losses(leaf)
            (rows,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), rows

    def radial_slopes(self) -> torch.Tensor:
        """Return w . grad l_i for each sample i at the networks' own weights, shape (K, n)."""
        with torch.enable_grad():
            leaf = self.weights.detach().requires_grad_()
            losses = self.sample_losses(leaf)
            # the gradient of a sum over samples is linear in their shares: its derivative with
            # respect to a share is that sample's slope
            shares = torch.ones_like(losses).requires_grad_()
            (gradients,) = torch.autograd.grad(losses, leaf, shares, create_graph=True)
            (slopes,) = torch.autograd.grad((gradients * self.weights).sum(), shares)
        return slopes

    def hessian_products(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return each network's Hessian at its own weights times a vector, shape (K, P)."""
        if self._second_order:
            with torch.no_grad():
                parts = self._second_order.products(split_vectors(self._stack, vectors))
            return torch.cat([parts[name].flatten(1) for name in self._stack.weights], dim=1)
        with torch.enable_grad():
            leaf = self.weights.detach().requires_grad_()
            (gradients,) = torch.autograd.grad(self.losses(leaf).sum(), leaf, create_graph=True)
            (products,) = torch.autograd.grad(gradients, leaf, vectors)
        return products

    def curvatures(self, directions: torch.Tensor) -> torch.Tensor:
        """Return ``v^T H v`` for S directions v of each network, (K, S, P), shape (K, S)."""
        if self._second_order:
            parts = split_vectors(self._stack, directions.flatten(0, 1))
            networks, count = directions.shape[:2]
            with torch.no_grad():
                return self._second_order.curvatures(
                    {
                        name: part.view(networks, count, *part.shape[1:])
                        for name, part in parts.items()
                    }
                )
        found = [(row * self.hessian_products(row)).sum(dim=1) for row in directions.unbind(1)]
        return torch.stack(found, dim=1)

    def traces(self) -> torch.Tensor | None:
        """Return the Hessian's trace, shape (K,); None but for ReLU perceptrons."""
        if self._second_order is None:
            return None
        with torch.no_grad():
            return self._second_order.traces()

    @cached_property
    def _second_order(self) -> SecondOrder | None:
        """Second derivatives written out, for a ReLU perceptron."""
        chain = relu_chain_of(self._stack)
        if chain is None:
            return None
        weights = split_vectors(self._stack, self.weights)
        with torch.no_grad():
            return SecondOrder(chain, weights, self._inputs, self._labels)
