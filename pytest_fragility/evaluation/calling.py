"""Calling a measure: whatever it raises names the networks, and it ends in time.

One that has a limit is called in a process of its own, which can be ended: an exception could be
swallowed, an alarm clock set aside, and a call of a library need never return.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pytest_fragility._util.text import error_text
from pytest_fragility.errors import (
    FragilityWarning,
    MeasureError,
    MeasureTimedOut,
    UndefinedMeasureError,
)
from pytest_fragility.evaluation.time_limit import time_limit, took_longer
from pytest_fragility.evaluation.unchanged import left_as_it_is
from pytest_fragility.measures.adapters import as_measure
from pytest_fragility.measures.measure import Measure
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.measures.values import as_number
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.parallel.cores import Share, own_share, sharing
from pytest_fragility.parallel.failures import Failure
from pytest_fragility.parallel.local_processes import Worker, WorkerLostError, idle_workers
from pytest_fragility.parallel.pickling import dump
from pytest_fragility.parallel.thread_limits import own_cores
from pytest_fragility.parallel.worker_side import load_sent

OWN_NAME = __name__.partition(".")[0]
# seconds: what an exception does not end by then is ended with its process
GRACE = 2.0


class _NotSentError(Exception):
    """A measure, or what it is asked about, does not reach another process; the text says why."""


class MeasuredHereWarning(FragilityWarning):
    """A measure cannot be sent to another process; it is called in this one."""


def call(
    measure: Measure,
    about: Any,
    where: str,
    *,
    limit: float | None = None,
    apart: bool = False,
) -> Any:
    """Return what a measure says, asked in a process of its own where it has a limit.

    This package's own measures swallow nothing and always return: they are asked in this process.

    Parameters
    ----------
    measure
        What is asked.
    about
        A network, or a stack of them; what another process gets is a copy.
    where
        What messages begin with.
    limit
        Seconds that it may take; None has no limit.
    apart
        Whether it is asked in a process of its own without a limit too.

    Raises
    ------
    MeasureError
        If it raises anything but an interruption, takes too long, or ends its process.
    UndefinedMeasureError
        If it says that it is not defined there.

    Warns
    -----
    MeasuredHereWarning
        Where the measure cannot be sent to another process.
    """
    if (apart or limit is not None) and not is_own(measure):
        try:
            return _ask_apart(_packed(measure, about), where, limit)
        except _NotSentError as error:
            name = getattr(measure, "__name__", type(measure).__name__)
            warnings.warn(
                f"measure {name} cannot be sent to another process, so that it is called in this "
                f"one, where a limit ends what an exception can end: {error}",
                MeasuredHereWarning,
                stacklevel=2,
            )
    return _ask_within(measure, about, where, limit)


def is_own(measure: Measure) -> bool:
    """Return whether a measure of stacks is one of this package's, which do nothing else."""
    return isinstance(measure, StackMeasure) and measure.__module__.startswith(f"{OWN_NAME}.")


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Have whatever the code of others raises name the networks; interruptions stay what they are.

    Not exceptions alone: ``sys.exit()`` would end more than this one measurement, and what pytest
    raises to skip a test would leave it without a verdict.

    Raises
    ------
    MeasureError
        In the place of what is raised.
    """
    try:
        yield
    except (KeyboardInterrupt, MeasureTimedOut, UndefinedMeasureError):
        raise
    except BaseException as error:
        raise MeasureError(f"{where}: raised {error_text(error)}") from error


def _ask(measure: Measure, about: Any, where: str) -> Any:
    """Return what a measure says of a network, or of each of a stack, which it leaves as it is."""
    with left_as_it_is(about, where), naming(where):
        if isinstance(measure, StackMeasure) and isinstance(about, NetworkStack):
            return measure.over_stack(about).tolist()
        value = as_measure(measure)(about)
    return as_number(value, where)


def _ask_within(measure: Measure, about: Any, where: str, limit: float | None) -> Any:
    """Ask in this process; what takes too long has an exception raised in its midst."""
    try:
        with time_limit(limit):
            return _ask(measure, about, where)
    except MeasureTimedOut:
        raise MeasureError(f"{where}: {took_longer(limit)}") from None


class _Call(NamedTuple):
    """What a process is asked, and what of this one decides the answer."""

    where: str
    limit: float | None
    threads: int
    share: Share
    dtype: torch.dtype
    matmul_precision: str

    @classmethod
    def here(cls, where: str, limit: float | None) -> _Call:
        """Return the call with the settings of this process."""
        return cls(
            where,
            limit,
            torch.get_num_threads(),
            own_share(),
            torch.get_default_dtype(),
            torch.get_float32_matmul_precision(),
        )

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Compute as the process that asks, and restore what was set."""
        threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
        precision = torch.get_float32_matmul_precision()
        torch.set_num_threads(self.threads)
        torch.set_default_dtype(self.dtype)
        torch.set_float32_matmul_precision(self.matmul_precision)
        try:
            with sharing(self.share), own_cores(), torch.enable_grad():
                yield
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            torch.set_float32_matmul_precision(precision)


def _packed(measure: Measure, about: Any) -> bytes:
    try:
        return dump((measure, about), [measure, *_code_of(about)])
    # whatever one's own objects raise where they are pickled
    except Exception as error:
        raise _NotSentError(error_text(error)) from error


def _code_of(about: Any) -> Iterator[Any]:
    """Yield the classes of all modules in a network or a stack: they may be anybody's."""
    values = vars(about).values()
    for module in (value for value in values if isinstance(value, torch.nn.Module)):
        yield from {type(part) for part in module.modules()}


def _ask_apart(packed: bytes, where: str, limit: float | None) -> Any:
    """Ask in a worker of this machine, and end it where it does not answer in time."""
    try:
        worker = idle_workers.take()
    except WorkerLostError as error:
        raise _NotSentError(f"there is none ({error})") from error
    has_ended_it = threading.Event()
    try:
        with closing(worker.perform(_answer, _Call.here(where, limit), packed)) as replies:
            _receive(next(replies))
            # it has what it needs: from now on it is the measure's time
            with _watched(worker, limit, has_ended_it):
                (reply,) = replies
    except WorkerLostError as error:
        if has_ended_it.is_set():
            raise MeasureError(f"{where}: {took_longer(limit)}") from None
        raise MeasureError(f"{where}: ended the process that it was called in ({error})") from None
    finally:
        idle_workers.give_back(worker)
    return _receive(reply)


def _receive(reply: Any) -> Any:
    if isinstance(reply, Failure):
        reply.throw()
    return reply


@contextmanager
def _watched(worker: Worker, limit: float | None, has_ended_it: threading.Event) -> Iterator[None]:
    """End a worker that takes longer than a limit and a grace, and say so."""
    if limit is None:
        yield
        return

    def end() -> None:
        has_ended_it.set()
        worker.kill()

    timer = threading.Timer(limit + GRACE, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # where it has begun to end the worker, nobody else is to take that
        timer.join()


def _answer(call: _Call, packed: bytes) -> Iterator[Any]:
    """Yield once all is there, then what the measure says; called in a worker."""
    try:
        measure, about = load_sent(packed)
    # whatever one's own objects raise where they are read
    except Exception as error:
        yield Failure(_NotSentError(error_text(error)), "")
        return
    yield None
    with _own_end(call.limit):
        answered = _answered(call, measure, about)
    yield answered


@contextmanager
def _own_end(limit: float | None) -> Iterator[None]:
    """End this process some time after a limit: who asks may have been killed meanwhile."""
    if limit is None:
        yield
        return
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(limit + 2 * GRACE, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _answered(call: _Call, measure: Measure, about: Any) -> Any:
    try:
        with call.settings():
            return _ask_within(measure, about, call.where, call.limit)
    except (MeasureError, UndefinedMeasureError) as error:
        return Failure(error, "").with_cause_as_text()
