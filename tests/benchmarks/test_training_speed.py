"""Seconds per network of training: this trainer beside other ways and the machine's floor.

Run with ``pytest tests/benchmarks/test_training_speed.py``. In one process, round by round in
turns: a loop over ``torch.optim``, joblib, ``torch.func.vmap``, this trainer, jax where it is
installed (``pip install -e '.[benchmark]'``), and the matrix products alone. It prints a table of
ratios and writes ``.benchmarks/training_speed.json``, which
``python tests/benchmarks/plot_training_speed.py`` draws. ``TRAINING_SPEED_STEPS``,
``TRAINING_SPEED_ROUNDS`` and ``TRAINING_SPEED_JSON`` change steps, rounds and the file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.training.stacked_forms import _examine, stacked_form
from pytest_fragility.training.trainer import train
from tests.benchmarks.training_speed import floors, jax_stacks, loops, scaling, stacks
from tests.benchmarks.training_speed.cases import CASES, Work, family_runs
from tests.benchmarks.training_speed.clock import Measured, Rounds
from tests.benchmarks.training_speed.cores import cores, threads_set
from tests.benchmarks.training_speed.overhead import Shares, shares
from tests.benchmarks.training_speed.results import Row, table, write_rows
from tests.benchmarks.training_speed.ways import (
    ARITHMETIC,
    ENGINE,
    JAX,
    JOBLIB,
    LOOP,
    MAPPED,
    PRODUCTS,
    Way,
)

ROUNDS = int(os.environ.get("TRAINING_SPEED_ROUNDS", "3"))
FAMILIES = (1, 8, 64, 128, 256, 512)
FAMILY_RUNS = 150

Say = Callable[[str], None]

every_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Prints, also where pytest keeps back what tests print."""

    def print_now(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return print_now


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """What was measured; written to a file behind the last test."""
    found: list[Row] = []
    yield found
    if found:
        write_rows(found)


@pytest.fixture(scope="module")
def warmed() -> None:
    """Every way has run once: libraries are set up, and workers are there."""
    for case in CASES.values():
        Rounds(Work(case, 2), ways()).take()
    # long enough for the trainer to start its workers, which stay
    with threads_set(cores()):
        stacks.engine(cores()).prepare(Work(CASES["mlp 64-64, batch 16"], 256)).call()


@every_case
@pytest.mark.parametrize("way", [LOOP, JOBLIB, MAPPED, ENGINE, JAX])
def test_ways_do_the_same_work(monkeypatch: pytest.MonkeyPatch, case: str, way: str) -> None:
    """After a few steps every way has the same networks."""
    if way == JAX:
        pytest.importorskip("jax", reason="jax is not installed: pip install -e '.[benchmark]'")
    monkeypatch.setenv("TRAINING_SPEED_STEPS", "20")
    work = Work(CASES[case], 2)
    expected = stacked_weights(loops.loop(threads=1).prepare(work).call())
    for chosen in (each for each in ways() if each.name == way):
        found = stacked_weights(chosen.prepare(work).call())
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@every_case
@pytest.mark.parametrize("networks", FAMILIES)
@pytest.mark.usefixtures("warmed")
def test_ways(benchmark: Any, say: Say, rows: list[Row], case: str, networks: int) -> None:
    """Every way for one family; what pytest-benchmark itself times is a round of all."""
    work = Work(CASES[case], networks)
    rounds = Rounds(work, ways())
    benchmark.group = case
    benchmark.pedantic(rounds.take, rounds=ROUNDS)
    found = [*_trained(case, work, rounds), *_floors(case, work, rounds)]
    benchmark.extra_info["architecture"] = case
    benchmark.extra_info["networks"] = networks
    benchmark.extra_info["seconds_per_network"] = {
        row.way: row.seconds_per_network for row in found
    }
    rows += found
    write_rows(rows)
    say("\n".join(table(found)))


@every_case
@pytest.mark.parametrize("networks", [64, 256])
def test_overhead(benchmark: Any, say: Say, case: str, networks: int) -> None:
    """The share of a training that is neither forward nor backward pass nor optimizer step."""
    _note_shares(benchmark, say, f"{case}, {networks} networks", CASES[case].runs(networks))


def test_overhead_of_the_default_family(benchmark: Any, say: Say) -> None:
    """The same of what an audit trains: all recipes and sizes, to their stopping rules."""
    runs = family_runs(FAMILY_RUNS)
    _note_shares(benchmark, say, f"default family, {len(runs)} networks", runs)


def test_trying_forms(benchmark: Any, say: Say) -> None:
    """What it takes to find the form of the default family's networks, of their training."""
    runs = family_runs(FAMILY_RUNS)
    first = runs[0]

    def find() -> None:
        _examine.cache_clear()
        stacked_form(first.recipe, first.task.data)

    find()
    began = time.perf_counter()
    find()
    finding = time.perf_counter() - began
    began = time.perf_counter()
    benchmark.group = "forms"
    benchmark.pedantic(lambda: list(train(runs, torch.device("cpu"))), rounds=1)
    training = time.perf_counter() - began
    benchmark.extra_info["share"] = finding / training
    say(
        f"forms of {len(runs)} networks: {1e3 * finding:.0f} ms, {finding / training:.2%} of their "
        f"training, {training:.1f} s"
    )


def _note_shares(benchmark: Any, say: Say, what: str, runs: list[Run]) -> None:
    found: list[Shares] = []
    benchmark.group = "overhead"
    benchmark.pedantic(lambda: found.append(shares(runs)), rounds=ROUNDS)
    median = sorted(found, key=lambda each: each.overhead)[len(found) // 2]
    benchmark.extra_info["shares"] = {**median._asdict(), "overhead": median.overhead}
    say(f"{what} in one process: {median}")


@pytest.mark.skipif(
    not (scaling.PROCESS / "status").exists(), reason="peak memory is read from /proc"
)
def test_scaling(benchmark: Any, say: Say) -> None:
    """Time and memory of twice as many runs, and twice again, none of them kept."""
    case, sizes = next(iter(CASES)), (256, 512, 1024)
    costs: list[scaling.Cost] = []
    benchmark.group = "scaling"
    benchmark.pedantic(
        lambda: costs.extend(scaling.cost_of(case, size) for size in sizes), rounds=1
    )
    for size, cost in zip(sizes, costs, strict=True):
        benchmark.extra_info[str(size)] = cost._asdict()
        say(
            f"{case}, {size} runs: {cost.seconds:.1f} s "
            f"({cost.seconds / costs[0].seconds:.2f} times the first), peak memory "
            f"{cost.megabytes:.0f} MB, of the largest worker {cost.worker_megabytes:.0f} MB"
        )


def stacked_weights(networks: Any) -> dict[str, torch.Tensor]:
    """Return trained weights by name, networks first, in whatever form they come."""
    if isinstance(networks, list):
        alone = [each.weights if isinstance(each, TrainedRun) else each for each in networks]
        return {name: torch.stack([each[name] for each in alone]) for name in alone[0]}
    return {
        name: each if isinstance(each, torch.Tensor) else torch.tensor(np.asarray(each))
        for name, each in networks.items()
    }


def ways() -> list[Way]:
    """Return all ways and floors that can be timed here."""
    return [
        *(loops.loop(threads) for threads in sorted({1, cores()})),
        loops.joblib_loop(cores()),
        *(stacks.mapped(threads) for threads in sorted({1, cores()})),
        stacks.engine(cores()),
        *([jax_stacks.jax_scan()] if jax_stacks.jax else []),
        *floors.batched_products(cores()),
    ]


def _trained(case: str, work: Work, rounds: Rounds) -> list[Row]:
    """Return a row for each way that trains: its fastest form, such as a number of threads."""
    forms: dict[str, list[Measured]] = {}
    for each in rounds.measured:
        if not _is_floor(each):
            forms.setdefault(each.way.name, []).append(each)
    return [_row(case, work, _fastest(each)) for each in forms.values()]


def _floors(case: str, work: Work, rounds: Rounds) -> list[Row]:
    seconds = floors.operations_per_network(work.case) / rounds.rate
    detail = f"{rounds.rate / 1e9:.0f} GFLOP/s"
    products = [each for each in rounds.measured if _is_floor(each)]
    return [
        Row(case, ARITHMETIC, work.networks, seconds, work.case.steps, detail=detail),
        _row(case, work, _fastest(products)),
    ]


def _is_floor(measured: Measured) -> bool:
    return measured.way.name == PRODUCTS


def _fastest(measured: list[Measured]) -> Measured:
    return min(measured, key=lambda each: each.seconds_per_network)


def _row(case: str, work: Work, measured: Measured) -> Row:
    timed = measured.timed
    return Row(
        case,
        measured.way.name,
        work.networks,
        measured.seconds_per_network,
        work.case.steps,
        timed.networks,
        timed.steps,
        measured.way.form,
        timed.compile_seconds,
    )
