"""All that a network's function depends on: its parameters and its buffers, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class NetworkState:
    """Parameters and buffers of one network.

    Parameters
    ----------
    weights
        Parameters by name, those that are not trained included; one that several layers share
        stands once, under its first name.
    buffers
        Buffers by name, such as running statistics.
    """

    weights: Tensors
    buffers: Tensors = field(default_factory=dict)

    @torch.no_grad()
    def load_into(self, network: torch.nn.Module) -> None:
        """Copy the values into a network's own tensors.

        Raises
        ------
        ValueError
            If the network has others, by name or by shape.
        """
        own = state_of(network)
        for kind in ("weights", "buffers"):
            here, given = getattr(own, kind), getattr(self, kind)
            if here.keys() != given.keys():
                odd = sorted(here.keys() ^ given.keys())
                raise ValueError(f"{kind} of another network: {', '.join(odd)}")
            for name, tensor in here.items():
                if tensor.shape != given[name].shape:
                    raise ValueError(
                        f"{name} has shape {tuple(given[name].shape)}: the network's has "
                        f"{tuple(tensor.shape)}"
                    )
                tensor.copy_(given[name])
        compute_again(network)

    def copy(self, dtype: torch.dtype | None = None) -> NetworkState:
        """Return a copy on the CPU; floating-point tensors in another dtype, where one is named."""

        def copied(tensor: torch.Tensor) -> torch.Tensor:
            target = dtype if dtype and tensor.is_floating_point() else tensor.dtype
            return tensor.detach().to("cpu", target, copy=True)

        return NetworkState(
            {name: copied(tensor) for name, tensor in self.weights.items()},
            {name: copied(tensor) for name, tensor in self.buffers.items()},
        )


@torch.no_grad()
def compute_again(network: torch.nn.Module) -> None:
    """Have layers whose weight torch computes in front of each pass compute it now.

    Those are pruned ones, and those of the older `weight_norm` and `spectral_norm`. What reads
    such a weight would find the one before; and a weight with a graph behind it cannot be copied.
    """
    for layer in network.modules():
        hooks: dict[int, Any] = layer._forward_pre_hooks
        for hook in hooks.values():
            if isinstance(hook, SpectralNorm):
                weight = hook.compute_weight(layer, do_power_iteration=False)
                setattr(layer, hook.name, weight)
            elif isinstance(hook, BasePruningMethod | WeightNorm):
                hook(layer, ())


def state_of(network: torch.nn.Module) -> NetworkState:
    """Return a network's own tensors, in the order of its layers."""
    return NetworkState(
        {name: parameter.detach() for name, parameter in network.named_parameters()},
        {name: buffer.detach() for name, buffer in network.named_buffers()},
    )
