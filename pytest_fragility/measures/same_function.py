"""A measure's values on networks that have the same function."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from pytest_fragility.checks.planning import NORMALIZATION_SCALE
from pytest_fragility.curves.invariance import Invariance
from pytest_fragility.durations import MEASURES, spent_on
from pytest_fragility.equivalences import EQUIVALENCES
from pytest_fragility.errors import MeasureError, TrainingError, UndefinedMeasureError
from pytest_fragility.families import Family, middle_size
from pytest_fragility.measures.adapters import as_measure
from pytest_fragility.measures.cores import own_cores
from pytest_fragility.measures.evaluation import as_number, require_usable
from pytest_fragility.measures.measure import Measure, does_not_claim, is_oracle
from pytest_fragility.measures.time_limit import MeasureTimedOut, time_limit, took_longer
from pytest_fragility.perturbations import BASELINE
from pytest_fragility.randomness import derive_seed
from pytest_fragility.symmetries.symmetry import get_symmetry, in_double
from pytest_fragility.trained_networks import TrainedNetwork
from pytest_fragility.unknown_parts import replaced

DRAWS = 16
NETWORKS = 2

# what rounding in float64 may grow to over the steps of a training
SAME_FUNCTION = 1e-6


# from a network and the number of a draw to the measure's value
Asker = Callable[[TrainedNetwork, int], float]


class Pair(NamedTuple):
    """Two networks with the same function."""

    before: TrainedNetwork
    after: TrainedNetwork

    def __str__(self) -> str:
        place = f"n={self.before.n}, seed {self.before.seed}"
        is_baseline = self.before.recipe_name == BASELINE
        return place if is_baseline else f"{place}, a scale-invariant network"


def symmetry_values(
    measure: Measure,
    name: str,
    family: Family,
    symmetry: str,
    *,
    alpha: float,
    scale: str,
    timeout: float | None = None,
) -> Invariance | str:
    """Return a measure's values before and after a symmetry of two of a family's networks.

    The networks have the baseline's recipe and the middle size; where they have no normalization
    to scale in front of, scale-invariant networks of the same widths take their place. The change
    is made, and verified, in float64; the measure is asked in the baseline's precision.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    name
        What error messages call it.
    family
        Where the networks come from.
    symmetry
        The symmetry's name.
    alpha
        Of the intervals over draws.
    scale
        ``"log"`` or ``"linear"``.
    timeout
        Seconds that the measure may take for a network; None has no limit.

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
    if does_not_claim(measure, symmetry):
        return f"the measure does not claim {symmetry}"
    # a tensor of inference mode could never take part in a derivative
    with own_cores(), torch.inference_mode(False):
        asker = _asker(measure, name, scale, timeout)
        return _symmetry_values(measure, asker, family, symmetry, alpha, scale)


def _symmetry_values(
    measure: Measure, value: Asker, family: Family, symmetry: str, alpha: float, scale: str
) -> Invariance | str:
    change = get_symmetry(symmetry)
    # scale-invariant networks are trained in float64, which a measure need not be made for
    dtype = getattr(torch, family.recipes[BASELINE].precision)
    sources = [family]
    if symmetry == NORMALIZATION_SCALE and family.equivalents:
        sources.append(family.equivalents)
    for source in sources:
        recipe, n = _recipe_and_size(source)
        seeds = source.seeds_of(recipe)[:NETWORKS]
        if any(source.trained_run(recipe, n, seed).record.diverged for seed in seeds):
            return f"the training of a network diverged ({source.describe(recipe, n, *seeds)})"
        pairs = [
            Pair(network.in_precision(dtype), changed.in_precision(dtype))
            for network in (_network(measure, source, recipe, n, seed) for seed in seeds)
            if (changed := change(in_double(network))) is not None
        ]
        if pairs:
            return _compare(value, change.summary, pairs, alpha, scale)
    return f"the network has no symmetry of the kind {symmetry}"


def equivalence_values(
    measure: Measure,
    name: str,
    family: Family,
    equivalence: str,
    *,
    alpha: float,
    scale: str,
    timeout: float | None = None,
) -> Invariance | str:
    """Return a measure's values on networks that two equivalent trainings gave.

    Parameters and errors are those of `symmetry_values`; the measure is asked in float32.
    """
    with own_cores(), torch.inference_mode(False):
        asker = _asker(measure, name, scale, timeout)
        return _equivalence_values(measure, asker, family, equivalence, alpha, scale)


def _equivalence_values(
    measure: Measure, value: Asker, family: Family, equivalence: str, alpha: float, scale: str
) -> Invariance | str:
    assert family.equivalents is not None
    chosen = EQUIVALENCES[equivalence]
    pairs = []
    for seed in family.equivalents.seeds:
        if _has_diverged(family.equivalents, chosen.arms, seed):
            return f"the scale-invariant network's training diverged (seed {seed})"
        first, second = (
            _network(measure, family.equivalents, arm, family.equivalents.sizes[0], seed)
            for arm in chosen.arms
        )
        _require_same_function(first, second, equivalence)
        pairs.append(Pair(first.in_precision(torch.float32), second.in_precision(torch.float32)))
    return _compare(value, chosen.summary, pairs, alpha, scale)


def _recipe_and_size(family: Family) -> tuple[str, int]:
    """Return which networks of a family are looked at."""
    recipe = BASELINE if BASELINE in family.recipes else next(iter(family.recipes))
    return recipe, middle_size(family.sizes)


def _network(measure: Measure, family: Family, recipe: str, n: int, seed: int) -> TrainedNetwork:
    if is_oracle(measure):
        return family.oracle_network(recipe, n, seed)
    return family[family.task.name, recipe, n, seed]


def _has_diverged(family: Family, arms: tuple[str, str], seed: int) -> bool:
    n = family.sizes[0]
    return any(family.trained_run(arm, n, seed).record.diverged for arm in arms)


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


def _compare(
    value: Asker, summary: str, pairs: list[Pair], alpha: float, scale: str
) -> Invariance | str:
    before, after = [], []
    try:
        draws = DRAWS if _draws_numbers(value, pairs[0].before) else 1
        for pair in pairs:
            before.append([value(pair.before, draw) for draw in range(draws)])
            after.append([value(pair.after, draw) for draw in range(draws)])
    except UndefinedMeasureError as error:
        return f"the measure is not defined there: {error}"
    networks = tuple(str(pair) for pair in pairs)
    return Invariance(summary, networks, np.array(before), np.array(after), alpha, scale)


def _draws_numbers(value: Asker, network: TrainedNetwork) -> bool:
    return value(network, 0) != value(network, 1)


def _versions(network: TrainedNetwork) -> list[int | bool]:
    """Return how often each tensor was changed in place, and which modules are in train mode."""
    models = network.models
    tensors = [each for model in models for each in model.state_dict(keep_vars=True).values()]
    modes = [module.training for model in models for module in model.modules()]
    return [*(each._version for each in (*tensors, network.inputs, network.labels)), *modes]


def _asker(measure: Measure, name: str, scale: str, timeout: float | None) -> Asker:
    """Return a function that asks the measure, with the randomness of a numbered draw."""
    called = as_measure(measure)

    def value(network: TrainedNetwork, draw: int) -> float:
        rng = torch.Generator(device=network.rng.device)
        rng.manual_seed(derive_seed("same function", network.n, network.seed, draw))
        where = f"measure {name} on {network}"
        before = _versions(network)
        try:
            with spent_on(MEASURES, name, 1), torch.enable_grad(), time_limit(timeout):
                found = called(replaced(network, rng=rng))
            number = as_number(found, where)
        except (MeasureError, UndefinedMeasureError):
            raise
        except MeasureTimedOut:
            raise MeasureError(f"{where}: {took_longer(timeout)}") from None
        except Exception as error:
            raise MeasureError(f"{where}: raised {type(error).__name__}: {error}") from error
        if _versions(network) != before:
            raise MeasureError(
                f"{where}: changed the network it was handed, which is asked about again; a "
                "measure only reads: work on copy.deepcopy(network.model)"
            )
        require_usable(number, lambda: where, scale)
        return number

    return value
