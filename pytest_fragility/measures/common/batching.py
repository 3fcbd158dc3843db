"""Parts of a stack: networks that are worked on together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.networks.stacks import NetworkStack, Samples, Tensors
from pytest_fragility.networks.trained_network import replaced

# of all networks of a part: more of them, and their activations fall out of the CPU's caches
SAMPLES = 4096
PARAMETERS = 1 << 19
# on a device, which has memory for so many, several draws of each included
DEVICE_SAMPLES = 1 << 18
DEVICE_PARAMETERS = 1 << 24
Value = TypeVar("Value")


def in_parts(
    stack: NetworkStack, compute: Callable[[NetworkStack], Sequence[Value]]
) -> list[Value]:
    """Return one value per network, from calls on parts of the stack, one by one.

    That keeps memory within bounds. Operations on several networks have work for all of torch's
    threads, and what a network comes to does not depend on how many these are. A refusal of
    `compute` names the network's place in the whole stack.
    """
    together = networks_together(stack)
    if together >= len(stack):
        return list(compute(stack))
    inputs, labels = stack.load_samples()
    values: list[Value] = []
    for begin in range(0, len(stack), together):
        places = slice(begin, begin + together)
        with counted_from(begin):
            values += compute(part_of(stack, places, (inputs[places], labels[places])))
    return values


def tensor_in_parts(
    stack: NetworkStack, compute: Callable[[NetworkStack], torch.Tensor]
) -> torch.Tensor:
    """Return what `in_parts` does of a function that returns tensors, as one tensor."""
    return torch.stack(in_parts(stack, lambda part: compute(part).unbind()))


@contextmanager
def counted_from(begin: int) -> Iterator[None]:
    """Let a refusal name its place in the whole, of which this part begins there."""
    try:
        yield
    except UndefinedMeasureError as error:
        raise UndefinedMeasureError(str(error), begin + error.place) from error


def networks_together(stack: NetworkStack) -> int:
    """Return how many networks like those of a stack are worked on at a time."""
    is_on_cpu = stack.device.type == "cpu"
    samples = SAMPLES if is_on_cpu else DEVICE_SAMPLES
    parameters = PARAMETERS if is_on_cpu else DEVICE_PARAMETERS
    of_each = sum(weight[0].numel() for weight in stack.weights.values())
    return max(1, min(samples // stack.n, parameters // max(1, of_each)))


def part_of(stack: NetworkStack, places: slice, samples: Samples) -> NetworkStack:
    """Return the stack of some of a stack's networks, with their samples."""

    def pick(tensors: Tensors) -> Tensors:
        return {name: tensor[places] for name, tensor in tensors.items()}

    # also what is not known of networks trained elsewhere, and stays so
    own = vars(stack)
    return replaced(
        stack,
        weights=pick(stack.weights),
        initial_weights=pick(own["initial_weights"]),
        buffers=pick(stack.buffers),
        initial_buffers=pick(own["initial_buffers"]),
        seeds=stack.seeds[places],
        train_losses=own["train_losses"][places],
        rng_seeds=stack.rng_seeds[places],
        sample_ids=stack.sample_ids[places],
        load_samples=lambda: samples,
        _results={},
    )
