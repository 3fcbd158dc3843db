"""Which sizes and seeds have a network for every place of a learning curve, and which lack one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_fragility.curves.learning_curve import seeds_to_compare
from pytest_fragility.errors import TableError
from pytest_fragility.families.selection import FEWEST_SIZES, Asked, Selection
from pytest_fragility.perturbations import BASELINE

# intervals are taken over seeds, and slopes over sizes
FEWEST_SEEDS = 2
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Grid:
    """The sizes that all curves have, and each recipe's seeds that have them all, ascending.

    `left_out` says by recipe what is missing; a recipe without a curve has no seeds, and
    `incomplete` says why.
    """

    sizes: tuple[int, ...]
    seeds: Mapping[str, tuple[int, ...]]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    incomplete: Mapping[str, str] = field(default_factory=dict)


def complete_grid(places: Collection[Place], chosen: Selection, what: str) -> Grid:
    """Return the grid of what is there; what is missing takes out as little as it must.

    A size at which the baseline, or a perturbation, has no network at all is left out for all
    recipes; a perturbation that would take out more than half of the baseline's sizes is left out
    itself. At the sizes that remain, a seed that lacks one is left out for the recipe concerned.
    A TableError says that no two sizes remain, of what.
    """
    recipes, sizes, seeds = chosen.recipes, chosen.sizes, chosen.seeds
    there = {
        recipe: {n for name, n, _ in places if name == recipe and n in sizes} for recipe in recipes
    }
    kept, incomplete = _common_sizes(there, recipes)
    if len(kept) < FEWEST_SIZES:
        raise TableError(
            f"{what} n = {', '.join(map(str, kept)) or 'none'} alone under the baseline; a "
            "learning curve needs at least two sizes"
        )
    dropped = [n for n in sizes if n not in kept]
    known = set(places)
    complete: dict[str, tuple[int, ...]] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    for recipe in recipes:
        if recipe in incomplete:
            continue
        own = [seed for seed in seeds if any((recipe, n, seed) in known for n in sizes)]
        lacking = {seed: [n for n in kept if (recipe, n, seed) not in known] for seed in own}
        whole = tuple(seed for seed in own if not lacking[seed])
        notes = [_dropped_sizes(dropped, there, recipes)] if dropped else []
        notes += [
            f"{recipe}: seed {seed} is left out, which lacks n = {_listed(lacking[seed])}"
            for seed in own
            if lacking[seed]
        ]
        if len(whole) < FEWEST_SEEDS:
            has = f"seed {whole[0]} alone has" if whole else "no seed has"
            needed = f"{has} a value at each of n = {_listed(kept)}; at least {FEWEST_SEEDS} must"
            incomplete[recipe] = "; ".join([needed, *notes])
            continue
        complete[recipe] = whole
        left_out[recipe] = tuple(notes)
    return Grid(tuple(kept), complete, _with_pairing(left_out, complete), incomplete)


def _common_sizes(
    there: Mapping[str, set[int]], recipes: Sequence[str]
) -> tuple[list[int], dict[str, str]]:
    """Return the sizes that are kept, and why some recipes are not."""
    kept, incomplete = set(there[BASELINE]), {}
    fewest = max(FEWEST_SIZES, -(-len(kept) // 2))
    # those that have most sizes first, so that one with few takes nothing from the others
    for recipe in sorted(recipes, key=lambda name: -len(there[name] & there[BASELINE])):
        common = kept & there[recipe]
        if recipe == BASELINE or len(common) >= fewest:
            kept = common
        else:
            has = f"n = {_listed(sorted(there[recipe]))} alone" if there[recipe] else "no size"
            incomplete[recipe] = f"it has values at {has}; at least {fewest} of the baseline's"
            incomplete[recipe] += f" sizes are needed (n = {_listed(sorted(there[BASELINE]))})"
    return sorted(kept), incomplete


def _dropped_sizes(
    dropped: Sequence[int], there: Mapping[str, set[int]], recipes: Sequence[str]
) -> str:
    lacking = [name for name in recipes if any(n not in there[name] for n in dropped)]
    return f"n = {_listed(dropped)} left out, where {', '.join(lacking)} has no value with any seed"


def _with_pairing(
    left_out: Mapping[str, tuple[str, ...]], complete: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return the notes, with how recipes are compared whose seeds are not the baseline's."""
    told = dict(left_out)
    own = complete.get(BASELINE, ())
    for recipe, seeds in complete.items():
        if not own or seeds == own:
            continue
        after, before = seeds_to_compare(seeds, own)
        how = (
            f"compared over the {len(after)} that both have"
            if after == before
            else "compared unpaired, with Welch's t interval"
        )
        note = f"{recipe} has seeds {_listed(seeds)} and the baseline {_listed(own)}: {how}"
        told[recipe] = (*told[recipe], note)
    return {recipe: notes for recipe, notes in told.items() if notes}


def _listed(numbers: Iterable[int]) -> str:
    texts = [str(each) for each in numbers]
    return ", ".join(texts if len(texts) <= 12 else [*texts[:5], "...", *texts[-5:]])


def common_grid(places: Mapping[str, Collection[Place]], asked: Asked) -> Grid:
    """Return the baseline's sizes and seeds that every task has, of those that are asked for.

    Tasks are paired over seeds. Sizes that some task lacks with all seeds are left out, then seeds
    that lack a size on some task.
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
    incomplete = {BASELINE: reason} if reason else {}
    return Grid(sizes, {BASELINE: seeds}, {BASELINE: tuple(notes)}, incomplete)


def _in_all(groups: Iterable[set[int]], asked: Any) -> tuple[int, ...]:
    common = set.intersection(*groups)
    return tuple(sorted(common if asked is None else common & set(asked)))


def told(grid: Grid, unknown: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what to tell with verdicts, by recipe; of the test set with those of the baseline."""
    notes = {recipe: tuple(said) for recipe, said in grid.left_out.items()}
    if unknown and BASELINE in grid.seeds:
        notes[BASELINE] = (*notes.get(BASELINE, ()), *unknown)
    return notes
