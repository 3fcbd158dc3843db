"""A measure's values on networks that have the same function."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from pytest_fragility._util.seeds import derive_seed
from pytest_fragility._util.stopwatch import MEASURES, spent_on
from pytest_fragility.curves.invariance_values import Invariance
from pytest_fragility.errors import UndefinedMeasureError
from pytest_fragility.evaluation.calling import call
from pytest_fragility.evaluation.evaluate import ask_stack
from pytest_fragility.evaluation.pairs import (
    Pair,
    Pairs,
    StackedPairs,
    equivalence_pairs,
    stacked_pairs,
    symmetry_pairs,
)
from pytest_fragility.families.family import Family
from pytest_fragility.measures.common.batching import networks_together
from pytest_fragility.measures.measure import Measure, does_not_claim, is_oracle
from pytest_fragility.measures.stacked import StackMeasure
from pytest_fragility.measures.values import require_usable
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork, replaced
from pytest_fragility.parallel.thread_limits import own_cores

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


DRAWS = 16
# relative: random numbers that move a value by no more than an iteration's tolerance do not count
ROUNDING = 1e-6


class SameFunctionValues:
    """A measure's values before and after changes that leave networks' functions as they are.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    name
        What error messages call it.
    family
        Where the networks come from.
    alpha
        Of the intervals over draws.
    scale
        ``"log"`` or ``"linear"``.
    timeout
        Seconds that the measure may take for a network; None has no limit.
    """

    def __init__(
        self,
        measure: Measure,
        name: str,
        family: Family,
        *,
        alpha: float,
        scale: str,
        timeout: float | None = None,
    ) -> None:
        self._measure = measure
        self._name = name
        self._family = family
        self._alpha = alpha
        self._scale = scale
        self._timeout = timeout
        # of networks that are asked about one by one, for all changes that are made to them
        self._before: dict[Hashable, float] = {}

    def of_symmetry(self, symmetry: str) -> Invariance | str:
        """Return the values before and after a symmetry; see `symmetry_pairs`.

        Returns
        -------
        Invariance or str
            A text that says why the check does not apply, where the measure does not claim the
            symmetry or is not defined for the networks, or where no network has the symmetry.

        Raises
        ------
        TrainingError
            If the symmetry does not leave the networks' probabilities as they are.
        MeasureError
            If the measure fails.
        """
        if does_not_claim(self._measure, symmetry):
            return f"the measure does not claim {symmetry}"
        find = partial(symmetry_pairs, self._family, symmetry, self._network)
        return self._compared(f"symmetry {symmetry}", find)

    def of_equivalence(self, equivalence: str) -> Invariance | str:
        """Return the values on networks of two equivalent trainings; see `equivalence_pairs`.

        Returns and errors are those of `of_symmetry`.
        """
        find = partial(equivalence_pairs, self._family, equivalence, self._network)
        return self._compared(f"equivalence {equivalence}", find)

    def _compared(self, name: str, find: Callable[[], Pairs | str]) -> Invariance | str:
        # a tensor of inference mode could never take part in a derivative
        with own_cores(), torch.inference_mode(False), torch.enable_grad():
            is_stacked = isinstance(self._measure, StackMeasure)
            pairs = stacked_pairs(self._family, name, find) if is_stacked else find()
            if isinstance(pairs, str):
                return pairs
            try:
                before, after = (
                    self._of_stacks(pairs)
                    if isinstance(pairs, StackedPairs)
                    else self._one_by_one(pairs)
                )
            except UndefinedMeasureError as error:
                return f"the measure is not defined there: {error}"
        names = tuple(str(pair) for pair in pairs.pairs)
        return Invariance(pairs.summary, names, before, after, self._alpha, self._scale)

    def _network(self, family: Family, recipe: str, n: int, seed: int) -> TrainedNetwork:
        if is_oracle(self._measure):
            return family.oracle_network(recipe, n, seed)
        return family[family.task.name, recipe, n, seed]

    def _of_stacks(self, pairs: StackedPairs) -> tuple[Floats, Floats]:
        """Return the values before and after, each of shape (pairs, draws): a call for all."""
        before = [pair.before for pair in pairs.pairs]
        after = [pair.after for pair in pairs.pairs]
        one, other = (
            self._ask_stack(pairs.before, before, range(draw, draw + 1)) for draw in range(2)
        )
        if np.allclose(one, other, rtol=ROUNDING, atol=0):
            return one, self._ask_stack(pairs.after, after, range(1))
        return self._draws(pairs.before, before), self._draws(pairs.after, after)

    def _draws(self, stack: NetworkStack, networks: Sequence[TrainedNetwork]) -> Floats:
        at_a_time = max(1, networks_together(stack) // len(stack))
        found = [
            self._ask_stack(stack, networks, range(begin, min(begin + at_a_time, DRAWS)))
            for begin in range(0, DRAWS, at_a_time)
        ]
        return np.concatenate(found, axis=1)

    def _ask_stack(
        self, stack: NetworkStack, networks: Sequence[TrainedNetwork], draws: range
    ) -> Floats:
        """Return the values at some draws, shape (networks, draws)."""
        assert isinstance(self._measure, StackMeasure)
        seeds = [[_seed_of(network, draw) for draw in draws] for network in networks]
        drawn = stack.once(("same function", draws), lambda: stack.repeated(seeds))

        def where(*places: int) -> str:
            which = dict.fromkeys(str(networks[place // len(draws)]) for place in places)
            return f"measure {self._name} on {' and on '.join(which)}"

        with spent_on(MEASURES, self._name, len(drawn)):
            values = ask_stack(
                self._measure, drawn, where, scale=self._scale, timeout=self._timeout
            )
        return np.array(values).reshape(len(networks), len(draws))

    def _one_by_one(self, pairs: Pairs) -> tuple[Floats, Floats]:
        """Return the values before and after, each of shape (pairs, draws): a call for each."""
        one, other = (self._value_before(pairs.pairs[0], draw) for draw in range(2))
        draws = range(1 if np.isclose(one, other, rtol=ROUNDING, atol=0) else DRAWS)
        before, after = [], []
        for pair in pairs.pairs:
            before.append([self._value_before(pair, draw) for draw in draws])
            after.append([self._value(pair.after, draw) for draw in draws])
        return np.array(before), np.array(after)

    def _value_before(self, pair: Pair, draw: int) -> float:
        # equivalent trainings are looked at in float32, whatever the baseline's precision
        place = pair.run, pair.before.dtype, draw
        if place not in self._before:
            self._before[place] = self._value(pair.before, draw)
        return self._before[place]

    def _value(self, network: TrainedNetwork, draw: int) -> float:
        rng = torch.Generator(device=network.rng.device)
        rng.manual_seed(_seed_of(network, draw))
        where = f"measure {self._name} on {network}"
        # a copy: the network is asked about again
        asked = replaced(network.in_precision(network.dtype), rng=rng)
        with spent_on(MEASURES, self._name, 1):
            number: float = call(self._measure, asked, where, limit=self._timeout)
        require_usable(number, lambda: where, self._scale)
        return number


def _seed_of(network: TrainedNetwork, draw: int) -> int:
    """Return what a measure's randomness derives from; the same before and after a change."""
    return derive_seed("same function", network.n, network.seed, draw)
