"""One thing that fails takes no other along: the verdicts that do not rest on it are all there."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pytest_fragility import audit
from pytest_fragility.errors import BudgetError, MeasureError
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.parallel import local_processes as workers
from pytest_fragility.parallel.local_processes import idle_workers
from pytest_fragility.recipes import Recipe
from pytest_fragility.tasks import Task, TaskData

OF_ADAM = {"trend-adam", "exponent-adam", "agreement"}


@pytest.fixture
def audited(blobs: Task, small_recipe: Recipe) -> Callable[..., Any]:
    """Return an audit of few networks."""

    def run(measure: Any, **options: Any) -> Any:
        chosen: dict[str, Any] = {
            "task": blobs,
            "recipe": small_recipe,
            "sizes": (16, 32, 64),
            "seeds": 5,
            "perturbations": ["adam", "lr-x3"],
            "ladder": "none",
            "checks": ["trend", "exponent"],
            "error_margin": 9,
            "cache_dir": None,
            **options,
        }
        return audit(measure, **chosen)

    return run


def failing(where: Callable[[TrainedNetwork], bool], value: float | None = None) -> Any:
    """Return a measure that raises, or returns a value of no use, on some networks."""

    def ruler(network: TrainedNetwork) -> float:
        if where(network) and value is None:
            raise ZeroDivisionError("singular")
        return value if where(network) and value is not None else 1 / network.n

    return ruler


@pytest.mark.parametrize("value", [None, 0.0, float("nan")])
@pytest.mark.parametrize("seeds", [5, "auto"])
def test_a_measure_that_fails_on_one_network(audited: Any, seeds: Any, value: Any) -> None:
    """However many seeds are trained: what needs it is an error, and the rest is judged."""

    def is_it(network: TrainedNetwork) -> bool:
        return (network.recipe_name, network.n, network.seed) == ("adam", 16, 1)

    result = audited(failing(is_it, value), seeds=seeds)
    assert set(result.errors) == OF_ADAM
    assert result["trend-lr-x3"].check.id == "trend-lr-x3"
    with pytest.raises(MeasureError, match=r"n=16, seed 1: .* Over the 4 other seeds, trend-adam"):
        result["trend-adam"]
    assert not result.passed


@pytest.mark.parametrize("seeds", [5, "auto"])
def test_a_measure_that_fails_under_a_whole_recipe(audited: Any, seeds: Any) -> None:
    """It is asked no more about this recipe, and about all others."""
    result = audited(failing(lambda network: network.recipe_name == "adam"), seeds=seeds)
    assert set(result.errors) == OF_ADAM
    assert {"trend-baseline", "trend-lr-x3", "exponent-lr-x3"} <= {
        verdict.check.id for verdict in result.verdicts
    }


@pytest.mark.parametrize("seeds", [5, "auto"])
def test_a_measure_that_fails_where_the_function_stays_the_same(audited: Any, seeds: Any) -> None:
    """Curves have nothing to do with it."""
    asked: set[tuple[Any, ...]] = set()

    def once(network: TrainedNetwork) -> float:
        place = network.recipe_name, network.n, network.seed
        if place in asked and network.n == 32:
            raise ZeroDivisionError("singular")
        asked.add(place)
        return 1 / network.n

    result = audited(once, seeds=seeds, checks=["trend", "symmetry"])
    assert {error.partition("-")[0] for error in result.errors} == {"symmetry"}
    assert "trend-adam" in {verdict.check.id for verdict in result.verdicts}


@pytest.mark.parametrize("seeds", [5, "auto"])
def test_a_measure_that_fails_always_raises(audited: Any, seeds: Any) -> None:
    """No verdict is left that looks at it."""
    with pytest.raises(MeasureError, match="is not asked about more"):
        audited(failing(lambda network: True), seeds=seeds)


def test_a_search_that_fails_leaves_the_others_their_verdicts(audited: Any) -> None:
    """By an error of the measure, or by a budget that does not suffice."""
    is_fast = failing(lambda network: network.recipe_name.startswith("lr-x"))
    options: dict[str, Any] = {"perturbations": ["adam"], "checks": ["trend"], "seeds": 2}
    result = audited(is_fast, locate=["lr", "weight-decay"], **options)
    assert set(result.errors) == {"locate-lr"}
    assert result["locate-weight-decay"].status == "kept"
    poor = audited(failing(lambda network: False), locate=["lr"], budget=0, **options)
    assert isinstance(poor.errors["locate-lr"], BudgetError)
    assert "trend-adam" in {verdict.check.id for verdict in poor.verdicts}


def named(blobs: Task, name: str, load: Any = None) -> Task:
    """Return a task of another name, with the same data or what a loader returns."""
    return Task(name, load or (lambda: blobs.data))


def broken() -> Any:
    """Load nothing."""
    raise FileNotFoundError("no such disk")


def tiny() -> TaskData:
    """Load fewer samples than are asked for."""
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(20, 6)), np.arange(20) % 3
    return TaskData(inputs, labels, inputs, labels)


@pytest.mark.parametrize("load", [broken, tiny, lambda: sys.exit(1)])
@pytest.mark.parametrize("seeds", [3, "auto"])
def test_a_task_of_the_ladder_that_cannot_be_learned(
    audited: Any, blobs: Task, seeds: Any, load: Any
) -> None:
    """The ladder is not judged, which says why; all else is."""
    ladder = [blobs, named(blobs, "other"), named(blobs, "lost", load)]
    result = audited(
        failing(lambda network: False), seeds=seeds, checks=["trend", "complexity"], ladder=ladder
    )
    for check in ("complexity-exponent", "complexity-level"):
        verdict = result[check]
        assert verdict.status == "inconclusive"
        assert "task lost cannot be judged: " in verdict.reason
        assert "lost" in verdict.reason.partition(": ")[2]
    assert result["trend-adam"].evidence is not None
    assert not result.errors


def test_a_rung_on_which_the_measure_fails(audited: Any, blobs: Task) -> None:
    """The ladder ends in an error, and all else is judged."""
    ladder = [blobs, named(blobs, "other")]
    measure = failing(lambda network: network.task_name == "other")
    result = audited(measure, seeds=3, checks=["trend", "complexity"], ladder=ladder)
    assert set(result.errors) == {"complexity-exponent", "complexity-level"}
    assert result["trend-adam"].evidence is not None


def leaves_a_thread(network: TrainedNetwork) -> float:
    """Start a thread that never ends."""
    threading.Thread(target=threading.Event().wait).start()
    return 1 / network.n


def test_a_thread_that_a_measure_has_left_holds_nothing_up(
    audited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the end of this process: the one that the measure was called in is ended."""
    monkeypatch.setattr(workers, "TO_LEAVE", 0.3)
    idle_workers.dismiss()
    assert audited(leaves_a_thread, measure_timeout=60).verdicts
    assert idle_workers.is_any
    idle_workers.dismiss()
    assert not idle_workers.is_any
