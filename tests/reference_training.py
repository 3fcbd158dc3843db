"""The plain way to train one run: a loop over ``torch.optim``, with nothing of the batched trainer.

The subset, the initial weights, the order of samples and the steps at which stopping rules are
looked at are inputs of an experiment and are shared with the trainer; what is done with them is
written here a second time, from torch's own parts.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch.nn import functional

from pytest_fragility.networks import build_network, initial_weights
from pytest_fragility.recipes import SGD, Adam, AdamW, Optimizer, RMSprop
from pytest_fragility.runs import Run
from pytest_fragility.training.sampling import SampleOrder, training_subset
from pytest_fragility.training.stopping import next_check

TORCH_OPTIMIZERS: dict[type, Any] = {
    SGD: torch.optim.SGD,
    Adam: torch.optim.Adam,
    AdamW: torch.optim.AdamW,
    RMSprop: torch.optim.RMSprop,
}


def torch_optimizer(optimizer: Optimizer, parameters: Any) -> torch.optim.Optimizer:
    """Return torch's own optimizer with the same hyperparameters."""
    hyperparameters = dataclasses.asdict(optimizer)
    # torch has no SGD with decoupled weight decay
    assert not hyperparameters.pop("decoupled", False)
    made: torch.optim.Optimizer = TORCH_OPTIMIZERS[type(optimizer)](parameters, **hyperparameters)
    return made


def train_alone(
    run: Run, *, steps: int | None = None, dtype: torch.dtype = torch.float32
) -> tuple[torch.nn.Module, int]:
    """Train one run; return its network and the steps taken.

    With `steps`, exactly so many are taken; without, the run's own stopping rule decides.
    """
    data = run.task.data
    network = build_network(run.recipe.architecture, data.input_shape, data.classes)
    network.load_state_dict(initial_weights(network, run.recipe, run.seed))
    network.to(dtype)
    subset = training_subset(data, run.n, run.seed)
    inputs = torch.from_numpy(data.train_inputs[subset]).to(dtype)
    labels = torch.from_numpy(data.train_labels[subset])
    order = SampleOrder(run.n, run.seed)
    batch_size = min(run.recipe.batch_size, run.n)
    optimizer = torch_optimizer(run.recipe.optimizer, network.parameters())
    step = 0
    while True:
        limit = steps if steps is not None else run.recipe.stopping.step_limit
        until = min(next_check(step), limit)
        positions = torch.from_numpy(order.take(step * batch_size, (until - step) * batch_size))
        recent_loss = 0.0
        for batch in positions.view(-1, batch_size):
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(inputs[batch]), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            recent_loss += loss.item()
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
