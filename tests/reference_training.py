"""The plain way to train one run: a loop over ``torch.optim``, with nothing of the batched trainer.

The subset, the initial weights, the order of samples, the random numbers of a forward pass and the
steps at which stopping rules are looked at are inputs of an experiment and are shared with the
trainer; what is done with them is
written here a second time, from torch's own parts. Overtime is left out: whoever needs it says how
many steps to take.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR

from pytest_fragility._util.seeds import derive_seed
from pytest_fragility.networks import InitialStates, build_network
from pytest_fragility.networks.runs import Run, TrainedRun
from pytest_fragility.recipes import SGD, Adam, AdamW, Optimizer, Recipe, RMSprop, Schedule
from pytest_fragility.tasks.sampling import SampleOrder, training_subset
from pytest_fragility.training.one_by_one import seeded
from pytest_fragility.training.stacked_forms import OneAtATimeWarning
from pytest_fragility.training.trainer import train
from pytest_fragility.training.trajectories import next_check

CPU = torch.device("cpu")
TOLERANCES = {"float32": (1e-4, 1e-5), "float64": (1e-10, 1e-10)}
TORCH_OPTIMIZERS: dict[type, Any] = {
    SGD: torch.optim.SGD,
    Adam: torch.optim.Adam,
    AdamW: torch.optim.AdamW,
    RMSprop: torch.optim.RMSprop,
}


class DecoupledSGD(torch.optim.SGD):
    """SGD that shrinks the weights first, which torch does not have.

    Weight decay stays out of the gradient and its momentum (Loshchilov & Hutter 2019, algorithm 1).
    """

    def __init__(self, parameters: Any, *, weight_decay: float, **hyperparameters: Any) -> None:
        super().__init__(parameters, **hyperparameters)
        self._decay = weight_decay

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Shrink, then take a plain step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= group["lr"] * self._decay * parameter  # noqa: PLW2901
        loss: float | None = super().step(closure)
        return loss


def torch_optimizer(optimizer: Optimizer, parameters: Any) -> torch.optim.Optimizer:
    """Return torch's own optimizer with the same hyperparameters."""
    hyperparameters = dataclasses.asdict(optimizer)
    kind = TORCH_OPTIMIZERS[type(optimizer)]
    if hyperparameters.pop("decoupled", False):
        kind = DecoupledSGD
    made: torch.optim.Optimizer = kind(parameters, **hyperparameters)
    return made


def rate_factor(schedule: Schedule, step: int) -> float:
    """Return by what the rate is multiplied at a step from zero, in other words than the trainer's.

    The cosine by its half angle, the decay by steps as a product, the exponential by its logarithm.
    """
    warming = min(1.0, (step + 1) / schedule.warmup) if schedule.warmup else 1.0
    if schedule.kind == "constant":
        return warming
    if schedule.kind == "cosine":
        if step >= schedule.steps:
            return warming * schedule.factor
        left = math.cos(math.pi * step / (2 * schedule.steps)) ** 2
        return warming * (left + schedule.factor * (1 - left))
    if schedule.kind == "step":
        return warming * math.prod([schedule.factor] * (step // schedule.steps))
    assert schedule.kind == "exponential"
    return warming * math.exp(step * math.log(schedule.factor) / schedule.steps)


def torch_scheduler(schedule: Schedule, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """Return torch's scheduler that sets the optimizer's rates."""
    return LambdaLR(optimizer, lambda step: rate_factor(schedule, step))


def initial_weights(network: torch.nn.Module, recipe: Recipe, seed: int) -> dict[str, torch.Tensor]:
    """Return where a run with a built-in architecture starts."""
    return InitialStates(network).draw(recipe, seed).weights


def train_alone(run: Run, *, steps: int | None = None) -> tuple[torch.nn.Module, int]:
    """Train one run; return its network and the steps taken.

    With `steps`, exactly so many are taken; without, the run's own stopping rule decides.
    """
    data, recipe = run.task.data, run.recipe
    dtype = {"float32": torch.float32, "float64": torch.float64}[recipe.precision]
    network = build_network(recipe.architecture, data.input_shape, data.classes).to(dtype)
    states = InitialStates(network, input_shape=data.input_shape, classes=data.classes)
    states.draw(recipe, run.seed).load_into(network)
    subset = training_subset(data, run.n, run.seed)
    inputs = torch.from_numpy(data.train_inputs[subset]).to(dtype)
    labels = torch.from_numpy(data.train_labels[subset])
    order = SampleOrder(run.n, run.seed, recipe.sample_order)
    batch_size = min(recipe.batch_size, run.n)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch_optimizer(recipe.optimizer, trained)
    scheduler = torch_scheduler(recipe.schedule, optimizer)
    dropout_seed = torch.tensor(derive_seed("dropout", run.n, run.seed))
    step = taken = 0
    while True:
        limit = steps if steps is not None else recipe.stopping.step_limit
        until = min(next_check(step), limit)
        positions = torch.from_numpy(order.take(step * batch_size, (until - step) * batch_size))
        recent_loss = 0.0
        for batch in positions.view(-1, batch_size):
            optimizer.zero_grad()
            with seeded(dropout_seed, torch.tensor(taken)):
                logits, target = network(inputs[batch]), labels[batch]
            taken += 1
            loss = functional.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.gradient_clipping is not None:
                clip_grad_norm_(trained, recipe.gradient_clipping)
            optimizer.step()
            scheduler.step()
            recent_loss += functional.cross_entropy(logits.detach(), target).item()
        recent_loss /= until - step
        step = until
        if step >= limit or (steps is None and _stops(run, network, inputs, labels, recent_loss)):
            return network, step


def _stops(
    run: Run,
    network: torch.nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    recent_loss: float,
) -> bool:
    rule = run.recipe.stopping
    if rule.kind == "steps" or (rule.kind == "cross_entropy" and recent_loss > 2 * rule.target):
        return False
    with torch.no_grad():
        logits = network(inputs)
        if rule.kind == "accuracy":
            return bool((logits.argmax(dim=1) == labels).all())
        return bool(functional.cross_entropy(logits, labels) < rule.target)


def train_all(runs: Sequence[Run], device: torch.device = CPU) -> list[TrainedRun]:
    """Return the trained runs in the order of `runs`, each of which must come out once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OneAtATimeWarning)
        trained = [one for batch in train(runs, device) for one in batch]
    found = {one.run: one for one in trained}
    assert len(trained) == len(runs) == len(found)
    return [found[run] for run in runs]


def assert_like_alone(trained: TrainedRun) -> torch.nn.Module:
    """Compare a run with the plain loop: steps exactly, tensors to their precision's rounding.

    Return the loop's network.
    """
    network, steps = train_alone(trained.run)
    assert trained.record.steps == steps, str(trained.run)
    found = {**trained.state.weights, **trained.state.buffers}
    held = (*network.named_parameters(), *network.named_buffers())
    rtol, atol = TOLERANCES[trained.run.recipe.precision]
    torch.testing.assert_close(
        found,
        {name: tensor.detach() for name, tensor in held},
        rtol=rtol,
        atol=atol,
        msg=lambda text: f"{trained.run}: {text}",
    )
    return network


def assert_same(one: TrainedRun, other: TrainedRun) -> None:
    """Compare two results bit by bit; the text of a record tells NaN from numbers."""
    assert repr(one.record) == repr(other.record), str(one.run)
    for ours, theirs in ((one.state, other.state), (one.initial_state, other.initial_state)):
        for part in ("weights", "buffers"):
            torch.testing.assert_close(
                getattr(ours, part), getattr(theirs, part), rtol=0, atol=0, equal_nan=True
            )
    assert torch.equal(one.mistaken, other.mistaken)
