"""All networks at once in torch: ``vmap(grad(...))`` written straight, and this trainer."""

from __future__ import annotations

import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.training.trainer import train
from tests.benchmarks.training_speed.cases import Work
from tests.benchmarks.training_speed.ways import ENGINE, MAPPED, Timed, Way, steps_to_time

Tensors = dict[str, torch.Tensor]


def mapped(threads: int) -> Way:
    """Return ``torch.func.vmap(grad(...))`` over stacked parameters."""

    def prepare(work: Work) -> Timed:
        steps = steps_to_time(work, work.networks)
        return Timed(
            lambda: _train_mapped(work, steps),
            networks=work.networks,
            steps=steps,
            threads=threads,
        )

    return Way(MAPPED, f"threads: {threads}", prepare)


def _train_mapped(work: Work, steps: int) -> Tensors:
    network, settings = work.case.network(), work.optimizer

    def loss_of_one(weights: Tensors, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(functional_call(network, weights, (inputs,)), labels)

    gradients_of_all = vmap(grad(loss_of_one))
    weights = work.stacked_weights
    velocity = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for step in range(steps):
        rows = work.rows[:, step]
        update = gradients_of_all(weights, work.inputs[rows], work.labels[rows])
        if settings.momentum:
            velocity = {name: settings.momentum * velocity[name] + update[name] for name in update}
            update = velocity
        weights = {name: weights[name] - settings.lr * update[name] for name in update}
    return weights


def engine(threads: int) -> Way:
    """Return this trainer: from runs to trained runs, preparation and evaluation included."""

    def prepare(work: Work) -> Timed:
        def call() -> list[TrainedRun]:
            runs = train(work.case.runs(work.networks), torch.device("cpu"))
            return [run for finished in runs for run in finished]

        return Timed(call, networks=work.networks, steps=work.case.steps, threads=threads)

    return Way(ENGINE, "", prepare)
