"""Learning curves over several groups of seeds, put together to curves over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pytest_fragility._util.lazy import OnDemand
from pytest_fragility.curves.ladder_curves import LadderCurves
from pytest_fragility.curves.learning_curve import LearningCurve
from pytest_fragility.curves.learning_curves import LearningCurves


def join_seeds(groups: Sequence[LearningCurves]) -> LearningCurves:
    """Return the curves over all seeds, under the recipes that all groups have.

    Groups are of the same measure, task, sizes and alpha, with other seeds each. There is a ladder
    where all have one. Values on networks with the same function, the controls, the noise of the
    measure's own randomness, and the descriptions of recipes are those of the first group.
    """
    first = groups[0]
    if len(groups) == 1:
        return first
    names = [name for name in first.recipes if all(name in group.recipes for group in groups)]
    return replace(
        first,
        seeds=tuple(seed for group in groups for seed in group.seeds),
        measure=OnDemand(
            "recipe", names, lambda name: _join([group.measure[name] for group in groups])
        ),
        error={name: _join([group.error[name] for group in groups]) for name in names},
        unfinished=_first_reasons([group.unfinished for group in groups], names),
        ladder=_join_ladders([group.ladder for group in groups]),
        without_seeds=None,
        code="",
    )


def _join(curves: Sequence[LearningCurve]) -> LearningCurve:
    masks = [curve.mistaken for curve in curves if curve.mistaken is not None]
    return replace(
        curves[0],
        values=np.concatenate([curve.values for curve in curves], axis=1),
        mistaken=np.concatenate(masks, axis=1) if masks else None,
        seeds=tuple(seed for curve in curves for seed in curve.seeds),
    )


def _first_reasons(groups: Sequence[Mapping[str, str]], names: Sequence[str]) -> dict[str, str]:
    """Return by name what the first group with something to say says."""
    said = {name: [group[name] for group in groups if name in group] for name in names}
    return {name: reasons[0] for name, reasons in said.items() if reasons}


def _join_ladders(ladders: Sequence[LadderCurves | None]) -> LadderCurves | None:
    known = [ladder for ladder in ladders if ladder is not None]
    if not known or len(known) < len(ladders):
        return None
    first = known[0]
    tasks = [task for task in first.error if all(task in ladder.error for ladder in known)]
    # one without a curve keeps the ladder from being judged
    named = dict.fromkeys(task for ladder in known for task in (*ladder.error, *ladder.unfinished))
    return replace(
        first,
        measure=OnDemand(
            "task", tasks, lambda name: _join([ladder.measure[name] for ladder in known])
        ),
        error={name: _join([ladder.error[name] for ladder in known]) for name in tasks},
        unfinished=_first_reasons([ladder.unfinished for ladder in known], list(named)),
    )
