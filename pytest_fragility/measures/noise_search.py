"""The largest noise on the weights that a network tolerates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from pytest_fragility.errors import SettingsError, UndefinedMeasureError
from pytest_fragility.measures.accuracies import Accuracies, accuracies_of
from pytest_fragility.measures.parts import in_parts
from pytest_fragility.measures.vectors import parameter_vectors, split_vectors
from pytest_fragility.network_stacks import NetworkStack

if TYPE_CHECKING:
    from pytest_fragility.trained_networks import TrainedNetwork

ACCURACY_DROP = 0.1
DRAWS = 10
SMALLEST, LARGEST = 2.0**-30, 2.0**15
FIRST_GUESS = {False: 2.0**-4, True: 2.0**-2}
FIRST_STEP = 1.5
SLOPE_REACH = 1.2
BRACKET = 1.02
CLOSING = 1.0199
BISECT_EVERY = 4
MAGNITUDE_EPSILON = 1e-3

Drops = Callable[[float], torch.Tensor]


@dataclass(frozen=True)
class NoiseSearch:
    """What a search for the tolerated noise found.

    Parameters
    ----------
    sigma
        Standard deviation of the noise under which train accuracy falls by `accuracy_drop`, on
        average over the draws: the geometric middle of `low` and `high`. Where the search
        saturated, the end of its range.
    low, high
        Noise that costs less, and noise that costs more; ``high / low`` is at most 1.02.
    accuracy_drop
        The target.
    drop, drop_error
        Mean fall of train accuracy at the bracket's nearer end, and its standard error over the
        draws.
    relative_error
        Monte Carlo standard error of sigma over sigma: that of the drop over its slope in log
        sigma, as seen around the bracket; infinite where it is flat.
    draws
        Number of noise vectors; the same ones at every sigma (common random numbers).
    saturated
        ``"low"`` where the least noise in the range costs more than the target, ``"high"`` where
        the largest costs less, else None.
    """

    sigma: float
    low: float
    high: float
    accuracy_drop: float
    drop: float
    drop_error: float
    relative_error: float
    draws: int
    saturated: str | None = None


def sigma_search(
    network: TrainedNetwork,
    *,
    magnitude_aware: bool = False,
    accuracy_drop: float = ACCURACY_DROP,
    draws: int = DRAWS,
) -> NoiseSearch:
    """Search for the noise on all parameters that costs a network 0.1 of its train accuracy.

    Noise u ~ N(0, sigma^2) is added to every trained parameter (Jiang et al. 2020, above eq. 48),
    or u_i ~ N(0, sigma^2 w_i^2 + epsilon^2) with epsilon = 0.001 (above eq. 56). Bracketed in
    log sigma over [2^-30, 2^15] with common random numbers, in float32.

    Parameters
    ----------
    network
        A trained network.
    magnitude_aware
        Whether the noise scales with each parameter.
    accuracy_drop
        How much of the network's own train accuracy the noise costs.
    draws
        Number of noise vectors.

    Returns
    -------
    NoiseSearch
        Sigma with its bracket and Monte Carlo error.

    Raises
    ------
    SettingsError
        If there are no draws, or the drop is not between 0 and 1.
    """
    if draws < 1 or not 0 < accuracy_drop < 1:
        raise SettingsError(
            f"sigma_search: draws={draws}, accuracy_drop={accuracy_drop}: expected at least one "
            "draw and a drop between 0 and 1"
        )
    stack = NetworkStack.of_network(network)
    (search,) = _searches(stack, magnitude_aware, accuracy_drop, draws)
    with torch.no_grad():
        return search.described(search.run(FIRST_GUESS[magnitude_aware]))


def tolerated_noise(stack: NetworkStack, *, magnitude_aware: bool = False) -> torch.Tensor:
    """Return sigma of each network, shape (K,), float64; see `sigma_search`.

    Raises
    ------
    UndefinedMeasureError
        If the search saturates: no noise costs 0.1 of the accuracy, or the least already does.
    """
    return stack.once(
        ("tolerated noise", magnitude_aware), lambda: _tolerated_noise(stack, magnitude_aware)
    )


def _tolerated_noise(stack: NetworkStack, magnitude_aware: bool) -> torch.Tensor:
    sigmas = in_parts(stack, lambda part: _tolerated_sigmas(part, magnitude_aware))
    return torch.tensor(sigmas, dtype=torch.float64, device=stack.device)


def _tolerated_sigmas(stack: NetworkStack, magnitude_aware: bool) -> list[float]:
    sigmas = []
    searches = _searches(stack, magnitude_aware, ACCURACY_DROP, DRAWS)
    for place, search in enumerate(searches):
        with torch.no_grad():
            bracket = search.run(FIRST_GUESS[magnitude_aware])
        if bracket.saturated:
            cost = "less" if bracket.saturated == "high" else "more"
            drop = float(search.seen[bracket.low].mean())
            raise UndefinedMeasureError(
                f"noise of sigma = {bracket.sigma:g}, the end of the search range, costs {cost} "
                f"than {ACCURACY_DROP} of train accuracy ({drop:.3f}), so "
                "that no sigma costs just that; is the train accuracy near chance?",
                place,
            )
        sigmas.append(bracket.sigma)
    return sigmas


def _searches(
    stack: NetworkStack, magnitude_aware: bool, accuracy_drop: float, draws: int
) -> Iterator[_Bracketing]:
    """Yield the search of each network; their noise is each their own."""
    for place, accuracies in enumerate(accuracies_of(stack)):
        with torch.no_grad():
            drops = _noisy_drops(stack, place, accuracies, magnitude_aware, draws)
        yield _Bracketing(drops, accuracy_drop, draws)


def _noisy_drops(
    stack: NetworkStack, place: int, accuracies: Accuracies, magnitude_aware: bool, draws: int
) -> Drops:
    """Return a function from sigma to the fall of train accuracy under each draw, shape (S,)."""
    row = parameter_vectors(stack)[place : place + 1].float()
    generator = stack.generator(place, "magnitude-aware noise" if magnitude_aware else "noise")
    noise_rows = torch.randn(draws, row.shape[1], generator=generator, device=stack.device)
    weights, noise = split_vectors(stack, row), split_vectors(stack, noise_rows)
    own = accuracies.of(weights)

    def drops(sigma: float) -> torch.Tensor:
        return own - accuracies.along(weights, noise, sigma)

    def magnitude_aware_drops(sigma: float) -> torch.Tensor:
        scale = (sigma**2 * row.square() + MAGNITUDE_EPSILON**2).sqrt()
        return own - accuracies.of(split_vectors(stack, torch.addcmul(row, noise_rows, scale)))

    return magnitude_aware_drops if magnitude_aware else drops


@dataclass(frozen=True)
class _Bracket:
    """Noise that costs less, and noise that costs more; the same where the search saturated."""

    low: float
    high: float
    saturated: str | None = None

    @property
    def sigma(self) -> float:
        return math.sqrt(self.low * self.high)


@dataclass
class _Bracketing:
    """Bracketing in log sigma; it remembers the drops wherever it looked."""

    drops: Drops
    target: float
    draws: int
    seen: dict[float, torch.Tensor] = field(default_factory=dict)

    def run(self, sigma: float) -> _Bracket:
        """Return the bracket, sought from a first guess with growing steps."""
        low = high = sigma
        step = FIRST_STEP
        while self._mean_drop(high) < self.target:
            if high >= LARGEST:
                return _Bracket(high, high, "high")
            low, high, step = high, min(step * high, LARGEST), step * FIRST_STEP
        while self._mean_drop(low) >= self.target:
            if low <= SMALLEST:
                return _Bracket(low, low, "low")
            low, high, step = max(low / step, SMALLEST), low, step * FIRST_STEP
        guesses = 0
        while high / low > BRACKET:
            guesses += 1
            is_bisection = guesses % BISECT_EVERY == 0
            sigma = math.sqrt(low * high) if is_bisection else self._interpolated(low, high)
            if self._mean_drop(sigma) < self.target:
                low = sigma
            else:
                high = sigma
        return _Bracket(low, high)

    def _interpolated(self, low: float, high: float) -> float:
        """Return where a straight line from low to high meets the target.

        The line is drawn for the root of the drop over log sigma, which bends least. No nearer to
        an end than the width sought, so that a good guess has the next one close the bracket.
        """
        below, target, above = (
            math.sqrt(max(drop, 0.0))
            for drop in (self._mean_drop(low), self.target, self._mean_drop(high))
        )
        sigma: float = low * (high / low) ** ((target - below) / (above - below))
        nearest, farthest = CLOSING * low, high / CLOSING
        return min(max(sigma, nearest), farthest) if nearest < farthest else math.sqrt(low * high)

    def described(self, bracket: _Bracket) -> NoiseSearch:
        """Return what was found, with its Monte Carlo error."""
        ends = (bracket.low, bracket.high)
        nearer = min(ends, key=lambda end: abs(self._mean_drop(end) - self.target))
        drops = self.seen[nearer]
        # of one draw, there is no telling how far off it is
        drop_error = float(drops.std()) / math.sqrt(self.draws) if self.draws > 1 else math.inf
        slope = self._slope(bracket)
        return NoiseSearch(
            sigma=bracket.sigma,
            low=bracket.low,
            high=bracket.high,
            accuracy_drop=self.target,
            drop=self._mean_drop(nearer),
            drop_error=drop_error,
            relative_error=drop_error / slope if slope > 0 else math.inf,
            draws=self.draws,
            saturated=bracket.saturated,
        )

    def _mean_drop(self, sigma: float) -> float:
        if sigma not in self.seen:
            self.seen[sigma] = self.drops(sigma)
        return float(self.seen[sigma].mean())

    def _slope(self, bracket: _Bracket) -> float:
        """Return the rise of the drop per unit of log sigma, from a fifth below to a fifth above.

        Nearer by, it would be that of single samples.
        """
        low, high = bracket.low / SLOPE_REACH, bracket.high * SLOPE_REACH
        return (self._mean_drop(high) - self._mean_drop(low)) / math.log(high / low)
