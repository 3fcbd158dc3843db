"""Where the gradients of a stack of networks go, and how parameters lie in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

Tensors = list[torch.Tensor]
ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Sink:
    """A stretch of the stack whose gradients are added to `keep` times the content of `targets`.

    With 0 that gives gradients, with an optimizer's momentum its velocity, and with 1, where what
    comes has been multiplied by minus the learning rate, the weights of the next step.

    Parameters
    ----------
    begin, end
        The networks.
    targets
        Tensors of theirs alone, shape (end - begin, *shape) each.
    keep
        By what the content is multiplied first.
    """

    begin: int
    end: int
    targets: Tensors
    keep: float

    def add(self, index: int, values: torch.Tensor) -> None:
        """Add the whole stack's values for one parameter."""
        target, own = self.targets[index], values[self.begin : self.end]
        if self.keep == 0:
            target.copy_(own)
        else:
            (target if self.keep == 1 else target.mul_(self.keep)).add_(own)

    def add_product(self, index: int, left: torch.Tensor, right: torch.Tensor) -> None:
        """Add batched matrix products, of the whole stack's matrices for one parameter."""
        target = self.targets[index].flatten(2)
        if target.shape[0] != left.shape[0]:
            left, right = left[self.begin : self.end], right[self.begin : self.end]
        has_inputs_first = target.stride(1) < target.stride(2)
        if has_inputs_first:
            target, left, right = target.mT, right.mT, left.mT
        if target.is_contiguous():
            target.baddbmm_(left, right, beta=self.keep)
            return
        # written to a part of a larger row, torch would multiply one matrix after the other
        product = torch.bmm(left, right)
        if self.keep == 0:
            target.copy_(product)
        else:
            target.mul_(self.keep).add_(product)


def aligned_stack(values: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Return the values of all networks for one parameter, shape (K, *shape), aligned alike.

    Matrix products choose their instructions by the alignment of what they read: with every
    network's aligned alike, a network's result does not depend on its place. A parameter whose
    size is a multiple of `ALIGNMENT` is contiguous, and products can be added to it.
    """
    stacked = torch.stack(list(values)).to(device).contiguous()
    return like(stacked).copy_(stacked)


def like(stacked: torch.Tensor, count: int | None = None) -> torch.Tensor:
    """Return zeros for as many networks, or for `count` of them, laid out and aligned alike."""
    count = len(stacked) if count is None else count
    size = -(-math.prod(stacked.shape[1:]) // ALIGNMENT) * ALIGNMENT
    whole = stacked.new_zeros(count * size)
    return whole.as_strided((count, *stacked.shape[1:]), (size, *stacked.stride()[1:]))


def rows_of(stacked: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return some of the networks: a copy, aligned as `stacked` is."""
    return like(stacked, len(rows)).copy_(stacked.index_select(0, rows))


def inputs_first(stacked: torch.Tensor) -> torch.Tensor:
    """Return matrices (K, outputs, inputs) in memory as (K, inputs, outputs).

    Products of inputs with them are a third faster so; those of the way back are as much slower.
    """
    return like(stacked.mT.contiguous()).copy_(stacked.mT).mT
