"""All networks at once in jax: ``jax.vmap``, ``jit`` and ``lax.scan`` over the steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from tests.benchmarks.training_speed.cases import Work
from tests.benchmarks.training_speed.cores import cores
from tests.benchmarks.training_speed.ways import JAX, Timed, Way, steps_to_time

try:
    import jax
    from jax import lax
    from jax import numpy as jnp
except ImportError:
    jax = None

Layer = Callable[[Any, Any], Any]


def jax_scan() -> Way:
    """Return the way; `jax` has to be there."""

    def prepare(work: Work) -> Timed:
        steps = steps_to_time(work, work.networks)
        arguments = (
            {name: jnp.asarray(weight.numpy()) for name, weight in work.stacked_weights.items()},
            jnp.asarray(work.inputs.numpy()),
            jnp.asarray(work.labels.numpy()),
            jnp.asarray(work.rows[:, :steps].transpose(0, 1).numpy()),
        )
        begin = time.perf_counter()
        compiled = jax.jit(_training(work)).lower(*arguments).compile()
        compile_seconds = time.perf_counter() - begin
        return Timed(
            lambda: jax.block_until_ready(compiled(*arguments)),
            networks=work.networks,
            steps=steps,
            threads=cores(),
            compile_seconds=compile_seconds,
        )

    return Way(JAX, "", prepare)


def _training(work: Work) -> Callable[[Any, Any, Any, Any], Any]:
    """Return a function from initial weights, data and rows to the trained weights."""
    forward, settings = _forward(work.case.network()), work.optimizer

    def loss_of_one(weights: Any, inputs: Any, labels: Any) -> Any:
        logs = jax.nn.log_softmax(forward(weights, inputs))
        return -jnp.take_along_axis(logs, labels[:, None], axis=1).mean()

    gradients_of_all = jax.vmap(jax.grad(loss_of_one))

    def train(weights: Any, inputs: Any, labels: Any, rows: Any) -> Any:
        def step(state: Any, batch: Any) -> Any:
            weights, velocity = state
            update = gradients_of_all(weights, inputs[batch], labels[batch])
            if settings.momentum:
                velocity = jax.tree.map(lambda v, g: settings.momentum * v + g, velocity, update)
                update = velocity
            weights = jax.tree.map(lambda w, u: w - settings.lr * u, weights, update)
            return (weights, velocity), None

        velocity = jax.tree.map(jnp.zeros_like, weights) if settings.momentum else None
        return lax.scan(step, (weights, velocity), rows)[0][0]

    return train


def _forward(network: torch.nn.Sequential) -> Callable[[Any, Any], Any]:
    """Return the same layers in jax; weights keep their names and torch's shapes."""
    layers = [_layer(name, module) for name, module in network.named_children()]

    def forward(weights: Any, inputs: Any) -> Any:
        for layer in layers:
            inputs = layer(weights, inputs)
        return inputs

    return forward


def _layer(name: str, module: torch.nn.Module) -> Layer:
    if isinstance(module, torch.nn.Linear):
        return lambda weights, x: x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    if isinstance(module, torch.nn.Conv2d):
        assert (module.stride, module.padding) == ((1, 1), (1, 1))
        return lambda weights, x: (
            lax.conv_general_dilated(x, weights[f"{name}.weight"], (1, 1), ((1, 1), (1, 1)))
            + weights[f"{name}.bias"][:, None, None]
        )
    if isinstance(module, torch.nn.MaxPool2d):
        return _max_pool
    if isinstance(module, torch.nn.ReLU):
        return lambda _, x: jax.nn.relu(x)
    assert isinstance(module, torch.nn.Flatten)
    return lambda _, x: x.reshape(x.shape[0], -1)


def _max_pool(_: Any, x: Any) -> Any:
    """Return the largest of each 2 by 2: a maximum over axes, faster here than a window's."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, channels, height // 2, 2, width // 2, 2).max(axis=(3, 5))
