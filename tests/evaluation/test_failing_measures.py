"""A measure that fails on some networks: they are named, and the rest is judged all the same."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pytest_fragility import audit
from pytest_fragility.auditing.finding import assert_kept
from pytest_fragility.auditing.result import AuditResult
from pytest_fragility.checks.check import Check
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.errors import MeasureError, MeasureTimedOut, SettingsError
from pytest_fragility.evaluation.asking import evaluate
from pytest_fragility.evaluation.measured_curves import learning_curves
from pytest_fragility.evaluation.time_limit import time_limit
from pytest_fragility.families.family import Family
from pytest_fragility.measures import stacked
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes import Recipe
from pytest_fragility.tasks import Task

needs_clock = pytest.mark.skipif(sys.platform == "win32", reason="no alarm clock")
FALLING = Tolerances(trend="decreasing")


def fails_on(*places: tuple[str, int, int]) -> Callable[[TrainedNetwork], float]:
    """Return a measure that raises on networks with these recipes, n and seeds."""

    def ruler(network: TrainedNetwork) -> float:
        if (network.recipe_name, network.n, network.seed) in places:
            raise ZeroDivisionError("singular")
        return 1 / network.n

    return ruler


def error_of(measure: Any, family: Family, recipe: str = BASELINE) -> MeasureError:
    """Return what keeps a measure from having a curve."""
    with pytest.raises(MeasureError) as error:
        evaluate(measure, "ruler", family, recipe)
    return error.value


def test_all_networks_are_asked_where_few_fail(small_family: Family) -> None:
    """The first failure is told as if it were alone, the second by its place."""
    asked = []

    def measure(network: TrainedNetwork) -> float:
        asked.append((network.n, network.seed))
        return fails_on((BASELINE, 16, 1), (BASELINE, 64, 2))(network)

    error = error_of(measure, small_family)
    assert len(asked) == len(set(asked)) == 9
    assert "n=16, seed 1: raised ZeroDivisionError: singular. It fails too on n=64, seed 2" in str(
        error
    )
    assert error.seeds == {1, 2}
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_a_measure_that_fails_on_many_is_not_asked_on(small_family: Family) -> None:
    """After three failures; then there is no rest to be judged."""
    asked = []

    def measure(network: TrainedNetwork) -> float:
        asked.append((network.n, network.seed))
        raise ZeroDivisionError

    error = error_of(measure, small_family)
    assert asked == [(16, 0), (16, 1), (16, 2)]
    assert str(error).endswith("on n=16, seed 1 and on n=16, seed 2, and is not asked about more")
    assert error.seeds == frozenset()


def test_the_network_of_a_stack_is_found(small_family: Family) -> None:
    """Where a measure of stacks raises, its networks are asked about one by one."""

    @stacked
    def measure(stack: NetworkStack) -> list[float]:
        if stack.n == 32 and 1 in stack.seeds:
            raise ZeroDivisionError("singular")
        return [1.0] * len(stack)

    error = error_of(measure, small_family)
    assert "n=32, seed 1: raised ZeroDivisionError: singular" in str(error)
    assert error.seeds == {1}


def test_what_a_whole_stack_fails_with_is_told_of_the_stack(small_family: Family) -> None:
    """Of no network in particular."""

    @stacked
    def measure(stack: NetworkStack) -> list[float]:
        if len(stack) > 1:
            raise ZeroDivisionError("too many")
        return [1.0]

    error = error_of(measure, small_family)
    assert "n=16, seeds 0, 1, 2: raised ZeroDivisionError: too many" in str(error)
    assert error.seeds == frozenset()


def test_a_measure_out_of_memory_is_named(small_family: Family) -> None:
    """Python's own error, and torch's."""
    import torch

    def hoards(network: TrainedNetwork) -> float:
        if (network.n, network.seed) == (32, 1):
            torch.empty(1 << 60)
        if (network.n, network.seed) == (64, 1):
            raise MemoryError
        return 1.0

    error = error_of(hoards, small_family)
    assert "n=32, seed 1: raised RuntimeError" in str(error)
    assert "It fails too on n=64, seed 1" in str(error)
    assert error.seeds == {1}


def judged(measure: Any, family: Family, check: Check) -> str:
    """Return the message of a check, which must not be kept."""
    with pytest.raises(MeasureError) as error:
        assert_kept(check, learning_curves(measure, family), FALLING)
    return str(error.value)


def test_the_other_seeds_are_judged(small_family: Family) -> None:
    """It is an error all the same, and says what they find."""
    message = judged(fails_on((BASELINE, 16, 1)), small_family, Check("trend", BASELINE))
    assert message.endswith(
        "raised ZeroDivisionError: singular. Over the 2 other seeds, trend-baseline is kept"
    )
    curves = learning_curves(fails_on((BASELINE, 16, 1)), small_family)
    assert curves.without_seeds is not None
    others = curves.without_seeds(frozenset({1}))
    assert others.seeds == (0, 2)
    assert others.measure[BASELINE].values.tolist() == [[1 / n] * 2 for n in (16, 32, 64)]
    expected = curves.error["adam"].values[:, [0, 2]]
    assert (others.error["adam"].values == expected).all()


def test_one_seed_is_no_rest(small_family: Family) -> None:
    """It has no interval."""
    measure = fails_on((BASELINE, 16, 1), (BASELINE, 32, 2))
    assert "other seeds" not in judged(measure, small_family, Check("trend", BASELINE))


def test_a_failure_elsewhere_leaves_a_check_alone(small_family: Family) -> None:
    """Checks that need no network on which the measure fails have their verdicts."""
    curves = learning_curves(fails_on(("adam", 16, 1)), small_family)
    assert_kept(Check("trend", BASELINE), curves, FALLING)
    for _ in range(2):
        with pytest.raises(MeasureError, match=r"recipe adam .*, n=16, seed 1: raised"):
            assert_kept(Check("exponent", "adam"), curves, FALLING)


def test_a_failing_curve_is_asked_for_once(small_family: Family) -> None:
    """Each check that needs it has the same error, and the measure is not asked again."""
    asked = []

    def measure(network: TrainedNetwork) -> float:
        asked.append(network.seed)
        return fails_on((BASELINE, 16, 1), (BASELINE, 64, 2))(network)

    curves = learning_curves(measure, small_family)
    for _ in range(3):
        with pytest.raises(MeasureError):
            curves.measure[BASELINE]
    assert len(asked) == 9


@pytest.fixture(scope="module")
def half_failed(blobs: Task, small_recipe: Recipe) -> AuditResult:
    """An audit whose measure fails on one network under Adam."""
    return audit(
        fails_on(("adam", 16, 1)),
        task=blobs,
        recipe=small_recipe,
        sizes=(16, 32, 64),
        seeds=4,
        perturbations=["adam", "rmsprop"],
        checks=["trend", "exponent"],
        ladder="none",
        error_margin=9,
        cache_dir=None,
    )


def test_an_audit_notes_errors(half_failed: AuditResult) -> None:
    """By check; the others have verdicts, and the audit is not kept."""
    assert list(half_failed.errors) == ["trend-adam", "exponent-adam", "agreement"]
    assert half_failed["trend-rmsprop"].status == "kept"
    assert half_failed.verdict == "inconclusive"
    assert not half_failed.passed
    with pytest.raises(MeasureError, match="Over the 3 other seeds, trend-adam is"):
        half_failed["trend-adam"]
    assert "3 checks ended in an error" in str(half_failed)
    assert "n=16, seed 1: raised ZeroDivisionError: singular" in str(half_failed)
    assert half_failed.to_dict()["errors"]["agreement"].startswith("measure ruler on task blobs")


def test_an_audit_of_a_measure_that_always_fails_raises(blobs: Task, small_recipe: Recipe) -> None:
    """There is nothing to judge."""

    def ruler(network: TrainedNetwork) -> float:
        raise ZeroDivisionError

    with pytest.raises(MeasureError, match="is not asked about more"):
        audit(
            ruler,
            task=blobs,
            recipe=small_recipe,
            sizes=(16, 32),
            seeds=3,
            perturbations=["adam"],
            ladder="none",
            checks=["trend"],
            cache_dir=None,
        )


def forever(network: TrainedNetwork) -> float:
    """Never return, and swallow every exception on the way."""
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            continue


@needs_clock
def test_a_measure_that_hangs_is_cut_off(small_family: Family) -> None:
    """Its run is named, and the others are asked about."""

    def hangs(network: TrainedNetwork) -> float:
        return forever(network) if (network.n, network.seed) == (32, 2) else 1.0

    curves = learning_curves(hangs, small_family, measure_timeout=0.3)
    with pytest.raises(MeasureError) as error:
        curves.measure[BASELINE]
    assert "n=32, seed 2: took longer than 0.3 s and was cut off (measure_timeout)" in str(
        error.value
    )
    assert error.value.seeds == {2}
    assert error.value.__cause__ is None


@needs_clock
def test_a_measure_of_stacks_has_time_for_each(small_family: Family) -> None:
    """The limit is that of one network."""

    @stacked
    def slow(stack: NetworkStack) -> list[float]:
        time.sleep(0.25 * len(stack))
        return [1.0] * len(stack)

    # longer than the limit of one, and half of that of three
    assert evaluate(slow, "slow", small_family, BASELINE, sizes=[16], timeout=0.5).shape == (1, 3)
    with pytest.raises(MeasureError, match=r"n=16, seeds 0, 1, 2: took longer than 0\.15 s"):
        evaluate(slow, "slow", small_family, BASELINE, timeout=0.05)


@needs_clock
def test_values_on_networks_with_the_same_function_have_a_limit(small_family: Family) -> None:
    """As those of curves have."""
    curves = learning_curves(forever, small_family, measure_timeout=0.05)
    with pytest.raises(MeasureError, match=r"took longer than 0\.05 s"):
        curves.invariances["symmetry-permutation"]


def swallow(exceptions: int) -> None:
    """Never return, and swallow so many exceptions."""
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            exceptions -= 1
            if exceptions < 0:
                raise


@needs_clock
def test_what_swallows_everything_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare except does not keep a measure alive."""
    monkeypatch.setattr("pytest_fragility.evaluation.time_limit.AGAIN", 0.05)

    with pytest.raises(MeasureTimedOut), time_limit(0.05):
        swallow(1)


@needs_clock
def test_an_alarm_clock_that_was_set_goes_on() -> None:
    """Its handler and the time that is left come back."""
    rung = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with time_limit(100):
            time.sleep(0.05)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 0.95
        time.sleep(left + 0.1)
        assert rung == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@needs_clock
def test_no_limit_touches_no_clock() -> None:
    """Nor does one that was not reached leave any behind."""
    handler = signal.getsignal(signal.SIGALRM)
    with time_limit(None):
        assert signal.getsignal(signal.SIGALRM) is handler
    with time_limit(5):
        assert signal.getsignal(signal.SIGALRM) is not handler
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("exceptions", [0, 1])
def test_other_threads_have_a_limit(monkeypatch: pytest.MonkeyPatch, exceptions: int) -> None:
    """What runs there is cut off, also where it swallows the first exception."""
    monkeypatch.setattr("pytest_fragility.evaluation.time_limit.AGAIN", 0.05)
    caught: list[type[BaseException] | None] = []

    def run(seconds: float) -> None:
        try:
            with time_limit(seconds):
                swallow(exceptions) if seconds < 1 else time.sleep(0.01)
            caught.append(None)
        except MeasureTimedOut as error:
            caught.append(type(error))
        # nothing comes after the end
        for _ in range(20):
            time.sleep(0.01)

    for seconds in (0.05, 5):
        thread = threading.Thread(target=run, args=(seconds,))
        thread.start()
        thread.join()
    assert caught == [MeasureTimedOut, None]


def test_limits_are_seconds() -> None:
    """More than none, and not endless."""
    cases: list[Any] = [0, -1, True, "soon", float("nan"), float("inf")]
    for timeout in cases:
        with pytest.raises(
            SettingsError, match=r"measure_timeout=.*expected seconds, more than zero"
        ):
            audit(forever, measure_timeout=timeout)
