"""Trained networks made from any modules and samples, for tests of measures."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.recipes import Recipe


def sample_network(
    model: nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    *,
    initial_model: nn.Module | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
) -> TrainedNetwork:
    """Return these as a measure sees them; the initial model is a copy by default."""
    model = model.eval()
    with torch.no_grad():
        logits = model(inputs)
        wrong = logits.argmax(dim=1) != labels
        loss = nn.functional.cross_entropy(logits, labels)
    return TrainedNetwork(
        model=model,
        initial_model=copy.deepcopy(model) if initial_model is None else initial_model.eval(),
        inputs=inputs,
        labels=labels,
        recipe=recipe or Recipe(),
        recipe_name="baseline",
        task_name="samples",
        n=len(labels),
        seed=seed,
        steps=1,
        train_loss=float(loss),
        train_error=float(wrong.double().mean()),
        rng=torch.Generator().manual_seed(1234 + seed),
    )


def perceptron(widths: list[int], *, bias: bool = True) -> nn.Sequential:
    """Return a ReLU perceptron behind a flattening, with layers of these widths."""
    layers: list[nn.Module] = [nn.Flatten()]
    for place in range(len(widths) - 1):
        layers += [nn.Linear(widths[place], widths[place + 1], bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def randomize(model: nn.Module, seed: int, *, scale: float = 1.0) -> nn.Module:
    """Fill parameters with random normals and running statistics with random positives."""
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            values = scale * generator.normal(size=tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(values))
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.from_numpy(generator.uniform(0.5, 2, size=tuple(buffer.shape))))
            elif name.endswith("running_mean"):
                buffer.copy_(torch.from_numpy(generator.normal(size=tuple(buffer.shape))))
    return model


def labelled_by(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return the labels that a network gives itself, so that every margin is positive."""
    with torch.no_grad():
        return model.eval()(inputs).argmax(dim=1)


def samples(n: int, shape: tuple[int, ...], classes: int, seed: int) -> list[torch.Tensor]:
    """Return normal inputs and random labels."""
    generator = np.random.default_rng(seed)
    inputs = torch.from_numpy(generator.normal(size=(n, *shape))).float()
    return [inputs, torch.from_numpy(generator.integers(classes, size=n))]


def with_samples(
    model: nn.Module, n: int, shape: tuple[int, ...], seed: int, *, double: bool = False
) -> TrainedNetwork:
    """Return a model with random weights, and random samples of as many classes as it has."""
    model = randomize(model, seed)
    classes = len([*model.parameters()][-1])
    inputs, labels = samples(n, shape, classes, seed)
    if double:
        model, inputs = model.double(), inputs.double()
    return sample_network(model, inputs, labels, seed=seed)


def normalized(seed: int = 0, *, double: bool = False) -> TrainedNetwork:
    """Return a perceptron with batch normalization in eval mode."""
    layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)]
    return with_samples(nn.Sequential(*layers), 8, (3,), seed, double=double)


def convolutional(seed: int = 0, *, double: bool = False) -> TrainedNetwork:
    """Return a convolutional network with normalization and both kinds of pooling."""
    first = [nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(2, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*first, *second, nn.Linear(2, 3))
    return with_samples(model, 6, (1, 5, 5), seed, double=double)
