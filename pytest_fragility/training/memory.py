"""How many networks train together: as many as their memory allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from pytest_fragility.errors import TrainingError
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.training.cuda_streams import give_memory_back
from pytest_fragility.training.training_loop import Shard
from pytest_fragility.training.trajectories import Trajectory

# a stack on the CPU: more would fall out of its caches, and gain nothing
CPU_NETWORKS = 64
CPU_BYTES = 1 << 29
CUDA_NETWORKS = 4096
# of a device's free memory; what a backward pass needs for itself stays below the rest
CUDA_SHARE = 0.4
# weights, gradients and two buffers of the optimizer
COPIES_OF_WEIGHTS = 4


def largest_stack(network_bytes: int, device: torch.device, *, in_flight: int = 1) -> int:
    """Return how many networks go into one stack.

    Parameters
    ----------
    network_bytes
        What one network takes in training: see `training_bytes`.
    device
        Where it is trained.
    in_flight
        How many stacks share a CUDA device's memory.
    """
    if device.type != "cuda":
        limit, room = CPU_NETWORKS, CPU_BYTES
    else:
        free, _ = torch.cuda.mem_get_info(device)
        limit, room = CUDA_NETWORKS, int(CUDA_SHARE * free / in_flight)
    return max(1, min(limit, room // max(1, network_bytes)))


def training_bytes(*, parameter_bytes: int, sample_bytes: int, batch_size: int) -> int:
    """Return about how much memory one network takes while it is trained."""
    return COPIES_OF_WEIGHTS * parameter_bytes + sample_bytes * batch_size


def train_within_memory(
    stack: Sequence[Trajectory], device: torch.device
) -> Iterator[list[TrainedRun]]:
    """Train a stack to its end; where memory runs out, what is left goes on in two halves.

    Raises
    ------
    TrainingError
        If there is too little memory for one network.
    """
    waiting = [list(stack)]
    while waiting:
        part = waiting.pop()
        try:
            yield from Shard(part, device).train()
        # torch's own error for it is a RuntimeError, and on the CPU no other than that
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            # from their beginning: a run ends the same whatever it was stacked with
            left = [Trajectory(each.pending) for each in part if not each.is_done]
            if len(left) < 2:
                raise TrainingError(
                    f"there is too little memory to train {left[0].first}: {error}"
                ) from error
            waiting += [left[1::2], left[::2]]
        give_memory_back(device)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "not enough memory" in str(error) or "out of memory" in str(error)
