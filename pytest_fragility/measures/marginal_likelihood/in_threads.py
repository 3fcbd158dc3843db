"""Networks of a stack that are measured at the same time, one on each core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event
from typing import TypeVar

import torch

from pytest_fragility.measures.common.batching import counted_from, part_of
from pytest_fragility.measures.common.outputs import perceptron_of, relu_chain_of
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.parallel.thread_limits import thread_libraries

# with fewer samples, threads of one interpreter hold each other up
FEWEST_SAMPLES = 128
Value = TypeVar("Value")
# set where nobody waits any more for what a thread works out
_UNWANTED: ContextVar[Event | None] = ContextVar("unwanted", default=None)


def side_by_side(
    stack: NetworkStack, compute: Callable[[NetworkStack], Sequence[Value]]
) -> list[Value]:
    """Return one value per network from calls on stacks of one network each, as many as cores.

    That is for NumPy's and SciPy's work on the samples of ReLU perceptrons, on as many cores as
    torch may use threads: its operations, of one thread each, let other threads work meanwhile.
    Other networks are measured in one call: no two threads can call a module, or trace one, at the
    same time. `compute` is called in threads that know nothing of the caller's modes, and does not
    trace the structure. Its refusals name the network's place in the whole stack.
    """
    with _one_thread_each(stack) as cores:
        count = min(cores, len(stack)) if stack.n >= FEWEST_SAMPLES else 1
        if count == 1:
            return list(compute(stack))
        inputs, labels = stack.load_samples()

        is_unwanted = Event()

        def of_network(place: int) -> Value:
            _UNWANTED.set(is_unwanted)
            leave_if_unwanted()
            only = slice(place, place + 1)
            with counted_from(place):
                (value,) = compute(part_of(stack, only, (inputs[only], labels[only])))
            return value

        with ThreadPoolExecutor(count) as pool:
            try:
                return list(pool.map(of_network, range(len(stack))))
            finally:
                # where this is interrupted, what has not begun never does
                is_unwanted.set()


def leave_if_unwanted() -> None:
    """Raise a CancelledError in a thread whose caller has been interrupted meanwhile."""
    is_unwanted = _UNWANTED.get()
    if is_unwanted and is_unwanted.is_set():
        raise CancelledError


def _is_written_out(stack: NetworkStack) -> bool:
    """Return whether outputs and derivatives are matrix products, with no call of the module."""
    return relu_chain_of(stack) is not None and perceptron_of(stack) is not None


@contextmanager
def _one_thread_each(stack: NetworkStack) -> Iterator[int]:
    """Give each operation one thread, and yield how many may be used in all.

    That is for ReLU perceptrons; elsewhere nothing changes. What was set is restored.
    """
    threads = torch.get_num_threads()
    if not _is_written_out(stack):
        yield 1
        return
    with thread_libraries().limit(limits=1, user_api="blas"):
        torch.set_num_threads(1)
        try:
            yield threads
        finally:
            torch.set_num_threads(threads)
