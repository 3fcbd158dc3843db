"""Measures that sum over all paths through a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.measures.measure import BOUND
from pytest_fragility.measures.stacked import INPUTS, LABELS, TRAINED_WEIGHTS, reference

if TYPE_CHECKING:
    import torch

    from pytest_fragility.networks.stacks import NetworkStack


# the margins 1 / slope over which the published bound is minimized
RAMP_SLOPES = tuple(0.1 + 0.01 * step for step in range(90))
BOUND_FAILURE = 0.01


@reference(
    source="Jiang et al. 2020, eq. 44",
    reads=(TRAINED_WEIGHTS,),
    is_logarithm=True,
)
def path_norm(stack: NetworkStack) -> torch.Tensor:
    """Return the squared path norm: the sum over all paths of the product of squared weights.

    ``sum over outputs of f_{w^2}(1)``: every weight squared, one forward pass with an input of
    ones (Jiang et al. 2020, eq. 44; Neyshabur, Tomioka and Srebro 2015, for p = 2). Raw value;
    the bound's form is its root over the root of n.

    Reads the trained weights. Dimensionless. Worked out in float64 in the log domain, so that
    depth does not overflow it. Biases are paths that start at their layer. Batch normalization
    that directly follows a weight layer is folded into it. Convolutions, residual connections and
    pooling are followed path by path: an average over k is a layer with weights 1/k (published
    code leaves that 1/k unsquared), a maximum counts all its inputs (Gonon et al. 2024).

    Raises
    ------
    UndefinedMeasureError
        For layers that no sum over paths describes (layer or group normalization, attention,
        activations other than ReLU), normalization that cannot be folded, and modules that
        torch.fx cannot trace.
    """
    from pytest_fragility.measures.norms.path_sums import log_path_sums

    return log_path_sums(stack, 2).logsumexp(dim=1)


@reference(
    source="Jiang et al. 2020, eq. 43",
    reads=(TRAINED_WEIGHTS, INPUTS, LABELS),
    is_logarithm=True,
)
def path_norm_over_margin(stack: NetworkStack) -> torch.Tensor:
    """Return the squared path norm over the squared margin, ``path_norm / gamma^2``.

    Jiang et al. 2020, eq. 43; gamma is the 10th percentile of the training margins (logit of the
    label minus the largest other). Raw value.

    Reads trained weights, inputs and labels. Dimensionless. Biases, normalization and convolutions
    as in `path_norm`.

    Raises
    ------
    UndefinedMeasureError
        As `path_norm`; below ten samples; where the margin is not positive.
    """
    from pytest_fragility.measures.common.outputs import log_margin
    from pytest_fragility.measures.norms.path_sums import log_path_sums

    return log_path_sums(stack, 2).logsumexp(dim=1) - 2 * log_margin(stack)


@reference(
    source="Dziugaite and Roy 2017, theorem D.1; Neyshabur et al. 2015",
    reads=(TRAINED_WEIGHTS, INPUTS, LABELS),
    form=BOUND,
)
def path_norm_bound(stack: NetworkStack) -> torch.Tensor:
    """Return the margin-based bound on the error by the l1 path norm.

    ``min over slopes L of [mean ramp loss_L + c L R + sqrt(ln(2 m / delta) / (2 n))]`` with the
    ramp loss ``clip(1 - L margin, 0, 1)``, the Rademacher complexity
    ``R = 2^d psi x sqrt(ln(2 D) / n)`` (Neyshabur, Tomioka and Srebro 2015), d the number
    of weight layers, psi the l1 path norm (sum over paths of the absolute product of
    weights), x the largest absolute input, D the number of inputs plus one for biases, delta 0.01,
    and m = 90 slopes L = 0.10, 0.11, ..., 0.99 paid for by a union bound. A bound on the error
    itself; far above one for any network in practice.

    Two classes: psi is that of the difference of the two logits and c = 2 (Dziugaite and Roy 2017,
    theorem D.1). K classes: psi is the largest over classes and c = 4 K (Mohri et al. 2018,
    theorem 9.2).

    Reads trained weights, inputs and labels. Biases are paths from a constant input of one. No
    normalization layers and no convolutions: the theorem is about fully connected networks.

    Raises
    ------
    UndefinedMeasureError
        For anything but linear layers, ReLU and flattening.
    """
    import torch

    from pytest_fragility.measures.common.outputs import relu_chain_of, train_margins

    layers = relu_chain_of(stack)
    if layers is None:
        raise UndefinedMeasureError(
            "path_norm_bound is a theorem about fully connected networks: linear layers with a "
            f"ReLU between each two, and nothing else; this {type(stack.structure).__name__} has "
            "other operations"
        )
    log_norm, factor = _log_l1_norm_of_scores(stack, layers[-1])
    inputs = stack.inputs.double().flatten(1)
    largest = inputs.abs().amax(dim=1).clamp_min(1)
    dimension = inputs.shape[1] // stack.n + 1
    complexity = (
        (log_norm + len(layers) * math.log(2)).exp()
        * largest
        * math.sqrt(math.log(2 * dimension) / stack.n)
    )
    slopes = torch.tensor(RAMP_SLOPES, dtype=torch.float64, device=stack.device)
    ramp = (1 - slopes[:, None, None] * train_margins(stack)).clamp(0, 1).mean(dim=2)
    penalty = math.sqrt(math.log(2 * len(slopes) / BOUND_FAILURE) / (2 * stack.n))
    bounds: torch.Tensor = ramp + factor * slopes[:, None] * complexity + penalty
    return bounds.amin(dim=0)


def _log_l1_norm_of_scores(stack: NetworkStack, last: str) -> tuple[torch.Tensor, int]:
    """Return log psi, shape (K,), and the factor on L R that the number of classes brings."""
    from pytest_fragility.measures.norms.path_sums import log_path_sums

    sums = log_path_sums(stack, 1)
    classes = sums.shape[1]
    if classes != 2:
        return sums.amax(dim=1), 4 * classes
    return log_path_sums(_as_difference(stack, last), 1)[:, 0], 2


def _as_difference(stack: NetworkStack, last: str) -> NetworkStack:
    """Return the stack with each of its two outputs replaced by the second minus the first."""
    from pytest_fragility.measures.common.parameter_vectors import layer_keys
    from pytest_fragility.networks.trained_network import replaced

    weights = dict(stack.weights)
    for key in layer_keys([last])[0]:
        if key in weights:
            logits = weights[key].double()
            difference = logits[:, 1:2] - logits[:, :1]
            weights[key] = difference.expand_as(logits).contiguous()
    return replaced(stack, weights=weights, _results={})
