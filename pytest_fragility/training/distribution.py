"""Stacks trained side by side: in this process, and by others."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch

from pytest_fragility._util.text import error_text
from pytest_fragility.errors import TrainingError
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.transport import Parcel, pack_runs
from pytest_fragility.parallel import local_processes
from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.futures import Executors
from pytest_fragility.parallel.local_processes import PATIENCE, LocalProcesses
from pytest_fragility.parallel.pool import Job, Lost, Replies
from pytest_fragility.parallel.worker_side import load_sent
from pytest_fragility.training.cuda_streams import own_stream
from pytest_fragility.training.devices import choose_device, trainer_settings
from pytest_fragility.training.memory import train_within_memory
from pytest_fragility.training.trajectories import Trajectory

# so many networks take longer than the start of a worker
MANY_NETWORKS = 128
Stack = list[Trajectory]


def train_stacks(
    stacks: Sequence[Stack],
    device: torch.device,
    *,
    executors: Executors | None = None,
    processes: int = 1,
    in_flight: int = 1,
) -> Iterator[list[TrainedRun]]:
    """Train stacks, yielding runs as they finish; an error in any process is raised here.

    Where it is interrupted, it yields what is done before it raises the interruption. Where this
    iterator is closed or raises, what is not done is ended.

    Parameters
    ----------
    stacks
        What is trained, in this order.
    device
        Where, or on what kind of device where others train.
    executors
        Whose workers train all stacks; None trains on this machine.
    processes
        How many processes of this machine train, this one being one: workers take part at once
        where they wait already or `MANY_NETWORKS` are to be trained, else after a second. With
        executors, they train what these have lost.
    in_flight
        How many stacks this process trains at once, each in a thread.

    Warns
    -----
    LostWorkerWarning
        Where stacks are lost with who had them; what was left of them is trained here.
    """
    shards = [[trajectory.pending for trajectory in stack] for stack in stacks]
    are_many = sum(map(len, stacks)) >= MANY_NETWORKS
    start_after = 0.0 if are_many else local_processes.START_AFTER
    pool = executors or LocalProcesses(processes - 1, start_after=start_after)
    here = range(0 if executors else min(max(1, in_flight), len(stacks)))
    jobs = {
        place: Job((str(device),), partial(pack_runs, shard)) for place, shard in enumerate(shards)
    }
    replies = pool.begin(train_order, jobs, first_here=len(here))
    is_over = threading.Event()
    threads = [
        threading.Thread(
            target=_train_here, args=(place, stacks, device, replies, is_over), daemon=True
        )
        for place in here
    ]
    done: set[Run] = set()
    lost: list[int] = []
    try:
        for thread in threads:
            thread.start()
        for place, reply in replies:
            if isinstance(reply, Failure):
                reply.throw()
            if isinstance(reply, Lost):
                lost.append(place)
                reason = reply
                continue
            finished = _unpacked(reply, shards[place])
            done.update(each.run for each in finished)
            yield finished
    except KeyboardInterrupt:
        _end(threads, is_over)
        for place, reply in replies.so_far():
            if not isinstance(reply, Failure | Lost):
                yield _unpacked(reply, shards[place])
        raise
    finally:
        replies.cancel()
        _end(threads, is_over)
        if pool is not executors:
            pool.close()
    if lost:
        what = f"; {len(lost)} of {len(stacks)} stacks of networks are trained by this process"
        replies.warn_of_loss(reason, what)
        left = [[[run for run in runs if run not in done] for runs in shards[i]] for i in lost]
        rest = [[Trajectory(runs) for runs in shard if runs] for shard in left]
        yield from train_stacks(rest, device, processes=processes if executors else 1)


def _unpacked(reply: list[Any], shard: list[list[Run]]) -> list[TrainedRun]:
    """Return the trained runs of a reply; those that come from other processes are in parcels."""
    return [
        each.unpack(shard[each.place[0]][each.place[1]]) if isinstance(each, Parcel) else each
        for each in reply
    ]


def _train_here(
    first: int,
    stacks: Sequence[Stack],
    device: torch.device,
    replies: Replies[int],
    is_over: threading.Event,
) -> None:
    """Train one stack after the other, in a thread which knows nothing of the caller's modes.

    Autograd's modes, for one, hold for the thread that sets them.
    """
    # MKL keeps its number of threads for each thread apart
    torch.set_num_threads(1)
    # what an optimizer keeps of gradients that have become zero fades to numbers so small that a
    # CPU takes many times as long for each; this holds for the thread alone
    torch.set_flush_denormal(True)
    place = first
    try:
        with own_stream(device):
            while True:
                for finished in train_within_memory(stacks[place], device):
                    if is_over.is_set():
                        return
                    if finished:
                        replies.put(place, finished)
                replies.put(place, is_end=True)
                if (following := replies.take_next()) is None:
                    return
                place = following
    except Exception as error:
        replies.put(place, Failure(error, ""), is_end=True)
    # nobody else would hear of it: it would end this thread alone
    except BaseException as error:
        failure = Failure(TrainingError(f"a training raised {error_text(error)}"), "")
        failure.error.__cause__ = error
        replies.put(place, failure, is_end=True)


def _end(threads: Sequence[threading.Thread], is_over: threading.Event) -> None:
    """Have threads end, which they do after their next few steps if these do not take long."""
    is_over.set()
    for thread in threads:
        thread.join(PATIENCE)


def train_order(device_name: str, packed: bytes) -> Iterator[list[Parcel]]:
    """Train the runs of an order, yielding them as they finish; called in a worker.

    It trains in a thread of its own, whose settings end with it.
    """
    shard: list[list[Run]] = load_sent(packed)
    places = {run: (i, j) for i, runs in enumerate(shard) for j, run in enumerate(runs)}
    device = choose_device(device_name)
    with trainer_settings(device):
        for finished in train_stacks([[Trajectory(runs) for runs in shard]], device):
            yield [Parcel.pack(places[each.run], each) for each in finished]
