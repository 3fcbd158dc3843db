"""How well a measure's values agree with test error over a family: rank correlations, sign errors.

Beside the verdicts, in the field's own terms. Kendall's tau over all networks mixes every cause of
agreement. The granulated tau (Jiang et al. 2020, "Fantastic generalization measures and where to
find them", section 3) compares only networks that differ in one thing; the sign errors (Dziugaite
et al. 2020, "In search of robust measures of generalization") ask, for every two trainings that
differ in one thing, how often the measure orders their networks against test error, and look at the
worst such environment as well as at the mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pytest_fragility.curves.intervals import Floats


LEAST_CERTAINTY = 0.5
LEAST_COMPARISONS = 12


@dataclass(frozen=True)
class SignErrors:
    """How often a measure orders networks against test error; a coin is wrong half of the time.

    Parameters
    ----------
    mean, median, ninetieth, largest
        Over environments, of the sign error: in [0, 1].
    worst
        The environment with the largest one, in words.
    environments
        How many there are in which test errors differ by more than the test set's chance.
    """

    mean: float
    median: float
    ninetieth: float
    largest: float
    worst: str
    environments: int


@dataclass(frozen=True)
class Agreement:
    """How well a measure agrees with test error over the networks of a family.

    Parameters
    ----------
    tau
        Kendall's tau-b over all networks; None where either is the same on all of them.
    granulated
        By what networks differ in, ``n`` and ``recipe``: the mean of Kendall's taus over networks
        that differ in this alone; None where there is but one value of it.
    granulated_mean
        The mean over these: the granulated tau; None where there is none.
    sign_errors
        Over environments; None where test errors differ in none of them.
    networks
        How many were compared.
    """

    tau: float | None
    granulated: dict[str, float | None]
    granulated_mean: float | None
    sign_errors: SignErrors | None
    networks: int

    @classmethod
    def from_values(
        cls,
        values: Floats,
        errors: Floats,
        *,
        recipes: Sequence[str],
        sizes: Sequence[int],
        test_size: int,
    ) -> Agreement:
        """Return how well values agree with test errors.

        Parameters
        ----------
        values, errors
            The measure's and test error's, shape (recipes, sizes, seeds).
        recipes, sizes
            Names of the recipes, and the training set sizes.
        test_size
            Test samples.
        """
        granulated = {
            "n": granulated_tau(values, errors, axis=1),
            "recipe": granulated_tau(values, errors, axis=0),
        }
        known = [tau for tau in granulated.values() if tau is not None]
        found = {
            name: sign_error(values[one], values[other], errors[one], errors[other], test_size)
            for name, one, other in _environments(recipes, sizes)
        }
        return cls(
            tau=_kendall(values.ravel(), errors.ravel()),
            granulated=granulated,
            granulated_mean=float(np.mean(known)) if known else None,
            sign_errors=_summary({name: rate for name, rate in found.items() if rate is not None}),
            networks=values.size,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the agreement as plain JSON types."""
        return asdict(self)


def taus_by_seed(values: Floats, errors: Floats) -> Floats:
    """Return Kendall's tau-b over the networks of each seed, shape (seeds,).

    It is 0 where the values are all the same, and NaN where the test errors are.

    Parameters
    ----------
    values, errors
        The measure's and test error's, shape (recipes, sizes, seeds).
    """
    taus = []
    for own, wanted in zip(*(np.moveaxis(each, -1, 0) for each in (values, errors)), strict=True):
        tau = _kendall(own.ravel(), wanted.ravel())
        taus.append(float("nan") if np.ptp(wanted) == 0 else tau or 0.0)
    return np.array(taus)


def granulated_tau(values: Floats, errors: Floats, *, axis: int) -> float | None:
    """Return the mean of Kendall's taus over networks that differ along one axis alone.

    A pair with equal values, or equal test errors, counts as no agreement. None where there is but
    one value along the axis.
    """
    first, second = np.triu_indices(values.shape[axis], k=1)
    if not len(first):
        return None
    ordered, wanted = (
        np.sign(np.take(each, second, axis=axis) - np.take(each, first, axis=axis))
        for each in (values, errors)
    )
    return float(np.mean(ordered * wanted))


def sign_error(
    values: Floats, other_values: Floats, errors: Floats, other_errors: Floats, test_size: int
) -> float | None:
    """Return how often two trainings' networks are ordered against their test errors.

    Each network of the one is compared with each of the other. Comparisons are weighted with how
    certain it is, by Hoeffding's inequality, that the two test errors differ at all, in excess of
    one half; equal values are half an error. Weights and the least number of comparisons are those
    of Dziugaite et al. 2020; with few seeds, half of the comparisons are enough.

    Parameters
    ----------
    values, other_values, errors, other_errors
        Of the two trainings' networks, shape (seeds,) each.
    test_size
        Test samples.

    Returns
    -------
    float or None
        In [0, 1]; None where too few comparisons have weight.
    """
    wanted = np.subtract.outer(errors, other_errors)
    ordered = np.subtract.outer(values, other_values)
    doubt = 2 * np.exp(-test_size * wanted**2 / 2)
    weights = np.maximum(0.0, np.maximum(0.0, 1 - doubt) ** 2 - LEAST_CERTAINTY)
    if _effective(weights) < min(LEAST_COMPARISONS, weights.size / 2):
        return None
    return float(np.average((1 - np.sign(ordered) * np.sign(wanted)) / 2, weights=weights))


def _effective(weights: Floats) -> float:
    """Return to how many comparisons of equal weight these amount."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0


def _kendall(values: Floats, errors: Floats) -> float | None:
    if np.ptp(values) == 0 or np.ptp(errors) == 0:
        return None
    # half a second to import, which runs without this check are spared
    from scipy.stats import kendalltau

    return float(kendalltau(values, errors).statistic)


_RecipeAndSize = tuple[int, int]


def _environments(
    recipes: Sequence[str], sizes: Sequence[int]
) -> Iterator[tuple[str, _RecipeAndSize, _RecipeAndSize]]:
    """Return pairs of places, recipe and n, that differ in one of the two; their names first."""
    for (i, one), (k, other) in combinations(enumerate(recipes), 2):
        for place, n in enumerate(sizes):
            yield f"{one} or {other} at n={n}", (i, place), (k, place)
    for (i, one_n), (k, other_n) in combinations(enumerate(sizes), 2):
        for place, recipe in enumerate(recipes):
            yield f"n={one_n} or {other_n} under {recipe}", (place, i), (place, k)


def _summary(found: dict[str, float]) -> SignErrors | None:
    if not found:
        return None
    rates = np.array(list(found.values()))
    median, ninetieth = np.quantile(rates, (0.5, 0.9))
    worst = max(found, key=lambda name: found[name])
    return SignErrors(
        mean=float(rates.mean()),
        median=float(median),
        ninetieth=float(ninetieth),
        largest=found[worst],
        worst=worst,
        environments=len(found),
    )
