"""Seconds per network of the reference measures: over stacks, against the way of published code.

Run with ``pytest tests/benchmarks/test_measure_speed.py -s``. Both evaluate the same lists on the
default family, in one run: the measures that the published zoos have, and all that need no Hessian.
The published way is slow, so that it is timed on one or two networks of each size. Tests are held
to one thread; where ``OMP_NUM_THREADS``, ``MKL_NUM_THREADS`` and ``OPENBLAS_NUM_THREADS`` allow
more, workers train and measure beside this process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_fragility.auditing.from_settings import train_family
from pytest_fragility.evaluation.asking import begin
from pytest_fragility.families.family import Family
from pytest_fragility.measures import is_constant, log_evidence, reference_measures, relu_kernel
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.settings import resolve_settings
from pytest_fragility.tasks import digits
from tests.benchmarks.published_evidence import EVIDENCE_MEASURES, evidence_values
from tests.benchmarks.published_surface import SURFACE_MEASURES, surface_values
from tests.benchmarks.published_way import published_values

CACHE = Path(".fragility_cache")
SECONDS: dict[str, float] = {}


@pytest.fixture(scope="module")
def family() -> Family:
    """The default family, trained where no earlier run has left it."""
    return train_family(resolve_settings({"cache_dir": CACHE}))


def test_training(benchmark: Any, family: Family) -> None:
    """What the networks took that are measured here, none of them read from the store."""
    benchmark.group = "training"
    settings = resolve_settings({"cache_dir": None, "ladder": "none"})
    benchmark.pedantic(lambda: train_family(settings), rounds=1, warmup_rounds=0)
    seconds = benchmark.stats.stats.median / len(family)
    print(f"\ntraining {len(family)} networks: {1000 * seconds:.0f} ms per network")


def fresh(family: Family) -> Family:
    """Return the family with nothing worked out yet."""
    trained = {
        (name, n, seed): family.trained_run(name, n, seed) for name, n, seed in places(family)
    }
    return Family(family.plan, trained, family.device)


def places(family: Family) -> list[tuple[str, int, int]]:
    """Return every run's recipe, size and seed."""
    return list(family.plan.runs)


def names_without_hessian() -> list[str]:
    """Return every reference measure that needs no second derivatives."""
    return [name for name in reference_measures() if not name.startswith("hessian")]


def published_names() -> list[str]:
    """Return the measures that the published zoos have."""
    others = set(SURFACE_MEASURES) | set(EVIDENCE_MEASURES)
    return [name for name in names_without_hessian() if name not in others]


NAMES = {"published zoo": published_names, "no Hessian": names_without_hessian}
VALUES_OF = {
    "published zoo": (published_values,),
    "no Hessian": (published_values, surface_values, evidence_values),
}


@pytest.mark.parametrize("measures", NAMES)
def test_one_network_at_a_time(benchmark: Any, family: Family, measures: str) -> None:
    """The published way, for two networks of each size; one where that takes minutes."""
    benchmark.group = measures
    recipes = list(family.recipes)
    each = range(2 if measures == "published zoo" else 1)
    chosen = [
        family[family.task.name, recipes[(2 * place + more) % len(recipes)], n, family.seeds[0]]
        for place, n in enumerate(family.sizes)
        for more in each
    ]
    found: list[dict[str, float]] = []

    def work() -> None:
        found[:] = [
            {name: value for values in VALUES_OF[measures] for name, value in values(one).items()}
            for one in chosen
        ]

    benchmark.pedantic(work, rounds=1, warmup_rounds=0)
    SECONDS[measures] = benchmark.stats.stats.median / len(chosen)
    assert set(found[0]) == set(NAMES[measures]())
    for network, values in zip(chosen, found, strict=True):
        require_same_values(network, values)
    print(f"\n{measures}, one network at a time: {1000 * SECONDS[measures]:.0f} ms per network")


def require_same_values(network: TrainedNetwork, values: dict[str, float]) -> None:
    """Compare what both ways found, but for the noise searches, whose draws differ.

    Sharpness is a maximum that both ways come near to, each by steps of its own: ours come as near
    at least.
    """
    measures = reference_measures()
    for name, value in values.items():
        ours = measures[name](network)
        if name.endswith("sharpness"):
            assert (1 - 2e-3) * value <= ours <= 1.1 * value, name
        elif not name.startswith("pac_bayes"):
            assert ours == pytest.approx(value, rel=2e-3), name


def test_all_measures_over_stacks(benchmark: Any, family: Family) -> None:
    """What an audit of every reference measure takes, to be compared with the training."""
    benchmark.group = "training"
    names = list(reference_measures())
    seconds = time_measures(benchmark, family, names, rounds=1)
    print(f"\nall {len(names)} measures, over stacks: {1000 * seconds:.1f} ms per network")


@pytest.mark.parametrize("measures", NAMES)
def test_measures_over_stacks(benchmark: Any, family: Family, measures: str) -> None:
    """The same list over all networks of the family."""
    benchmark.group = measures
    names = NAMES[measures]()
    seconds = time_measures(
        benchmark, family, names, rounds=3 if measures == "published zoo" else 1
    )
    print(f"\n{measures}, over stacks: {1000 * seconds:.1f} ms per network")
    if measures in SECONDS:
        ratio = SECONDS[measures] / seconds
        benchmark.extra_info["times_faster"] = ratio
        print(f"{ratio:.0f} times faster per network ({len(names)} measures)")


@pytest.mark.parametrize(
    "name",
    [
        "path_norm_bound",
        "gradient_norm",
        "fisher_rao_norm",
        "worst_case_sharpness",
        "adaptive_sharpness",
        "negative_log_evidence",
        "hessian_largest_eigenvalue",
        "hessian_trace",
    ],
)
def test_other_measures_over_stacks(benchmark: Any, family: Family, name: str) -> None:
    """What published code does not have, each by itself."""
    benchmark.group = "other measures"
    seconds = time_measures(benchmark, family, [name], rounds=1)
    print(f"\n{name}: {1000 * seconds:.1f} ms per network")


@pytest.mark.parametrize("n", [1024, 2048])
def test_evidence(benchmark: Any, n: int) -> None:
    """Kernel and log evidence of n digits with 20 % random labels, binary."""
    benchmark.group = "evidence"
    data = digits(label_noise=0.2).data
    inputs = np.concatenate([data.train_inputs, data.test_inputs])
    if n > len(inputs):
        # digits has 1,797 samples; noise makes the others distinct
        more = inputs[: n - len(inputs)] + np.random.default_rng(0).normal(
            0, 0.1, (n - len(inputs), 64)
        )
        inputs = np.concatenate([inputs, more])
    labels = np.concatenate([data.train_labels, data.test_labels, data.train_labels])[:n]

    def work() -> None:
        kernel = relu_kernel(inputs[:n], hidden_layers=2, weight_variance=2.0, bias_variance=0.0)
        log_evidence(kernel, np.where(labels < 5, -1, 1))

    benchmark.pedantic(work, rounds=3, warmup_rounds=1)
    print(f"\nevidence at n = {n}: {benchmark.stats.stats.median:.2f} s")


def time_measures(benchmark: Any, family: Family, names: list[str], *, rounds: int) -> float:
    """Return the median seconds per network."""
    measures = reference_measures()

    def work() -> None:
        untouched = fresh(family)
        for name in names:
            # as audits ask: about data alone once, with the workers' help where there are some
            measure = measures[name]
            recipes = [BASELINE] if is_constant(measure) else list(untouched.recipes)
            values_of = begin(measure, name, untouched, recipes)
            for recipe in recipes:
                values_of(recipe)

    benchmark.pedantic(work, rounds=rounds, warmup_rounds=0)
    seconds: float = benchmark.stats.stats.median / len(family)
    benchmark.extra_info["seconds_per_network"] = seconds
    return seconds
