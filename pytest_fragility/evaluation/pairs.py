"""Pairs of a family's networks that have the same function, and how they are stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pytest_fragility.errors import TrainingError, UndefinedMeasureError
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import middle_size
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.networks.stacks import NetworkStack
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.recipes.equivalences import EQUIVALENCES, NORMALIZATION_SCALE
from pytest_fragility.symmetries.symmetry import get_symmetry, in_double

NETWORKS = 2
# what rounding in float64 may grow to over the steps of a training
SAME_FUNCTION = 1e-6
# from a family, a recipe's name, n and seed to the network
NetworkOf = Callable[[Family, str, int, int], TrainedNetwork]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two networks with the same function.

    Parameters
    ----------
    before, after
        The networks.
    run
        What the first was trained as.
    """

    before: TrainedNetwork
    after: TrainedNetwork
    run: TrainedRun

    def __str__(self) -> str:
        place = f"n={self.before.n}, seed {self.before.seed}"
        is_baseline = self.before.recipe_name == BASELINE
        return place if is_baseline else f"{place}, a scale-invariant network"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Networks before and after a change that leaves their functions as they are.

    Parameters
    ----------
    summary
        The change in a few words.
    pairs
        At least one.
    """

    summary: str
    pairs: Sequence[Pair]


@dataclass(frozen=True, eq=False)
class StackedPairs(Pairs):
    """Pairs as two stacks, in their order.

    Parameters
    ----------
    before, after
        The stacks, whose randomness is to be replaced.
    """

    before: NetworkStack
    after: NetworkStack


def symmetry_pairs(family: Family, symmetry: str, network_of: NetworkOf) -> Pairs | str:
    """Return two of a family's networks before and after a symmetry.

    The networks have the baseline's recipe and the middle size; where they have no normalization
    to scale in front of, scale-invariant networks of the same widths take their place. The change
    is made, and verified, in float64; the networks are in the baseline's precision.

    Parameters
    ----------
    family
        Where the networks come from.
    symmetry
        The symmetry's name.
    network_of
        Makes a network.

    Returns
    -------
    Pairs or str
        A text that says why there are none.

    Raises
    ------
    TrainingError
        If the symmetry does not leave the networks' probabilities as they are.
    """
    change = get_symmetry(symmetry)
    # scale-invariant networks are trained in float64, which a measure need not be made for
    dtype = getattr(torch, family.recipes[BASELINE].precision)
    for source in _sources(family, symmetry):
        recipe, n = _recipe_and_size(source)
        seeds = source.seeds_of(recipe)[:NETWORKS]
        if any(source.trained_run(recipe, n, seed).record.diverged for seed in seeds):
            return f"the training of a network diverged ({source.describe(recipe, n, *seeds)})"
        try:
            pairs = [
                Pair(
                    network.in_precision(dtype),
                    changed.in_precision(dtype),
                    source.trained_run(recipe, n, seed),
                )
                for seed in seeds
                for network in [network_of(source, recipe, n, seed)]
                if (changed := change(in_double(network))) is not None
            ]
        except UndefinedMeasureError as error:
            return str(error)
        if pairs:
            return Pairs(change.summary, pairs)
    return f"the network has no symmetry of the kind {symmetry}"


def equivalence_pairs(family: Family, equivalence: str, network_of: NetworkOf) -> Pairs | str:
    """Return networks that two equivalent trainings gave, in float32.

    Parameters and errors are those of `symmetry_pairs`.
    """
    assert family.equivalents is not None
    chosen, source = EQUIVALENCES[equivalence], family.equivalents
    n, pairs = source.sizes[0], []
    for seed in source.seeds:
        runs = [source.trained_run(arm, n, seed) for arm in chosen.arms]
        if any(run.record.diverged for run in runs):
            return f"the scale-invariant network's training diverged (seed {seed})"
        first, second = (network_of(source, arm, n, seed) for arm in chosen.arms)
        _require_same_function(first, second, equivalence)
        before, after = first.in_precision(torch.float32), second.in_precision(torch.float32)
        pairs.append(Pair(before, after, runs[0]))
    return Pairs(chosen.summary, pairs)


def stacked_pairs(
    family: Family, name: str, pairs: Callable[[], Pairs | str]
) -> StackedPairs | str:
    """Return the pairs of a check as stacks, made once for all measures.

    Parameters
    ----------
    family
        Where the networks come from.
    name
        The check's.
    pairs
        Finds them.
    """

    def compute() -> StackedPairs | str:
        found = pairs()
        if isinstance(found, str):
            return found
        before = [pair.before for pair in found.pairs]
        after = [pair.after for pair in found.pairs]
        runs = [pair.run for pair in found.pairs]
        return StackedPairs(
            found.summary,
            found.pairs,
            # several changes are made to the same networks
            family.stacks.once(
                runs, ("before", before[0].dtype), lambda: NetworkStack.of_networks(before)
            ),
            NetworkStack.of_networks(after),
        )

    return family.stacks.once(_runs_for_pairs(family), ("pairs", name), compute)


def _sources(family: Family, symmetry: str) -> list[Family]:
    """Return the families in which networks are looked for that have a symmetry."""
    if symmetry == NORMALIZATION_SCALE and family.equivalents:
        return [family, family.equivalents]
    return [family]


def _recipe_and_size(family: Family) -> tuple[str, int]:
    """Return which networks of a family are looked at."""
    recipe = BASELINE if BASELINE in family.recipes else next(iter(family.recipes))
    return recipe, middle_size(family.sizes)


def _runs_for_pairs(family: Family) -> list[TrainedRun]:
    """Return all runs that pairs are made of."""
    recipe, n = _recipe_and_size(family)
    runs = [family.trained_run(recipe, n, seed) for seed in family.seeds_of(recipe)[:NETWORKS]]
    if family.equivalents:
        runs += [family.equivalents.trained_run(*place) for place in family.equivalents.plan.runs]
    return runs


def _require_same_function(first: TrainedNetwork, second: TrainedNetwork, name: str) -> None:
    with torch.no_grad():
        logs = [each.model(each.inputs).log_softmax(dim=1) for each in (first, second)]
    farthest = float((logs[0] - logs[1]).abs().max())
    # a comparison that NaN fails too
    if not farthest <= SAME_FUNCTION:
        raise TrainingError(
            f"equivalence {name}: the log-probabilities of the two trainings differ by "
            f"{farthest:.2g} (n={first.n}, seed {first.seed}), expected at most {SAME_FUNCTION:g}"
        )
