"""The training loss as a function of all parameters: gradients and products with its Hessian."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch.nn import functional

from pytest_fragility.measures.common.outputs import (
    in_precision,
    logits_of,
    perceptron_of,
    relu_chain_of,
    require_own_gradients,
    require_second_derivatives,
)
from pytest_fragility.measures.common.parameter_vectors import (
    join_vectors,
    parameter_vectors,
    split_vectors,
)
from pytest_fragility.measures.sharpness.second_derivatives import SecondOrder
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.training.perceptron_stacks import Perceptron

HessianProducts = Callable[[torch.Tensor], torch.Tensor]
# nats per logit: float32 ends at 1e-38, and products have other small factors besides
SMALL = 1e-25


class LossSurface:
    """Mean train cross-entropy of K networks, in nats, each of its own parameters.

    It is worked out in `dtype`, in which weights are given and returned.
    """

    def __init__(self, stack: NetworkStack, dtype: torch.dtype = torch.float64) -> None:
        require_own_gradients(stack)
        self._stack = stack
        self._buffers = in_precision(stack.buffers, dtype)
        self._inputs = stack.inputs.to(dtype)
        self._labels = stack.labels
        self.weights = parameter_vectors(stack).to(dtype)

    def sample_losses(self, weights: torch.Tensor) -> torch.Tensor:
        """Return each sample's cross-entropy at weights of shape (K, P), shape (K, n)."""
        parts = split_vectors(self._stack, weights)
        logits = logits_of(self._stack, parts, self._buffers, self._inputs)
        losses = functional.cross_entropy(
            logits.flatten(0, 1), self._labels.flatten(), reduction="none"
        )
        return losses.view(self._labels.shape)

    def losses(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy at weights of shape (K, P), shape (K,)."""
        return self.sample_losses(weights).mean(dim=1)

    def losses_and_gradients(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each network's loss, shape (K,), and its gradient, shape (K, P)."""
        if self._passes is not None:
            return self._passes.losses_and_gradients(weights)
        with torch.enable_grad():
            leaf = weights.detach().requires_grad_()
            losses = self.losses(leaf)
            (rows,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), rows

    def own_losses_and_gradients(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `losses_and_gradients` at the networks' own weights: several measures ask for it.

        Not to be written to.
        """
        return self._stack.once(
            ("own losses and gradients", self.weights.dtype),
            lambda: self.losses_and_gradients(self.weights),
        )

    def radial_slopes(self) -> torch.Tensor:
        """Return w . grad l_i for each sample i at the networks' own weights, shape (K, n)."""
        if self._second_order:
            with torch.no_grad():
                return self._second_order.radial_slopes()
        require_second_derivatives(self._stack)
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
            return self._products(self._second_order, vectors)
        leaf, gradients = self._gradient_graph
        (products,) = torch.autograd.grad(gradients, leaf, vectors, retain_graph=True)
        return products

    def _products(self, second_order: SecondOrder, vectors: torch.Tensor) -> torch.Tensor:
        given = split_vectors(self._stack, vectors)
        with torch.no_grad():
            parts = second_order.products(given)
        # of parameters that no layer uses there are none
        return join_vectors(
            {name: parts.get(name, torch.zeros_like(each)) for name, each in given.items()}
        )

    def rough_hessian_products(self) -> HessianProducts | None:
        """Return `hessian_products` in float32; None where that could hide what matters.

        Only ReLU perceptrons have them, and only where no network is so sure of all samples that
        the loss's slopes come near the least float32.
        """
        if self._second_order is None or self._second_order.least_slope() < SMALL:
            return None
        single = self._second_order.in_single()
        return lambda vectors: self._products(single, vectors)

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
    def _gradient_graph(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The weights and the gradients there, with the graph that all products go through."""
        require_second_derivatives(self._stack)
        with torch.enable_grad():
            leaf = self.weights.detach().requires_grad_()
            (gradients,) = torch.autograd.grad(self.losses(leaf).sum(), leaf, create_graph=True)
        return leaf, gradients

    @cached_property
    def _passes(self) -> _PerceptronPasses | None:
        """Forward and backward pass written out, for a perceptron."""
        perceptron = perceptron_of(self._stack)
        if perceptron is None:
            return None
        return _PerceptronPasses(self._stack, perceptron, self._inputs, self._labels)

    @cached_property
    def _second_order(self) -> SecondOrder | None:
        """Second derivatives written out, for a ReLU perceptron."""
        chain = relu_chain_of(self._stack)
        if chain is None:
            return None
        weights = split_vectors(self._stack, self.weights)
        with torch.no_grad():
            return SecondOrder(chain, weights, self._inputs, self._labels)


class _PerceptronPasses:
    """Losses and gradients of a stack of perceptrons, in memory that every call writes to anew."""

    def __init__(
        self,
        stack: NetworkStack,
        perceptron: Perceptron,
        inputs: torch.Tensor,
        labels: torch.Tensor,
    ) -> None:
        self._stack = stack
        # products with parts of rows would take copies, and one matrix after the other
        self._weights = [inputs.new_empty(weight.shape) for weight in stack.weights.values()]
        self._gradients = [torch.empty_like(weight) for weight in self._weights]
        self._losses_of = perceptron.losses(self._weights, self._gradients)
        self._samples = inputs, labels

    def losses_and_gradients(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `LossSurface.losses_and_gradients`."""
        parts = split_vectors(self._stack, weights).values()
        for weight, part in zip(self._weights, parts, strict=True):
            weight.copy_(part)
        losses = self._losses_of(*self._samples)
        return losses, torch.cat([gradient.flatten(1) for gradient in self._gradients], dim=1)
