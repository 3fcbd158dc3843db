"""A family as large as the largest published study on one device, beside a loop on the same device.

Run with ``pytest tests/benchmarks/test_device_speed.py`` where there is a CUDA device.
``DEVICE_SPEED_DEVICE=cpu`` tries it without one, ``DEVICE_SPEED_RUNS`` changes the family's size,
and ``DEVICE_SPEED_SECONDS`` how long measures are timed. Figures are printed, and written to
``.benchmarks/device_speed.json``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pytest_fragility.auditing.from_settings import train_family
from pytest_fragility.evaluation.asking import begin
from pytest_fragility.families.family import Family
from pytest_fragility.measures import Measure, reference_measures
from pytest_fragility.measures.measure import is_constant
from pytest_fragility.networks import build_network
from pytest_fragility.settings import resolve_settings
from pytest_fragility.tasks import digits
from pytest_fragility.training.trainer import find_trajectories, train
from tests.benchmarks.training_speed.cases import CASES, family_runs
from tests.benchmarks.training_speed.floors import product_shapes
from tests.benchmarks.training_speed.loops import train_one

DEVICE = torch.device(os.environ.get("DEVICE_SPEED_DEVICE", "cuda"))
RUNS = int(os.environ.get("DEVICE_SPEED_RUNS", "10000"))
SECONDS = float(os.environ.get("DEVICE_SPEED_SECONDS", "120"))
LOOP_STEPS = 300
SQUARE = 8192 if DEVICE.type == "cuda" else 1024
FILE = Path(".benchmarks/device_speed.json")

pytestmark = pytest.mark.skipif(
    DEVICE.type == "cuda" and not torch.cuda.is_available(), reason="there is no CUDA device"
)

Say = Callable[..., None]


@pytest.fixture(scope="module")
def figures() -> Iterator[dict[str, Any]]:
    """What was measured; written to a file behind the last test."""
    is_cuda = DEVICE.type == "cuda"
    name = torch.cuda.get_device_name(DEVICE) if is_cuda else "CPU"
    found: dict[str, Any] = {"device": name, "torch": torch.__version__}
    yield found
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(found, indent=1), encoding="utf-8")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], figures: dict[str, Any]) -> Say:
    """Notes figures, and prints them where pytest keeps back what tests print, too."""

    def note(**values: Any) -> None:
        figures.update(values)
        with capsys.disabled():
            print("\n" + ", ".join(f"{name} {_shown(value)}" for name, value in values.items()))

    return note


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long the device takes for some work."""
    _wait()
    begin = time.perf_counter()
    work()
    _wait()
    return time.perf_counter() - begin


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize(DEVICE)


def loop_seconds_per_step() -> float:
    """Return how long a step of one network takes in a loop over ``torch.optim``."""
    recipe, data = resolve_settings({}).recipe, digits(label_noise=0.2).data
    network = build_network(recipe.architecture, data.input_shape, data.classes).to(DEVICE)
    inputs = torch.from_numpy(data.train_inputs).to(DEVICE)
    labels = torch.from_numpy(data.train_labels).to(DEVICE)
    rows = torch.arange(LOOP_STEPS * recipe.batch_size).view(LOOP_STEPS, -1) % 256

    def loop(steps: int) -> None:
        train_one(network, recipe.optimizer, inputs, labels, rows[:steps].to(DEVICE))

    loop(20)
    return seconds_of(lambda: loop(LOOP_STEPS)) / LOOP_STEPS


def product_rate() -> float:
    """Return floating-point operations a second in a large product, float32."""
    left, right = (torch.randn(SQUARE, SQUARE, device=DEVICE) for _ in range(2))
    left @ right
    return 5 * 2 * SQUARE**3 / seconds_of(lambda: [left @ right for _ in range(5)])


def test_a_large_family(say: Say) -> None:
    """Seconds for all runs, the ratio to the loop, and the rate beside that of products."""
    list(train(family_runs(100)[:8], DEVICE))
    runs = family_runs(RUNS)
    taken: dict[int, int] = {}

    def work() -> None:
        for batch in train(runs, DEVICE):
            taken.update({id(one.run): one.record.steps for one in batch})

    seconds = seconds_of(work)
    steps, operations = sum(taken.values()), 0.0
    case = CASES["mlp 64-64, batch 16"]
    per_sample = sum(shape.operations for shape in product_shapes(case)) / case.recipe.batch_size
    # runs that differ in their stopping rule alone are one training
    for trajectory in find_trajectories(runs):
        longest = max(taken[id(run)] for run in trajectory.pending)
        batch_size = min(trajectory.first.recipe.batch_size, trajectory.first.n)
        operations += longest * batch_size * per_sample
    loop, rate = loop_seconds_per_step(), product_rate()
    say(
        runs=len(runs),
        steps=steps,
        seconds=seconds,
        loop_seconds_per_step=loop,
        ratio_to_loop=loop * steps / seconds,
        flops=operations / seconds,
        product_flops=rate,
    )


def measure_all(measure: Measure, name: str, family: Family) -> None:
    """Ask a measure about all networks, as an audit does."""
    recipes = ["baseline"] if is_constant(measure) else list(family.judged)
    found = begin(measure, name, family, recipes)
    for recipe in recipes:
        found(recipe)


def test_measures_beside_the_training(say: Say) -> None:
    """Seconds for every reference measure on the default family, and for its training."""
    settings = resolve_settings({"ladder": "none", "cache_dir": None, "device": DEVICE.type})
    families: list[Any] = []
    training = seconds_of(lambda: families.append(train_family(settings)))
    (family,) = families
    taken: dict[str, float] = {}
    for name, measure in reference_measures().items():
        if sum(taken.values()) > SECONDS:
            break
        taken[name] = seconds_of(partial(measure_all, measure, name, family))
    slowest = sorted(taken, key=lambda name: -taken[name])[:8]
    say(
        networks=len(family),
        training_seconds=training,
        measures=len(taken),
        measures_seconds=sum(taken.values()),
        slowest={name: round(taken[name], 2) for name in slowest},
    )
