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

from typing import TYPE_CHECKING

from pytest_fragility.measures.pac_bayes.bounds import (
    NOISE,
    NOISE_AND_INITIAL,
    gaussian_bound,
    magnitude_bound,
)
from pytest_fragility.measures.stacked import reference

if TYPE_CHECKING:
    import torch

    from pytest_fragility.networks.stacks import NetworkStack


PUBLISHED = "published code of Dziugaite et al. 2020"


@reference(source=f"Jiang et al. 2020, eq. 49; {PUBLISHED}", reads=NOISE)
def pac_bayes_origin_as_published(stack: NetworkStack) -> torch.Tensor:
    """Return `pac_bayes_origin` as published code computes it.

    Jiang et al. 2020, eq. 49, but with noise of standard deviation sigma^2 (the variance handed
    over as a standard deviation), sigma in (0, 2], and ||w||^2 over weight matrices alone. Raw
    value.

    Reads trained weights, inputs, labels and randomness. Batch normalization is folded first;
    biases get noise, but do not count in the norm; convolutions count with all their entries.

    Raises
    ------
    UndefinedMeasureError
        For normalization that cannot be folded, or that needs a bias where there is none.
    """
    from pytest_fragility.measures.pac_bayes.noise_search_as_published import published_sigma

    return gaussian_bound(_squared(_weights(stack)), published_sigma(stack), stack.n)


@reference(source=f"Jiang et al. 2020, eq. 48; {PUBLISHED}", reads=NOISE_AND_INITIAL)
def pac_bayes_initialization_as_published(stack: NetworkStack) -> torch.Tensor:
    """Return `pac_bayes_initialization` as published code computes it.

    Jiang et al. 2020, eq. 48, with the deviations of `pac_bayes_origin_as_published`. Raw value.

    Reads trained and initial weights, inputs, labels and randomness; biases, normalization and
    convolutions as in `pac_bayes_origin_as_published`.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_origin_as_published`.
    """
    from pytest_fragility.measures.pac_bayes.noise_search_as_published import published_sigma

    return gaussian_bound(_squared(_weight_changes(stack)), published_sigma(stack), stack.n)


@reference(source=f"Jiang et al. 2020, eq. 53; {PUBLISHED}", reads=NOISE)
def pac_bayes_flatness_as_published(stack: NetworkStack) -> torch.Tensor:
    """Return `pac_bayes_flatness` as published code computes it.

    Jiang et al. 2020, eq. 53, with the search of `pac_bayes_origin_as_published`: the root of the
    noise's standard deviation stands for sigma. Raw value.

    Reads trained weights, inputs, labels and randomness; biases, normalization and convolutions as
    in `pac_bayes_origin_as_published`.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_origin_as_published`.
    """
    from pytest_fragility.measures.pac_bayes.noise_search_as_published import published_sigma

    return published_sigma(stack) ** -2


@reference(source=f"Jiang et al. 2020, eq. 57; {PUBLISHED}", reads=NOISE_AND_INITIAL)
def pac_bayes_magnitude_origin_as_published(stack: NetworkStack) -> torch.Tensor:
    """Return `pac_bayes_magnitude_origin` as published code computes it.

    Jiang et al. 2020, eq. 57, but with noise of standard deviation s^2 |w|^2 + e^2, s in (0, 2],
    and sums over weight matrices alone. Raw value.

    Reads trained and initial weights, inputs, labels and randomness; biases, normalization and
    convolutions as in `pac_bayes_origin_as_published`.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_origin_as_published`.
    """
    return _magnitude_bound(stack, _weights(stack))


@reference(source=f"Jiang et al. 2020, eq. 56; {PUBLISHED}", reads=NOISE_AND_INITIAL)
def pac_bayes_magnitude_initialization_as_published(stack: NetworkStack) -> torch.Tensor:
    """Return `pac_bayes_magnitude_initialization` as published code computes it.

    Jiang et al. 2020, eq. 56, with the deviations of `pac_bayes_magnitude_origin_as_published`.
    Raw value.

    Reads trained and initial weights, inputs, labels and randomness; biases, normalization and
    convolutions as in `pac_bayes_origin_as_published`.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_origin_as_published`.
    """
    return _magnitude_bound(stack, _weight_changes(stack))


@reference(source=f"Jiang et al. 2020, eq. 61; {PUBLISHED}", reads=NOISE)
def pac_bayes_magnitude_flatness_as_published(stack: NetworkStack) -> torch.Tensor:
    """Return `pac_bayes_magnitude_flatness` as published code computes it.

    Jiang et al. 2020, eq. 61, with the search of `pac_bayes_magnitude_origin_as_published`. Raw
    value.

    Reads trained weights, inputs, labels and randomness; biases, normalization and convolutions as
    in `pac_bayes_origin_as_published`.

    Raises
    ------
    UndefinedMeasureError
        As `pac_bayes_origin_as_published`.
    """
    from pytest_fragility.measures.pac_bayes.noise_search_as_published import published_sigma

    return published_sigma(stack, magnitude_aware=True) ** -2


def _magnitude_bound(stack: NetworkStack, references: torch.Tensor) -> torch.Tensor:
    from pytest_fragility.measures.pac_bayes.noise_search_as_published import published_sigma

    scale = published_sigma(stack, magnitude_aware=True)
    return magnitude_bound(_squared(references), _weight_changes(stack), scale, stack.n)


def _weights(stack: NetworkStack, *, initial: bool = False) -> torch.Tensor:
    """Return the entries of all folded weight matrices as rows, shape (K, entries)."""
    import torch

    from pytest_fragility.measures.common.folding import weight_matrices

    matrices = weight_matrices(stack, initial=initial)
    return torch.cat([matrix.flatten(1) for matrix in matrices], dim=1)


def _weight_changes(stack: NetworkStack) -> torch.Tensor:
    return _weights(stack) - _weights(stack, initial=True)


def _squared(rows: torch.Tensor) -> torch.Tensor:
    return rows.square().sum(dim=1)
