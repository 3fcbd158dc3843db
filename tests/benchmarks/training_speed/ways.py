"""A way to train, and what the clock needs to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.training_speed.cases import Work

# where every step costs the same, so many of a family are timed
NETWORKS_TIMES_STEPS = 64 * 100
MOST_STEPS, LEAST_STEPS = 200, 10

LOOP = "loop over torch.optim"
JOBLIB = "joblib, one process for each core"
MAPPED = "torch.func.vmap(grad)"
ENGINE = "pytest-fragility"
JAX = "jax.vmap, jit, lax.scan"
ARITHMETIC = "floor: arithmetic at the rate of large products"
PRODUCTS = "floor: the batched products alone"


@dataclass(frozen=True)
class Timed:
    """What is timed, prepared as far as it does not count.

    Parameters
    ----------
    call
        Trains; called once a round. Returns the trained networks in whatever form they have.
    networks, steps
        How many networks it trains for how many steps: fewer than asked where the cost of a step
        does not depend on either.
    threads
        Threads of each operation while it runs.
    compile_seconds
        What compiling took, which `call` does not do.
    """

    call: Callable[[], object]
    networks: int
    steps: int
    threads: int
    compile_seconds: float | None = None


@dataclass(frozen=True)
class Way:
    """A name, and what prepares the way for a family of networks.

    Where a way has several forms, the fastest stands for it.
    """

    name: str
    form: str
    prepare: Callable[[Work], Timed]


def steps_to_time(work: Work, networks: int) -> int:
    """Return how many steps of these networks are timed where every step costs the same."""
    enough = max(LEAST_STEPS, NETWORKS_TIMES_STEPS // networks)
    return min(work.case.steps, MOST_STEPS, enough)
