"""What several tasks have in common: the sizes and seeds over which they are compared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_fragility.families.observations import FEWEST_SEEDS, FEWEST_SIZES, Grid, Place
from pytest_fragility.perturbations import BASELINE


@dataclass(frozen=True)
class CommonGround:
    """The sizes and seeds that the baseline has on every task.

    Parameters
    ----------
    grid
        Of the baseline alone.
    notes
        Sentences on what is left out.
    reason
        Why the tasks cannot be compared; empty where they can.
    """

    grid: Grid
    notes: tuple[str, ...] = ()
    reason: str = ""


def common_ground(places: Mapping[str, Collection[Place]], asked: Any) -> CommonGround:
    """Return what the baseline has on every task, of the sizes and seeds that are asked for.

    Tasks are paired over seeds. Sizes that some task lacks with all seeds are left out, then seeds
    that lack a size on some task.

    Parameters
    ----------
    places
        By task: recipe, n and seed of each network.
    asked
        With `sizes` and `seeds`; None takes all, and a number of seeds is the baseline's own
        affair.
    """
    own = {
        task: {(n, seed) for recipe, n, seed in each if recipe == BASELINE}
        for task, each in places.items()
    }
    sizes = _in_all([{n for n, _ in each} for each in own.values()], asked.sizes)
    named = None if isinstance(asked.seeds, int) else asked.seeds
    all_seeds = {seed for each in own.values() for _, seed in each}
    seeds = tuple(
        seed
        for seed in sorted(all_seeds if named is None else all_seeds & set(named))
        if all((n, seed) in each for each in own.values() for n in sizes)
    )
    if isinstance(asked.seeds, int):
        seeds = seeds[: asked.seeds]
    notes = []
    every_size = sorted({n for each in own.values() for n, _ in each})
    if asked.sizes is None and every_size != list(sizes):
        lacking = ", ".join(str(n) for n in every_size if n not in sizes)
        notes.append(f"over the tasks, n = {lacking} left out, which some task lacks")
    left = [seed for seed in sorted(all_seeds) if seed not in seeds]
    if left and named is None and not isinstance(asked.seeds, int):
        listed = ", ".join(map(str, left[:10]))
        notes.append(f"over the tasks, seeds {listed} left out, which some task lacks at some n")
    reason = ""
    if len(sizes) < FEWEST_SIZES:
        reason = f"the tasks have {len(sizes)} sizes in common, and a curve needs two"
    elif len(seeds) < FEWEST_SEEDS:
        reason = f"the tasks have {len(seeds)} seeds in common at all sizes, and two are needed"
    return CommonGround(Grid(sizes, {BASELINE: seeds}), tuple(notes), reason)


def _in_all(groups: Iterable[set[int]], asked: Any) -> tuple[int, ...]:
    common = set.intersection(*groups)
    return tuple(sorted(common if asked is None else common & set(asked)))
