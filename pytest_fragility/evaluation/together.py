"""A measure that is asked about the networks of several recipes in one call, on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from itertools import accumulate

from pytest_fragility._util.stopwatch import MEASURES, spent_on
from pytest_fragility.errors import MeasureError, UndefinedMeasureError
from pytest_fragility.evaluation.calling import is_own
from pytest_fragility.evaluation.evaluate import (
    Asking,
    Failures,
    as_measures_expect,
    ask_stack,
    evaluate_size,
)
from pytest_fragility.families.family import Family
from pytest_fragility.measures.measure import Measure
from pytest_fragility.measures.stacked import ARCHITECTURE, StackMeasure
from pytest_fragility.training.stacked_forms import stacked_form

# from a recipe's name and a size to its values, by seed
Row = Callable[[str, int, Failures], list[float]]
# what the networks asked about at once keep of their samples in a backward pass, and weigh
TOGETHER_BYTES = 1 << 29


def can_be_asked_together(measure: Measure, family: Family) -> bool:
    """Return whether a measure may be asked about networks of several recipes at once.

    That is so for this package's own measures that look at nothing of a recipe, of networks trained
    here that live on a CUDA device.
    """
    is_blind = isinstance(measure, StackMeasure) and ARCHITECTURE not in measure.reads
    return is_blind and is_own(measure) and family.device.type == "cuda" and not family.source


def together(measure: Measure, askings: Mapping[str, Asking]) -> Row:
    """Return what gives a recipe's values at a size, worked out together with other recipes'.

    Parameters
    ----------
    measure
        What is asked; see `can_be_asked_together`.
    askings
        By recipe's name; what is never asked for may be worked out.
    """
    known: dict[tuple[str, int], list[float] | None] = {}

    def row(recipe: str, n: int, failures: Failures) -> list[float]:
        if (recipe, n) not in known:
            unknown = {name: each for name, each in askings.items() if (name, n) not in known}
            known.update(_values(measure, _group(recipe, unknown, n), n))
        values = known[recipe, n]
        # where it fails on one of a group, it is asked recipe by recipe, to tell which
        return evaluate_size(askings[recipe], n, failures) if values is None else values

    return row


def _group(recipe: str, askings: Mapping[str, Asking], n: int) -> dict[str, Asking]:
    """Return a recipe, and those that stack with it, as many as memory is meant for."""
    first = askings[recipe]
    alike = {name: each for name, each in askings.items() if _shape(each) == _shape(first)}
    ordered = {recipe: first, **alike}
    counts = accumulate(len(each.seeds) for each in ordered.values())
    room = TOGETHER_BYTES // _bytes(first, n)
    return {
        name: each
        for (name, each), count in zip(ordered.items(), counts, strict=True)
        if name == recipe or count <= room
    }


def _shape(asking: Asking) -> Hashable:
    """Return what networks have in common that can share a stack."""
    recipe = asking.family.recipes[asking.recipe]
    return recipe.architecture, recipe.precision


def _bytes(asking: Asking, n: int) -> int:
    """Return about how much memory a network takes while a measure looks at it."""
    run = asking.runs(n)[0]
    of_sample = stacked_form(run.run.recipe, run.run.task.data).sample_bytes
    weights = sum(each.numel() * each.element_size() for each in run.weights.values())
    return n * of_sample + weights


def _values(
    measure: Measure, group: Mapping[str, Asking], n: int
) -> dict[tuple[str, int], list[float] | None]:
    """Return each recipe's values from one call for all; None where they are to be asked alone."""
    unanswered: dict[tuple[str, int], list[float] | None] = {(name, n): None for name in group}
    if len(group) == 1:
        return unanswered
    assert isinstance(measure, StackMeasure)
    first = next(iter(group.values()))
    runs = [run for asking in group.values() for run in asking.runs(n)]
    with spent_on(MEASURES, first.name) as spent, as_measures_expect():
        stack = first.family.stacks.of(runs).with_draw(first.draw)
        try:
            values = ask_stack(
                measure,
                stack,
                lambda *_: first.where(n),
                scale=first.scale,
                timeout=first.timeout,
            )
        except (UndefinedMeasureError, MeasureError):
            return unanswered
        spent.networks += len(runs)
    ends = [*accumulate(len(asking.seeds) for asking in group.values())]
    begins = [0, *ends[:-1]]
    return {
        (name, n): values[begin:end] for name, begin, end in zip(group, begins, ends, strict=True)
    }
