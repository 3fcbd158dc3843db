"""Measures that read the trained weights: norms, and distances from initialization."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from pytest_fragility.trained_networks import TrainedNetwork


def path_norm(network: TrainedNetwork) -> float:
    """Return the path norm: the root of the sum over paths of the product of squared weights.

    Raw value, without the bound's 1/sqrt(n); see `over_sqrt_n`. Computed as in Jiang et al. 2020,
    eq. 44: every parameter squared, one forward pass with an all-ones input, logits summed. Biases
    are paths that start at their layer. In float64.

    Parameters
    ----------
    network
        Linear layers, ReLU and flattening; reads the trained weights alone.

    Returns
    -------
    float
        Dimensionless, positive.
    """
    import torch

    squared = {
        name: parameter.detach().double().square()
        for name, parameter in network.model.named_parameters()
    }
    ones = torch.ones_like(network.inputs[:1], dtype=torch.float64)
    logits = torch.func.functional_call(network.model, squared, (ones,))
    return float(logits.sum().sqrt())


def product_of_frobenius_norms(network: TrainedNetwork) -> float:
    """Return the product over layers of the weight matrices' Frobenius norms.

    Raw value. The root of what Jiang et al. 2020, eq. 37, takes the logarithm of. Biases are left
    out. In float64.

    Parameters
    ----------
    network
        Reads the trained weights alone.
    """
    import torch

    norms = [weight.double().norm() for weight in _weight_matrices(network.model)]
    return float(torch.stack(norms).prod())


def distance_from_initialization(network: TrainedNetwork) -> float:
    """Return the Euclidean distance between trained and initial weight matrices.

    Raw value. The root of Jiang et al. 2020, eq. 40: squared Frobenius distances summed over
    layers. Biases are left out. In float64.

    Parameters
    ----------
    network
        Reads the trained and the initial weights.
    """
    import torch

    pairs = zip(
        _weight_matrices(network.model), _weight_matrices(network.initial_model), strict=True
    )
    squares = [(trained.double() - initial.double()).square().sum() for trained, initial in pairs]
    return float(torch.stack(squares).sum().sqrt())


def _weight_matrices(model: torch.nn.Module) -> list[torch.Tensor]:
    """Return the weights of all layers, first to last, without biases."""
    return [parameter.detach() for parameter in model.parameters() if parameter.dim() > 1]
