"""What a stack of networks carries along beside the weights that are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pytest_fragility.networks import NetworkState

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Carried:
    """Tensors that no gradient changes, and what randomness derives from.

    Parameters
    ----------
    tensors
        Buffers, which a forward pass in training mode may change in place, and parameters that
        are not trained, by name: each of shape (K, *shape).
    seeds
        What each network's dropout derives from: int64, shape (K,).
    steps
        Steps taken: int64, a scalar, moved on in place.
    """

    tensors: Tensors
    seeds: torch.Tensor
    steps: torch.Tensor

    @classmethod
    def of_states(
        cls,
        states: Sequence[NetworkState],
        trained: Sequence[str],
        seeds: Sequence[int],
        device: torch.device,
    ) -> Carried:
        """Return what networks with these initial states carry, `trained` being their weights."""
        everything = [{**state.weights, **state.buffers} for state in states]
        names = [name for name in everything[0] if name not in set(trained)]
        return cls(
            {name: torch.stack([each[name] for each in everything]).to(device) for name in names},
            torch.tensor(seeds, dtype=torch.int64, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
        )

    def rows(self, rows: torch.Tensor) -> Carried:
        """Return what some of the networks carry: copies, but for the steps."""
        tensors = {name: tensor.index_select(0, rows) for name, tensor in self.tensors.items()}
        return Carried(tensors, self.seeds.index_select(0, rows), self.steps)
