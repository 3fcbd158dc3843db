"""The covariance of a network's outputs over random initializations: the prior over functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.func import functional_call

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.networks.tracing import relu_chain
from pytest_fragility.networks.weight_layers import find_weight_layers

CLOSED_FORM = "closed form"
MONTE_CARLO = "Monte Carlo"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Kernel:
    """Covariance of one output between samples, over random initializations.

    Parameters
    ----------
    matrix
        Shape (n, n), float64.
    method
        ``"closed form"`` or ``"Monte Carlo"``.
    rank
        Numerical rank of the matrix (`numpy.linalg.matrix_rank`).
    relative_error
        Monte Carlo standard error of the matrix over its norm, both Frobenius; 0 in closed form.
    networks
        Number of random networks; 0 in closed form.
    """

    matrix: Floats
    method: str
    relative_error: float
    networks: int

    @property
    def rank(self) -> int:
        """Numerical rank of the matrix."""
        return int(np.linalg.matrix_rank(self.matrix, hermitian=True))


def relu_kernel(
    inputs: npt.ArrayLike, *, hidden_layers: int, weight_variance: float, bias_variance: float
) -> Floats:
    """Return the kernel of a wide ReLU perceptron, shape (n, n), float64.

    The NNGP recursion (Lee et al. 2018; Cho and Saul 2009, arc-cosine kernel of order 1). With
    ``K0 = b + s x x' / d``, each hidden layer maps
    ``K -> b + s / (2 pi) (sqrt(Kii Kjj - Kij^2) + (pi - t) Kij)``, where
    ``t = atan2(sqrt(Kii Kjj - Kij^2), Kij)`` is the angle: no quotient that rounding could carry
    beyond [-1, 1].

    Parameters
    ----------
    inputs
        Shape (n, d).
    hidden_layers
        Number of hidden layers; 0 gives the linear kernel.
    weight_variance
        s: fan-in times the variance of a weight; 2 for He initialization.
    bias_variance
        b: variance of a bias.
    """
    samples = np.asarray(inputs, dtype=np.float64)
    kernel: Floats = bias_variance + weight_variance * (samples @ samples.T) / samples.shape[1]
    for _ in range(hidden_layers):
        variances = np.diag(kernel).copy()
        products = np.multiply.outer(variances, variances)
        root = np.sqrt(np.maximum(products - kernel * kernel, 0.0))
        angle = np.arctan2(root, kernel)
        kernel = bias_variance + weight_variance / (2 * math.pi) * (
            root + (math.pi - angle) * kernel
        )
        np.fill_diagonal(kernel, bias_variance + weight_variance * variances / 2)
    return kernel


def hidden_layers_of(structure: nn.Module) -> int | None:
    """Return the number of hidden layers of a ReLU perceptron; None for anything else."""
    layers = relu_chain(structure)
    return None if layers is None else len(layers) - 1


def perceptron_kernel(
    inputs: torch.Tensor,
    *,
    hidden_layers: int,
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
) -> Kernel:
    """Return the kernel of a wide ReLU perceptron for inputs of any shape; see `relu_kernel`."""
    matrix = relu_kernel(
        inputs.flatten(1).cpu().numpy(),
        hidden_layers=hidden_layers,
        weight_variance=weight_variance,
        bias_variance=bias_variance,
    )
    return Kernel(matrix, CLOSED_FORM, 0.0, 0)


def network_kernel(
    structure: nn.Module,
    inputs: torch.Tensor,
    *,
    generator: torch.Generator,
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
    networks: int | None = None,
) -> Kernel:
    """Return the kernel of a network's architecture.

    In closed form for a ReLU perceptron, in the limit of infinite width; by Monte Carlo over
    random initializations at the width that it has for any other.

    Parameters
    ----------
    structure
        Gives the layers; its weights mean nothing.
    inputs
        Shape (n, *input shape).
    generator
        Randomness for Monte Carlo.
    weight_variance, bias_variance
        Of the prior: weights from N(0, weight_variance / fan_in), biases from
        N(0, bias_variance).
    networks
        Number of random networks for Monte Carlo; by default enough for a rank of at least 4 n.

    Raises
    ------
    UndefinedMeasureError
        If the network is no perceptron and has parameters other than those of linear layers,
        convolutions and batch normalization, or does not end in a linear layer.
    """
    hidden = hidden_layers_of(structure)
    if hidden is not None:
        return perceptron_kernel(
            inputs,
            hidden_layers=hidden,
            weight_variance=weight_variance,
            bias_variance=bias_variance,
        )
    return monte_carlo_kernel(
        structure,
        inputs,
        generator=generator,
        weight_variance=weight_variance,
        bias_variance=bias_variance,
        networks=networks,
    )


def monte_carlo_kernel(
    structure: nn.Module,
    inputs: torch.Tensor,
    *,
    generator: torch.Generator,
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
    networks: int | None = None,
) -> Kernel:
    """Return the kernel by Monte Carlo over random initializations, as `network_kernel` may.

    With features phi in front of the last linear layer, of width h, each random network gives
    ``b + s phi phi^T / h``, the exact mean over the last layer's weights. Normalization layers keep
    scale one, shift zero and their initial statistics.

    Parameters
    ----------
    structure
        The network; its weights do not matter.
    inputs
        Shape (n, *input shape).
    generator
        Draws the random weights.
    weight_variance, bias_variance
        Of the prior: weights from N(0, weight_variance / fan_in), biases from
        N(0, bias_variance).
    networks
        Number of random networks; by default enough for a rank of at least 4 n.

    Raises
    ------
    UndefinedMeasureError
        If the network has parameters other than those of linear layers, convolutions and batch
        normalization, or does not end in a linear layer.
    """
    last = _last_linear(structure, inputs[:1].float())
    networks = networks or max(16, math.ceil(4 * len(inputs) / last.in_features))
    total = np.zeros((len(inputs), len(inputs)))
    squares = np.zeros_like(total)
    for features in _random_features(
        structure, last, inputs, generator, networks, weight_variance, bias_variance
    ):
        one = bias_variance + weight_variance * (features @ features.T) / features.shape[1]
        total += one
        squares += one * one
    mean = total / networks
    variance = np.maximum(squares / networks - mean * mean, 0.0) / max(networks - 1, 1)
    error = math.sqrt(float(variance.sum())) / float(np.linalg.norm(mean))
    return Kernel(mean, MONTE_CARLO, error, networks)


def _last_linear(structure: nn.Module, sample: torch.Tensor) -> nn.Linear:
    """Return the linear layer whose output is the network's, wherever it is registered."""
    linear = [layer.module for layer in find_weight_layers(structure)]
    caught: dict[nn.Module, torch.Tensor] = {}
    handles = [
        module.register_forward_hook(lambda own, _, output: caught.update({own: output}))
        for module in linear
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.no_grad():
            state = {name: tensor.float() for name, tensor in structure.named_parameters()}
            outputs = functional_call(structure, state, (sample,))
    finally:
        for handle in handles:
            handle.remove()
    for module, own in caught.items():
        if isinstance(module, nn.Linear) and (own is outputs or torch.equal(own, outputs)):
            return module
    raise UndefinedMeasureError(
        f"the prior over functions needs a network that ends in a linear layer, and no linear "
        f"layer's output is that of this {type(structure).__name__}"
    )


def _random_features(
    structure: nn.Module,
    last: nn.Linear,
    inputs: torch.Tensor,
    generator: torch.Generator,
    networks: int,
    weight_variance: float,
    bias_variance: float,
) -> Iterator[Floats]:
    """Yield the inputs of the last linear layer of random networks, shape (n, h) each."""
    owners = {layer.name for layer in find_weight_layers(structure)}
    caught: list[torch.Tensor] = []
    handle = last.register_forward_hook(lambda _, args, output: caught.extend((args[0], output)))
    try:
        for _ in range(networks):
            state = _random_state(structure, owners, generator, weight_variance, bias_variance)
            caught.clear()
            with torch.no_grad():
                outputs = functional_call(structure, state, (inputs.float(),))
            features, own = caught
            if own is not outputs and not torch.equal(own, outputs):
                raise UndefinedMeasureError(
                    "the prior over functions needs a network that ends in a linear layer; this "
                    "one changes that layer's output"
                )
            yield features.flatten(1).double().cpu().numpy()
    finally:
        handle.remove()


def _random_state(
    structure: nn.Module,
    owners: set[str],
    generator: torch.Generator,
    weight_variance: float,
    bias_variance: float,
) -> dict[str, torch.Tensor]:
    """Draw the parameters of weight layers; normalization is as before training."""
    state = {}
    for name, parameter in structure.named_parameters():
        owner, _, kind = name.rpartition(".")
        if owner not in owners:
            state[name] = torch.full_like(parameter, 1.0 if kind == "weight" else 0.0)
            continue
        draw = torch.randn(parameter.shape, generator=generator, device=generator.device)
        if parameter.dim() > 1:
            scale = math.sqrt(weight_variance / math.prod(parameter.shape[1:]))
        else:
            scale = math.sqrt(bias_variance)
        state[name] = (draw * scale).to(parameter)
    for name, buffer in structure.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            state[name] = torch.full_like(buffer, 1.0 if name.endswith("var") else 0.0)
    return state
