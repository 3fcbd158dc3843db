"""One network after the other: a loop over ``torch.optim``, and the same in processes."""

from __future__ import annotations

import copy
from functools import partial

import joblib
import torch
from torch.nn import functional

from pytest_fragility.recipes import SGD
from tests.benchmarks.training_speed.cases import Work
from tests.benchmarks.training_speed.ways import JOBLIB, LOOP, Timed, Way

# what a network costs depends neither on the family's size nor on how many steps it takes
LOOP_NETWORKS = 2
LOOP_STEPS = 200
# enough for what a parallel call costs by itself not to matter
JOBS_PER_PROCESS = 8

Weights = dict[str, torch.Tensor]


def train_one(
    network: torch.nn.Module,
    settings: SGD,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    rows: torch.Tensor,
) -> Weights:
    """Train one network on the batches in `rows`, shape (steps, batch); return its weights."""
    optimizer = torch.optim.SGD(network.parameters(), lr=settings.lr, momentum=settings.momentum)
    for batch in rows:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(inputs[batch]), labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: weight.detach() for name, weight in network.named_parameters()}


def loop(threads: int) -> Way:
    """Return the loop in this process, with so many threads for each operation."""

    def prepare(work: Work) -> Timed:
        count, steps = min(work.networks, LOOP_NETWORKS), min(work.case.steps, LOOP_STEPS)
        networks = _networks(work, count)

        def call() -> list[Weights]:
            return [
                train_one(copy.deepcopy(network), work.optimizer, work.inputs, work.labels, rows)
                for network, rows in zip(networks, work.rows[:, :steps], strict=False)
            ]

        return Timed(call, networks=count, steps=steps, threads=threads)

    return Way(LOOP, f"threads: {threads}", prepare)


def joblib_loop(processes: int) -> Way:
    """Return the loop in worker processes, which the first round, not timed, has started."""

    def prepare(work: Work) -> Timed:
        count = min(work.networks, JOBS_PER_PROCESS * processes)
        steps = min(work.case.steps, LOOP_STEPS)
        parallel = joblib.Parallel(n_jobs=processes)
        jobs = [
            joblib.delayed(_train_in_worker)(
                network, work.optimizer, work.inputs, work.labels, rows.clone()
            )
            for network, rows in zip(_networks(work, count), work.rows[:count, :steps], strict=True)
        ]
        return Timed(partial(parallel, jobs), networks=count, steps=steps, threads=1)

    return Way(JOBLIB, f"processes: {processes}", prepare)


def _train_in_worker(
    network: torch.nn.Module,
    settings: SGD,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    rows: torch.Tensor,
) -> Weights:
    torch.set_num_threads(1)
    return train_one(network, settings, inputs, labels, rows)


def _networks(work: Work, count: int) -> list[torch.nn.Sequential]:
    networks = []
    for weights in work.weights[:count]:
        networks.append(work.case.network())
        networks[-1].load_state_dict(weights)
    return networks
