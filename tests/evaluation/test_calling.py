"""Measures that do more than to return or raise: each call has an end, and names its network."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_fragility.errors import MeasureError, UndefinedMeasureError
from pytest_fragility.evaluation import calling
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.evaluation.calling import MeasuredHereWarning
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.families.family import Family
from pytest_fragility.measures import stacked
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE

needs_clock = pytest.mark.skipif(sys.platform == "win32", reason="no alarm clock")
LIMIT = 0.2
HERE = os.getpid()


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "GRACE", 0.2)


def raising(error: Callable[[], BaseException]) -> Callable[[TrainedNetwork], float]:
    """Return a measure that raises on one network."""

    def measure(network: TrainedNetwork) -> float:
        if (network.n, network.seed) == (32, 1):
            raise error()
        return 1.0

    return measure


def outcome(name: str) -> BaseException:
    """Return what pytest raises to end a test in its own way."""
    return getattr(pytest, name).Exception("it says so")  # type: ignore[no-any-return]


ERRORS: list[Callable[[], BaseException]] = [
    lambda: SystemExit(3),
    lambda: SystemExit("no licence"),
    GeneratorExit,
    asyncio.CancelledError,
    BaseException,
    lambda: outcome("skip"),
    lambda: outcome("fail"),
    lambda: outcome("xfail"),
    lambda: outcome("exit"),
]


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_whatever_is_raised_names_the_network(small_family: Family, timeout: float | None) -> None:
    """No more than this network's value is lost: also where it is measured within a limit."""
    for error in ERRORS:
        with pytest.raises(
            MeasureError, match=rf"n=32, seed 1: raised {type(error()).__name__}"
        ) as found:
            evaluate(raising(error), "it", small_family, BASELINE, timeout=timeout)
        assert found.value.seeds == {1}
        assert found.value.__cause__ is not None


def test_measures_of_stacks_too(small_family: Family) -> None:
    """The network that it is, is found."""

    @stacked
    def quits(stack: NetworkStack) -> list[float]:
        if stack.n == 32 and 1 in stack.seeds:
            sys.exit(1)
        return [1.0] * len(stack)

    with pytest.raises(MeasureError, match="n=32, seed 1: raised SystemExit: 1") as found:
        evaluate(quits, "it", small_family, BASELINE)
    assert found.value.seeds == {1}


def test_where_the_function_stays_the_same_too(small_family: Family) -> None:
    """A check of a symmetry has an error that names the network."""

    def quits(network: TrainedNetwork) -> float:
        sys.exit(1)

    curves = learning_curves(quits, small_family)
    with pytest.raises(MeasureError, match=r"measure quits on task blobs.*: raised SystemExit: 1"):
        curves.invariances["symmetry-permutation"]


def test_an_interruption_stays_one(small_family: Family) -> None:
    """It is the user's, and ends all."""
    with pytest.raises(KeyboardInterrupt):
        evaluate(raising(KeyboardInterrupt), "it", small_family, BASELINE)


def test_a_number_that_quits(small_family: Family) -> None:
    """What is returned may be code, too."""

    class Number(float):
        def __float__(self) -> float:
            sys.exit(1)

    with pytest.raises(MeasureError, match="returned Number, which cannot be made a float: System"):
        evaluate(lambda network: Number(1.0), "it", small_family, BASELINE, sizes=[16])


def swallowing(network: TrainedNetwork) -> None:
    """Swallow all that can be raised."""
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            continue


def setting_aside(network: TrainedNetwork) -> None:
    """Turn the clock off, and have no signal delivered."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    time.sleep(600)


def never_returning(network: TrainedNetwork) -> None:
    """Hold the interpreter in code of C."""
    ctypes.PyDLL(None).sleep(600)


def late(network: TrainedNetwork) -> None:
    """Come back after the limit, as if nothing was."""
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    time.sleep(1.5 * LIMIT)


HANGING = [swallowing, setting_aside, never_returning, late]


@needs_clock
@pytest.mark.parametrize("hang", HANGING)
def test_what_cannot_be_cut_off_is_ended(small_family: Family, hang: Any) -> None:
    """With the process that it was called in; the other networks are asked about in a new one."""

    def measure(network: TrainedNetwork) -> float:
        if (network.n, network.seed) == (32, 1):
            hang(network)
        return float(network.n)

    handler, clock = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    with pytest.raises(MeasureError, match=r"n=32, seed 1: took longer than 0\.2 s") as found:
        evaluate(measure, "it", small_family, BASELINE, timeout=LIMIT)
    assert found.value.seeds == {1}
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == clock


@needs_clock
def test_stacks_and_equal_functions_end_too(small_family: Family) -> None:
    """Wherever a measure is asked."""

    @stacked
    def measure(stack: NetworkStack) -> list[float]:
        if stack.n == 32 and 1 in stack.seeds:
            swallowing(stack)  # type: ignore[arg-type]
        return [1.0] * len(stack)

    with pytest.raises(MeasureError, match=r"n=32, seed 1: took longer") as found:
        evaluate(measure, "it", small_family, BASELINE, timeout=LIMIT / 3)
    assert found.value.seeds == {1}
    curves = learning_curves(swallowing, small_family, measure_timeout=LIMIT)
    with pytest.raises(MeasureError, match="took longer than"):
        curves.invariances["symmetry-permutation"]


@needs_clock
def test_another_thread_has_the_same_limit(small_family: Family) -> None:
    """An alarm rings in the main thread alone."""
    found: list[str] = []

    def measure(network: TrainedNetwork) -> float:
        return 1.0 if network.seed else swallowing(network)  # type: ignore[func-returns-value]

    def run() -> None:
        try:
            evaluate(measure, "it", small_family, BASELINE, sizes=[16], timeout=LIMIT)
        except MeasureError as error:
            found.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "n=16, seed 0: took longer than 0.2 s" in found[0]


def test_a_measure_that_ends_its_process(small_family: Family) -> None:
    """Where it has one of its own, the network is named, and the others are asked about."""

    def quits(network: TrainedNetwork) -> float:
        if (network.n, network.seed) == (32, 1):
            os._exit(7)
        return 1.0

    with pytest.raises(
        MeasureError, match=r"seed 1: ended the process .*\(exit status 7\)"
    ) as found:
        evaluate(quits, "it", small_family, BASELINE, timeout=60)
    assert found.value.seeds == {1}


def test_values_are_the_same_within_a_limit(small_family: Family) -> None:
    """Bit by bit: the randomness of a network, its gradients, and what is not defined."""
    import torch

    def draws(network: TrainedNetwork) -> float:
        assert (os.getpid() == HERE) == (network.n == -1 or not within)
        noise = torch.rand(1, generator=network.rng)
        loss = torch.nn.functional.cross_entropy(network.model(network.inputs), network.labels)
        loss.backward()
        return float(noise) + sum(float(p.grad.norm()) for p in network.model.parameters())

    within = False
    expected = evaluate(draws, "it", small_family, BASELINE)
    within = True
    found = evaluate(draws, "it", small_family, BASELINE, timeout=60)
    assert (found == expected).all()

    def undefined(network: TrainedNetwork) -> float:
        raise UndefinedMeasureError("no margin")

    with pytest.raises(MeasureError, match="n=16, seed 0: no margin"):
        evaluate(undefined, "it", small_family, BASELINE, timeout=60)

    def changes(network: TrainedNetwork) -> float:
        next(network.model.parameters()).data.zero_()
        return 1.0

    with pytest.raises(MeasureError, match="changed the network it was handed"):
        evaluate(changes, "it", small_family, BASELINE, timeout=60)


@needs_clock
def test_what_cannot_be_sent_is_called_here(small_family: Family) -> None:
    """A warning says so; an exception ends it as far as one can."""
    lock = threading.Lock()

    def locked(network: TrainedNetwork) -> float:
        with lock:
            time.sleep(600 if network.seed == 1 else 0)
        return 1.0

    with (
        pytest.warns(MeasuredHereWarning, match=r"measure locked cannot be sent .*lock"),
        pytest.raises(MeasureError, match=r"n=16, seed 1: took longer than 0\.2 s"),
    ):
        evaluate(locked, "it", small_family, BASELINE, sizes=[16], timeout=LIMIT)
