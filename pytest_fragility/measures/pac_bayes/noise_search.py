"""The largest noise on the weights that a network tolerates."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from pytest_fragility.errors import SettingsError, UndefinedMeasureError
from pytest_fragility.measures.common.batching import in_parts
from pytest_fragility.measures.common.parameter_vectors import parameter_vectors, split_vectors
from pytest_fragility.measures.pac_bayes.accuracies import (
    Accuracies,
    StackAccuracies,
    accuracies_of,
    can_look_together,
)
from pytest_fragility.networks.stacks import NetworkStack

if TYPE_CHECKING:
    from pytest_fragility.networks.trained_network import TrainedNetwork


Result = TypeVar("Result")
# yields where it looks next, is sent what it sees there, and returns what it finds
Search = Generator[float, float, Result]


def searched(search: Search[Result], look: Callable[[float], float]) -> Result:
    """Return what one search finds, given what it sees where it looks."""
    return searched_together([search], lambda _, places: [look(places[0])])[0]


def searched_together(
    searches: Sequence[Search[Result]],
    look: Callable[[list[int], list[float]], list[float]],
) -> list[Result]:
    """Return what each search finds, where those that go on look at the same time.

    `look` is given the numbers of the searches that look, and where; it returns what each sees.
    """
    found: dict[int, Result] = {}
    places: dict[int, float] = {}

    def advance(number: int, seen: float | None) -> None:
        search = searches[number]
        try:
            places[number] = next(search) if seen is None else search.send(seen)
        except StopIteration as end:
            found[number] = end.value

    for number in range(len(searches)):
        advance(number, None)
    while places:
        looking = list(places)
        seen = look(looking, [places.pop(number) for number in looking])
        for number, value in zip(looking, seen, strict=True):
            advance(number, value)
    return [found[number] for number in range(len(searches))]


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
    (accuracies,) = accuracies_of(stack)
    with torch.no_grad():
        drops = _noisy_drops(stack, 0, accuracies, magnitude_aware, draws)
        first = FIRST_GUESS[magnitude_aware]
        search = _Bracketing(accuracy_drop).described(first, drops, draws)
        return searched(search, _mean_of(drops))


def tolerated_noise(stack: NetworkStack, *, magnitude_aware: bool = False) -> torch.Tensor:
    """Return sigma of each network, shape (K,), float64; see `sigma_search`.

    A search that saturates is refused: no noise costs 0.1 of the accuracy, or the least does.
    """

    def compute() -> torch.Tensor:
        sigmas = in_parts(stack, lambda part: _tolerated_sigmas(part, magnitude_aware))
        return torch.tensor(sigmas, dtype=torch.float64, device=stack.device)

    return stack.once(("tolerated noise", magnitude_aware), compute)


def _tolerated_sigmas(stack: NetworkStack, magnitude_aware: bool) -> list[float]:
    find = _brackets_together if can_look_together(stack) else _brackets_one_by_one
    sigmas = []
    for place, bracket in enumerate(find(stack, magnitude_aware)):
        if bracket.saturated:
            cost = "less" if bracket.saturated == "high" else "more"
            raise UndefinedMeasureError(
                f"noise of sigma = {bracket.sigma:g}, the end of the search range, costs {cost} "
                f"than {ACCURACY_DROP} of train accuracy ({bracket.low_drop:.3f}), so "
                "that no sigma costs just that; is the train accuracy near chance?",
                place,
            )
        sigmas.append(bracket.sigma)
    return sigmas


def _brackets_one_by_one(stack: NetworkStack, magnitude_aware: bool) -> Iterator[_Bracket]:
    for place, accuracies in enumerate(accuracies_of(stack)):
        with torch.no_grad():
            drops = _noisy_drops(stack, place, accuracies, magnitude_aware, DRAWS)
            search = _Bracketing(ACCURACY_DROP).run(FIRST_GUESS[magnitude_aware])
            bracket = searched(search, _mean_of(drops))
        yield bracket


@torch.no_grad()
def _brackets_together(stack: NetworkStack, magnitude_aware: bool) -> list[_Bracket]:
    rows = parameter_vectors(stack).float()
    noise = torch.stack(
        [_noise(stack, place, row, magnitude_aware, DRAWS) for place, row in enumerate(rows)]
    )
    accuracies = StackAccuracies(stack)
    own = accuracies.of(list(range(len(stack))), rows.unsqueeze(1))

    def look(looking: list[int], sigmas: list[float]) -> list[float]:
        chosen = torch.tensor(looking, device=rows.device)
        some, sigma = rows[chosen].unsqueeze(1), rows.new_tensor(sigmas).view(-1, 1, 1)
        scale = _magnitude_aware_scale(some, sigma) if magnitude_aware else sigma
        drops = own[chosen] - accuracies.of(looking, torch.addcmul(some, noise[chosen], scale))
        means: list[float] = drops.mean(dim=1).tolist()
        return means

    searches = [_Bracketing(ACCURACY_DROP).run(FIRST_GUESS[magnitude_aware]) for _ in rows]
    return searched_together(searches, look)


def _mean_of(drops: Drops) -> Callable[[float], float]:
    return lambda sigma: float(drops(sigma).mean())


def _noise(
    stack: NetworkStack, place: int, row: torch.Tensor, magnitude_aware: bool, draws: int
) -> torch.Tensor:
    """Return one network's noise, the same at every sigma: shape (draws, parameters)."""
    generator = stack.generator(place, "magnitude-aware noise" if magnitude_aware else "noise")
    return torch.randn(draws, len(row), generator=generator, device=stack.device)


def _magnitude_aware_scale(row: torch.Tensor, sigma: Any) -> torch.Tensor:
    scale: torch.Tensor = (sigma**2 * row.square() + MAGNITUDE_EPSILON**2).sqrt()
    return scale


def _noisy_drops(
    stack: NetworkStack, place: int, accuracies: Accuracies, magnitude_aware: bool, draws: int
) -> Drops:
    """Return a function from sigma to the fall of train accuracy under each draw, shape (S,)."""
    row = parameter_vectors(stack)[place : place + 1].float()
    noise_rows = _noise(stack, place, row[0], magnitude_aware, draws)
    weights, noise = split_vectors(stack, row), split_vectors(stack, noise_rows)
    own = accuracies.of(weights)

    def drops(sigma: float) -> torch.Tensor:
        return own - accuracies.along(weights, noise, sigma)

    def magnitude_aware_drops(sigma: float) -> torch.Tensor:
        scale = _magnitude_aware_scale(row, sigma)
        return own - accuracies.of(split_vectors(stack, torch.addcmul(row, noise_rows, scale)))

    return magnitude_aware_drops if magnitude_aware else drops


@dataclass(frozen=True)
class _Bracket:
    """Noise that costs less, and noise that costs more; the same where the search saturated."""

    low: float
    high: float
    low_drop: float
    saturated: str | None = None

    @property
    def sigma(self) -> float:
        return math.sqrt(self.low * self.high)


@dataclass
class _Bracketing:
    """Bracketing in log sigma; it remembers the mean drops wherever it looked."""

    target: float
    seen: dict[float, float] = field(default_factory=dict)

    def run(self, sigma: float) -> Search[_Bracket]:
        """Find the bracket, sought from a first guess with growing steps."""
        low = high = sigma
        step = FIRST_STEP
        while (yield from self._drop(high)) < self.target:
            if high >= LARGEST:
                return self._bracket(high, high, "high")
            low, high, step = high, min(step * high, LARGEST), step * FIRST_STEP
        while (yield from self._drop(low)) >= self.target:
            if low <= SMALLEST:
                return self._bracket(low, low, "low")
            low, high, step = max(low / step, SMALLEST), low, step * FIRST_STEP
        guesses = 0
        while high / low > BRACKET:
            guesses += 1
            is_bisection = guesses % BISECT_EVERY == 0
            sigma = math.sqrt(low * high) if is_bisection else self._interpolated(low, high)
            if (yield from self._drop(sigma)) < self.target:
                low = sigma
            else:
                high = sigma
        return self._bracket(low, high)

    def _bracket(self, low: float, high: float, saturated: str | None = None) -> _Bracket:
        return _Bracket(low, high, self.seen[low], saturated)

    def _interpolated(self, low: float, high: float) -> float:
        """Return where a straight line from low to high meets the target.

        The line is drawn for the root of the drop over log sigma, which bends least. No nearer to
        an end than the width sought, so that a good guess has the next one close the bracket.
        """
        below, target, above = (
            math.sqrt(max(drop, 0.0)) for drop in (self.seen[low], self.target, self.seen[high])
        )
        sigma: float = low * (high / low) ** ((target - below) / (above - below))
        nearest, farthest = CLOSING * low, high / CLOSING
        return min(max(sigma, nearest), farthest) if nearest < farthest else math.sqrt(low * high)

    def described(self, sigma: float, drops: Drops, draws: int) -> Search[NoiseSearch]:
        """Find the bracket with its Monte Carlo error; `drops` are those of each draw."""
        bracket = yield from self.run(sigma)
        ends = (bracket.low, bracket.high)
        nearer = min(ends, key=lambda end: abs(self.seen[end] - self.target))
        # of one draw, there is no telling how far off it is
        drop_error = float(drops(nearer).std()) / math.sqrt(draws) if draws > 1 else math.inf
        slope = yield from self._slope(bracket)
        return NoiseSearch(
            sigma=bracket.sigma,
            low=bracket.low,
            high=bracket.high,
            accuracy_drop=self.target,
            drop=self.seen[nearer],
            drop_error=drop_error,
            relative_error=drop_error / slope if slope > 0 else math.inf,
            draws=draws,
            saturated=bracket.saturated,
        )

    def _drop(self, sigma: float) -> Search[float]:
        if sigma not in self.seen:
            self.seen[sigma] = yield sigma
        return self.seen[sigma]

    def _slope(self, bracket: _Bracket) -> Search[float]:
        """Find the rise of the drop per unit of log sigma, from a fifth below to a fifth above.

        Nearer by, it would be that of single samples.
        """
        low, high = bracket.low / SLOPE_REACH, bracket.high * SLOPE_REACH
        above = yield from self._drop(high)
        below = yield from self._drop(low)
        return (above - below) / math.log(high / low)
