"""Stacks of networks that are passed through one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pytest_fragility.training.buffers import Carried
from pytest_fragility.training.dropout import mix, seeded_dropout
from pytest_fragility.training.gradients import Sink, Tensors
from pytest_fragility.training.perceptron_stacks import Losses
from pytest_fragility.training.vmapped import ByAutograd, cross_entropies, mode

# seeds of torch's generators are not negative
MASK = (1 << 63) - 1


class OneAtATime(ByAutograd):
    """A stack of networks that are passed through alone, by torch's autograd.

    For what `torch.func.vmap` does not take. Randomness other than dropout comes from torch's
    global generator, which is seeded from the run and the step, and restored.

    Parameters are those of `ByAutograd`.
    """

    def __init__(self, network: nn.Module, label_smoothing: float = 0.0) -> None:
        super().__init__(network, label_smoothing)
        parameters = dict(network.named_parameters())
        self._parameters = [parameters[name] for name in self._names]

    def logits(self, weights: Tensors, carried: Carried, inputs: torch.Tensor) -> torch.Tensor:
        """See `StackedNetwork.logits`."""
        logits = []
        with mode(self._network, training=False):
            for place, each in enumerate(inputs):
                own = [weight[place] for weight in weights]
                with self._holding(own, weights, carried, place):
                    logits.append(self._network(each))
        return torch.stack(logits)

    def bind(
        self, weights: Tensors, sinks: Sequence[Sink], scale: torch.Tensor, carried: Carried
    ) -> Losses:
        """See `StackedNetwork.bind`."""
        gradients = [torch.empty_like(weight) for weight in weights]

        def losses(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            found = weights[0].new_empty(len(inputs))
            with torch.enable_grad(), mode(self._network, training=True):
                for place in range(len(inputs)):
                    leaves = [
                        _like(parameter, weight[place])
                        for parameter, weight in zip(self._parameters, weights, strict=True)
                    ]
                    # what a network computes again for its backward pass, it computes there
                    with self._holding(leaves, weights, carried, place):
                        with seeded(carried.seeds[place], carried.steps):
                            logits = self._network(inputs[place])
                        (loss,), objective = cross_entropies(
                            logits.unsqueeze(0), labels[place].unsqueeze(0), self._label_smoothing
                        )
                        # as a loop does: some passes give gradients to no one who asks for them
                        torch.autograd.backward(objective.sum() * scale[place])
                    found[place] = loss.detach()
                    for gradient, leaf in zip(gradients, leaves, strict=True):
                        gradient[place] = 0 if leaf.grad is None else leaf.grad.to_dense()
            self._give(gradients, sinks)
            carried.steps.add_(1)
            return found

        return losses

    @contextmanager
    def _holding(
        self, leaves: Tensors, weights: Tensors, carried: Carried, place: int
    ) -> Iterator[None]:
        """Put one network's tensors into the module; what it sets anew is carried on."""
        own = {name: tensor[place] for name, tensor in carried.tensors.items()}
        with holding(self._network, {**dict(zip(self._names, leaves, strict=True)), **own}):
            yield
            for leaf, weight in zip(leaves, weights, strict=True):
                if leaf.data_ptr() != weight[place].data_ptr():
                    weight[place].copy_(leaf.detach())
            for name, buffer in self._network.named_buffers():
                if buffer is not own[name]:
                    own[name].copy_(buffer.detach())


def _like(parameter: nn.Parameter, values: torch.Tensor) -> torch.Tensor:
    """Return a leaf with other values, whose gradient the parameter's hooks see."""
    leaf: Any = values.detach().requires_grad_()
    own: Any = parameter
    for hook in (own._backward_hooks or {}).values():
        leaf.register_hook(hook)
    for hook in (own._post_accumulate_grad_hooks or {}).values():
        leaf.register_post_accumulate_grad_hook(hook)
    made: torch.Tensor = leaf
    return made


@contextmanager
def holding(network: nn.Module, tensors: dict[str, torch.Tensor]) -> Iterator[None]:
    """Put tensors in the place of a network's own, also where several layers share one.

    What no tensor is given for, such as constants that a trace has made buffers of, stays.
    """
    first_names = {
        id(tensor): name for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    slots: list[tuple[Any, str, torch.Tensor]] = [
        (held, key, own)
        for module in network.modules()
        for held in (module._parameters, module._buffers)
        for key, own in held.items()
        if own is not None
    ]
    try:
        for held, key, own in slots:
            held[key] = tensors.get(first_names[id(own)], own)
        yield
    finally:
        for held, key, own in slots:
            held[key] = own


@contextmanager
def seeded(seed: torch.Tensor, step: torch.Tensor) -> Iterator[None]:
    """Seed all randomness of a forward pass from the run and the step; int64 scalars.

    Dropout as in `seeded_dropout`, the rest by torch's global generators, which are restored.
    """
    devices = [seed.device] if seed.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), seeded_dropout(seed, step):
        torch.manual_seed(int(mix(mix(seed) + step)) & MASK)
        yield
