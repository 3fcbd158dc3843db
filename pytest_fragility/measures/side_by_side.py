"""Networks of a stack that are measured at the same time, one on each core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event
from typing import TypeVar

import torch

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.cores import thread_libraries
from pytest_fragility.measures.layers import relu_chain_of
from pytest_fragility.network_stacks import NetworkStack, Samples, Tensors
from pytest_fragility.training.perceptrons import as_perceptron
from pytest_fragility.unknown_parts import replaced

# with fewer samples, threads of one interpreter hold each other up
FEWEST_SAMPLES = 128

Value = TypeVar("Value")

# how many threads torch might use before operations were given one each
_CORES: ContextVar[int | None] = ContextVar("cores", default=None)
# set where nobody waits any more for what a thread works out
_UNWANTED: ContextVar[Event | None] = ContextVar("unwanted", default=None)


def side_by_side(
    stack: NetworkStack,
    compute: Callable[[NetworkStack], Sequence[Value]],
    *,
    in_numpy: bool = False,
) -> list[Value]:
    """Return one value per network from calls on stacks of one network each, as many as cores.

    That is for ReLU perceptrons on the CPU, and as many cores as torch may use threads. Operations
    on networks as small as these would mostly wait for threads of their own, and have none
    meanwhile. Other networks are measured in one call: no two threads can call a module, or trace
    one, at the same time.

    Parameters
    ----------
    stack
        The networks.
    compute
        Maps a stack to one value per network; called in threads that know nothing of the caller's
        modes. It does not trace the structure.
    in_numpy
        Whether its work is NumPy's, and on the CPU wherever the networks are.

    Raises
    ------
    UndefinedMeasureError
        If `compute` does; it names the network's place in the whole stack.
    """
    with one_thread_each(stack, in_numpy=in_numpy) as cores:
        count = min(cores, len(stack)) if stack.n >= FEWEST_SAMPLES else 1
        if count == 1:
            return list(compute(stack))
        inputs, labels = stack.load_samples()

        is_unwanted = Event()

        def of_network(place: int) -> Value:
            _UNWANTED.set(is_unwanted)
            leave_if_unwanted()
            only = slice(place, place + 1)
            samples = inputs[only], labels[only]
            try:
                (value,) = compute(_part(stack, only, lambda: samples))
            except UndefinedMeasureError as error:
                raise UndefinedMeasureError(str(error), place) from error
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
    return relu_chain_of(stack) is not None and as_perceptron(stack.structure) is not None


@contextmanager
def one_thread_each(stack: NetworkStack, *, in_numpy: bool = False) -> Iterator[int]:
    """Give each operation on a stack one thread, and yield how many may be used in all.

    That is for ReLU perceptrons on the CPU, and where the work is NumPy's; elsewhere nothing
    changes. What was set is restored.
    """
    cores = _CORES.get() or torch.get_num_threads()
    is_on_cpu = in_numpy or stack.device.type == "cpu"
    if not is_on_cpu or not _is_written_out(stack):
        yield 1
        return
    threads, token = torch.get_num_threads(), _CORES.set(cores)
    with thread_libraries().limit(limits=1, user_api="blas"):
        torch.set_num_threads(1)
        try:
            yield cores
        finally:
            torch.set_num_threads(threads)
            _CORES.reset(token)


def _part(stack: NetworkStack, places: slice, load_samples: Callable[[], Samples]) -> NetworkStack:
    """Return the stack of some of a stack's networks."""

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
        load_samples=load_samples,
        # torch.fx changes all modules for all threads while it traces one
        _results={"ReLU chain": relu_chain_of(stack)},
    )
