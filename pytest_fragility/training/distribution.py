"""Stacks trained side by side: in this process, and by workers on the other cores."""

from __future__ import annotations

import pickle
import queue
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from pytest_fragility._util.text import error_text
from pytest_fragility.errors import TrainingError
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.networks.transport import Parcel, pack_runs
from pytest_fragility.parallel.failures import Failure, LostWorkerWarning
from pytest_fragility.parallel.futures import Batch, Executors, Lost
from pytest_fragility.parallel.local_processes import Worker, WorkerLostError, idle_workers
from pytest_fragility.parallel.worker_side import load_sent
from pytest_fragility.training.cuda_streams import own_stream
from pytest_fragility.training.devices import choose_device, trainer_settings
from pytest_fragility.training.memory import train_within_memory
from pytest_fragility.training.trajectories import Trajectory

CPU = torch.device("cpu")


def train_by(worker: Worker, shard: Sequence[Sequence[Run]]) -> Iterator[list[TrainedRun]]:
    """Have a worker train the runs of each trajectory, yielding them as they finish.

    Raises
    ------
    WorkerLostError
        If the process ends before all of them have come back.
    Exception
        What the training raised.
    """
    for parcels in worker.perform(train_for_this_machine, pack_runs(shard)):
        yield [parcel.unpack(shard[i][j]) for parcel in parcels for i, j in [parcel.place]]


def train_for_this_machine(packed: bytes) -> Iterator[list[Parcel]]:
    """Train the runs of an order, yielding them as they finish; called in a worker process."""
    shard: list[list[Run]] = pickle.loads(packed)
    places = {id(run): (i, j) for i, runs in enumerate(shard) for j, run in enumerate(runs)}
    stack = [Trajectory(runs) for runs in shard]
    # as in the threads of the process that sends orders; no other work here wants it
    torch.set_flush_denormal(True)
    try:
        with trainer_settings(CPU):
            for finished in train_within_memory(stack, CPU):
                if finished:
                    yield [Parcel.pack(places[id(each.run)], each) for each in finished]
    finally:
        torch.set_flush_denormal(False)


# seconds: about what it takes to start a worker
START_AFTER = 1.0
# so many networks take longer than that
MANY_NETWORKS = 128
# seconds: a training that is stopped ends after its next few steps, if these do not take longer
PATIENCE = 1.0
Stack = list[Trajectory]


@dataclass(frozen=True)
class LeftOver:
    """What a worker that has ended early has left."""

    rest: Stack
    reason: str


Reply = list[TrainedRun] | LeftOver | Exception


class Crew:
    """Trains stacks, each in one process.

    This process takes the first, or the first few; workers take others at once where
    `MANY_NETWORKS` are to be trained or a worker waits already, else once that has lasted
    `START_AFTER`, so that a short training starts none.

    Parameters
    ----------
    stacks
        What is trained, in this order.
    workers
        How many stacks may be trained elsewhere at a time.
    device
        Where this process trains.
    in_flight
        How many stacks it may train at once, each in a thread.
    """

    def __init__(
        self, stacks: Sequence[Stack], workers: int, device: torch.device, *, in_flight: int = 1
    ) -> None:
        self._waiting = deque(stacks)
        self._device = device
        self._replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()
        self._nothing_waits = threading.Event()
        self._are_many = sum(map(len, stacks)) >= MANY_NETWORKS
        here = max(1, min(in_flight, len(stacks)))
        count = max(0, min(workers, len(stacks) - here))
        self._members: list[_Member] = [
            *(_Here(self, device) for _ in range(here)),
            *(_Helper(self) for _ in range(count)),
        ]

    def train(self) -> Iterator[list[TrainedRun]]:
        """Yield runs as they finish; an error in any process is raised here.

        Where it is interrupted, it yields what is done before it raises the interruption.

        Where this iterator is closed or raises, what is not done is ended.
        """
        for member in self._members:
            member.start()
        working = len(self._members)
        try:
            while working:
                reply = self._replies.get()
                if reply is None:
                    working -= 1
                elif isinstance(reply, Exception):
                    raise reply
                elif isinstance(reply, LeftOver):
                    self._train_here(reply)
                    working += 1
                else:
                    yield reply
        except KeyboardInterrupt:
            self._end()
            yield from self._finished_meanwhile()
            raise
        finally:
            self._end()

    def _end(self) -> None:
        """Have all members end, whatever they do."""
        self._waiting.clear()
        self._nothing_waits.set()
        for member in self._members:
            member.leave()
        for member in self._members:
            member.join(PATIENCE)

    def _finished_meanwhile(self) -> Iterator[list[TrainedRun]]:
        """Yield what nobody has taken yet of what is done."""
        while not self._replies.empty():
            reply = self._replies.get()
            if isinstance(reply, list):
                yield reply

    def wait_to_start(self) -> None:
        """Return when workers are worth their start, or when there is nothing for them.

        One that waits since another training costs nothing to start.
        """
        if not (self._are_many or idle_workers.is_any):
            self._nothing_waits.wait(START_AFTER)

    def next_stack(self) -> Stack | None:
        """Return a stack that is nobody's yet, or None."""
        try:
            return self._waiting.popleft()
        except IndexError:
            self._nothing_waits.set()
            return None

    def reply(self, reply: Reply | None) -> None:
        """Pass on what a worker has done; None where it does nothing more."""
        self._replies.put(reply)

    def _train_here(self, lost: LeftOver) -> None:
        warnings.warn(
            f"a worker process ended early ({lost.reason}); the networks that it had left are "
            "trained in this process",
            LostWorkerWarning,
            stacklevel=2,
        )
        self._waiting.append(lost.rest)
        self._members.append(_Here(self, self._device))
        self._members[-1].start()


class _Member(threading.Thread):
    """Takes one stack after the other and passes on what becomes of it."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(daemon=True)
        self._crew = crew
        self._has_left = threading.Event()

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._crew.reply(error)
        # nobody else would hear of it: it would end this thread alone
        except BaseException as error:
            failure = TrainingError(f"a training raised {error_text(error)}")
            failure.__cause__ = error
            self._crew.reply(failure)
        finally:
            self._crew.reply(None)

    def leave(self) -> None:
        """Have it end, whether or not it is done."""
        self._has_left.set()

    def _work(self) -> None:
        raise NotImplementedError


class _Here(_Member):
    """Trains in this process: in a thread of its own, which knows nothing of the caller's modes.

    Autograd's modes, for one, hold for the thread that sets them.
    """

    def __init__(self, crew: Crew, device: torch.device) -> None:
        super().__init__(crew)
        self._device = device

    def _work(self) -> None:
        # MKL keeps its number of threads for each thread apart
        torch.set_num_threads(1)
        # what an optimizer keeps of gradients that have become zero fades to numbers so small that
        # a CPU takes many times as long for each; this holds for the thread alone
        torch.set_flush_denormal(True)
        with own_stream(self._device):
            while (stack := self._crew.next_stack()) is not None:
                for finished in train_within_memory(stack, self._device):
                    if self._has_left.is_set():
                        return
                    if finished:
                        self._crew.reply(finished)


class _Helper(_Member):
    """Has a worker train."""

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        self._worker: Worker | None = None

    def _work(self) -> None:
        self._crew.wait_to_start()
        try:
            while (stack := self._crew.next_stack()) is not None:
                if not self._train(stack):
                    return
        finally:
            if self._worker:
                idle_workers.give_back(self._worker)

    def leave(self) -> None:
        """Have it end; the worker too, if it is not done."""
        super().leave()
        if self.is_alive() and self._worker:
            self._worker.kill()

    def _train(self, stack: Stack) -> bool:
        """Return whether the worker has trained all of it."""
        shard = [trajectory.pending for trajectory in stack]
        left = {id(run) for runs in shard for run in runs}
        try:
            self._worker = self._worker or idle_workers.take()
            if self._has_left.is_set():
                self._worker.kill()
            for finished in train_by(self._worker, shard):
                left -= {id(trained.run) for trained in finished}
                self._crew.reply(finished)
        except WorkerLostError as error:
            rest = [[run for run in runs if id(run) in left] for runs in shard]
            self._crew.reply(LeftOver([Trajectory(runs) for runs in rest if runs], str(error)))
            return False
        return True


def train_elsewhere(
    stacks: Sequence[Stack], device: torch.device, executors: Executors, *, processes: int
) -> Iterator[list[TrainedRun]]:
    """Train stacks by an executor's workers, yielding the runs of each as it is done.

    Parameters
    ----------
    stacks
        What is trained, in this order.
    device
        What kind of device the workers train on.
    executors
        Who has the workers; there is one.
    processes
        In how many processes of this machine that is trained which no executor does.

    Raises
    ------
    Exception
        What a training raised, with the worker's traceback as its cause.

    Warns
    -----
    LostWorkerWarning
        Where an executor has lost stacks, which others train.
    """
    shards = [[trajectory.pending for trajectory in stack] for stack in stacks]
    orders = {place: (pack_runs(shard), str(device)) for place, shard in enumerate(shards)}
    lost: dict[int, str] = {}
    batch = Batch(executors, train_for_executor, orders)
    try:
        for place, reply in batch:
            if isinstance(reply, Failure):
                reply.throw()
            elif isinstance(reply, Lost):
                lost[place] = reply.reason
            else:
                shard = shards[place]
                yield [parcel.unpack(shard[i][j]) for parcel in reply for i, j in [parcel.place]]
    finally:
        batch.cancel()
    if lost:
        warnings.warn(
            f"an executor has lost work ({next(iter(lost.values()))}); {len(lost)} of "
            f"{len(stacks)} stacks of networks are trained by this process",
            LostWorkerWarning,
            stacklevel=2,
        )
        yield from Crew([stacks[place] for place in sorted(lost)], processes - 1, device).train()


def train_for_executor(order: bytes, device_name: str) -> list[Parcel]:
    """Train the runs of an order; called in a worker, which is left as it was."""
    shard = load_sent(order)
    places = {id(run): (i, j) for i, runs in enumerate(shard) for j, run in enumerate(runs)}
    stack = [Trajectory(runs) for runs in shard]
    device = choose_device(device_name)
    with trainer_settings(device):
        # in a thread of its own, whose settings end with it
        batches = Crew([stack], 0, device).train()
        return [Parcel.pack(places[id(each.run)], each) for batch in batches for each in batch]
