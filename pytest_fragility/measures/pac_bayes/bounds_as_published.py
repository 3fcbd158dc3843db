"""PAC-Bayes measures as published code computes them, which is not what their formulas say.

Three public implementations (of Dziugaite et al. 2020, "In search of robust measures of
generalization", and those derived from it) share one noise search that differs from the formulas:

- The noise's standard deviation is sigma^2, and that of the magnitude-aware noise sigma^2 |w|^2 +
  e^2: variances handed over as standard deviations. The bound then uses sigma.
- Noise is added to all parameters, but ||w||^2 is summed over weight matrices without biases.
- Bisection is linear over (0, 2], 15 halvings at most, with 10 new draws at each, and ends once
  the drop is within 0.01 of 0.1; a search that saturates at 2 says nothing.
- The drop is taken without its sign.

The variants here do just that, for comparison with published numbers. Batch normalization is
folded first; its own parameters, then one and zero, get noise too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pytest_fragility.measures.pac_bayes.bounds import (
    gaussian_bound,
    magnitude_bound,
    pac_bayes_flatness,
    pac_bayes_initialization,
    pac_bayes_magnitude_flatness,
    pac_bayes_magnitude_initialization,
    pac_bayes_magnitude_origin,
    pac_bayes_origin,
)
from pytest_fragility.measures.stacked import INITIAL_WEIGHTS, StackMeasure, declared

if TYPE_CHECKING:
    import torch

    from pytest_fragility.networks.stacks import NetworkStack


def _sigma(stack: NetworkStack, *, magnitude_aware: bool = False) -> torch.Tensor:
    from pytest_fragility.measures.pac_bayes.noise_search_as_published import published_sigma

    return published_sigma(stack, magnitude_aware=magnitude_aware)


def _weights(stack: NetworkStack, *, initial: bool = False) -> torch.Tensor:
    """Return the entries of all folded weight matrices as rows, shape (K, entries)."""
    import torch

    from pytest_fragility.measures.common.folding import weight_matrices

    matrices = weight_matrices(stack, initial=initial)
    return torch.cat([matrix.flatten(1) for matrix in matrices], dim=1)


def _changes(stack: NetworkStack) -> torch.Tensor:
    return _weights(stack) - _weights(stack, initial=True)


def _squared(rows: torch.Tensor) -> torch.Tensor:
    return rows.square().sum(dim=1)


def _magnitude_bound(stack: NetworkStack, references: torch.Tensor) -> torch.Tensor:
    scale = _sigma(stack, magnitude_aware=True)
    return magnitude_bound(_squared(references), _changes(stack), scale, stack.n)


def _as_published(
    measure: StackMeasure,
    compute: Callable[[NetworkStack], torch.Tensor],
    remark: str,
    reads: str = "; biases, normalization and convolutions as in `pac_bayes_origin_as_published`.",
    raises: str = "As `pac_bayes_origin_as_published`.",
) -> StackMeasure:
    """Declare what published code computes in the place of a measure."""
    weights = "trained and initial" if INITIAL_WEIGHTS in measure.reads else "trained"
    return declared(
        f"{measure.__name__}_as_published",
        compute,
        f"Return `{measure.__name__}` as published code computes it.",
        f"{measure.source}, {remark} Raw value.",
        f"Reads {weights} weights, inputs, labels and randomness{reads}",
        raises=raises,
        source=f"{measure.source}; published code of Dziugaite et al. 2020",
        reads=measure.reads,
    )


pac_bayes_origin_as_published = _as_published(
    pac_bayes_origin,
    lambda stack: gaussian_bound(_squared(_weights(stack)), _sigma(stack), stack.n),
    "but with noise of standard deviation sigma^2 (the variance handed over as a standard "
    "deviation), sigma in (0, 2], and ||w||^2 over weight matrices alone.",
    ". Batch normalization is folded first; biases get noise, but do not count in the norm; "
    "convolutions count with all their entries.",
    "For normalization that cannot be folded, or that needs a bias where there is none.",
)
pac_bayes_initialization_as_published = _as_published(
    pac_bayes_initialization,
    lambda stack: gaussian_bound(_squared(_changes(stack)), _sigma(stack), stack.n),
    "with the deviations of `pac_bayes_origin_as_published`.",
)
pac_bayes_flatness_as_published = _as_published(
    pac_bayes_flatness,
    lambda stack: _sigma(stack) ** -2,
    "with the search of `pac_bayes_origin_as_published`: the root of the noise's standard "
    "deviation stands for sigma.",
)
pac_bayes_magnitude_origin_as_published = _as_published(
    pac_bayes_magnitude_origin,
    lambda stack: _magnitude_bound(stack, _weights(stack)),
    "but with noise of standard deviation s^2 |w|^2 + e^2, s in (0, 2], and sums over weight "
    "matrices alone.",
)
pac_bayes_magnitude_initialization_as_published = _as_published(
    pac_bayes_magnitude_initialization,
    lambda stack: _magnitude_bound(stack, _changes(stack)),
    "with the deviations of `pac_bayes_magnitude_origin_as_published`.",
)
pac_bayes_magnitude_flatness_as_published = _as_published(
    pac_bayes_magnitude_flatness,
    lambda stack: _sigma(stack, magnitude_aware=True) ** -2,
    "with the search of `pac_bayes_magnitude_origin_as_published`.",
)
