"""A measure's learning curves over a trained family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from pytest_fragility._util.lazy import OnDemand
from pytest_fragility._util.seeds import derive_generator
from pytest_fragility._util.stopwatch import STATISTICS, spent_on
from pytest_fragility.checks.kind import PAIRS
from pytest_fragility.checks.registry import ASKED_AS, kind_of, plan_checks
from pytest_fragility.curves import (
    LEAST_SQUARES,
    NOISE,
    PARAMETER_COUNT,
    TEST_ERROR,
    Invariance,
    LadderCurves,
    LearningCurve,
    LearningCurves,
)
from pytest_fragility.curves.measure_noise import OwnNoise
from pytest_fragility.curves.resources import TRAINING
from pytest_fragility.evaluation.asking import begin, evaluate
from pytest_fragility.evaluation.same_function import SameFunctionValues
from pytest_fragility.families.family import Family
from pytest_fragility.measures.measure import Measure, is_constant, measure_form, measure_name
from pytest_fragility.networks.runs import TrainedRun
from pytest_fragility.perturbations import BASELINE


def learning_curves(
    measure: Measure,
    family: Family,
    *,
    alpha: float = 0.05,
    scale: str = "log",
    fit: str = LEAST_SQUARES,
    name: str | None = None,
    measure_timeout: float | None = None,
    ahead: bool = True,
) -> LearningCurves:
    """Return a measure's learning curves over a trained family, test error's beside them.

    The measure is called when a curve is first asked for, once per network; one that looks at no
    trained network, once per task, n and seed. The curves of a ladder come with the family's.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    family
        Trained networks.
    alpha
        Intervals have level ``1 - alpha``.
    scale
        ``"log"`` or ``"linear"``.
    fit
        How lines are fitted: ``least-squares``, ``theil-sen`` or ``repeated-medians``.
    name
        What reports call the measure; its ``__name__`` by default.
    measure_timeout
        Seconds that the measure may take for a network; None has no limit.
    ahead
        Whether an executor works out all recipes' curves once one of them is asked for, and workers
        of this machine may.

    Raises
    ------
    SettingsError
        If the measure has no usable name.
    MeasureError
        When a curve is asked for and the measure fails on one of its networks.
    """
    chosen_name = measure_name(measure, name)
    begun: dict[tuple[Family, str], Callable[[str], np.ndarray]] = {}

    def values(learned: Family, source: str) -> np.ndarray:
        if (learned, source) not in begun:
            recipes = learned.judged if ahead else [source]
            sources = list({_same_for_measure(measure, learned, each): None for each in recipes})
            waiting = begin(
                measure, chosen_name, learned, sources, scale=scale, timeout=measure_timeout
            )
            begun.update({(learned, each): waiting for each in sources})
        return begun[learned, source](source)

    @cache
    def curve_of(learned: Family, source: str) -> LearningCurve:
        found, seeds = values(learned, source), learned.seeds_of(source)
        return LearningCurve(
            chosen_name, source, learned.sizes, found, alpha, scale, fit, seeds=seeds
        )

    def curve(learned: Family, recipe: str) -> LearningCurve:
        return replace(
            curve_of(learned, _same_for_measure(measure, learned, recipe)), recipe=recipe
        )

    error = {recipe: _error_curve(family, recipe, alpha, fit) for recipe in family.judged}
    return LearningCurves(
        measure_name=chosen_name,
        task_name=family.task.name,
        device=family.device.type,
        form=measure_form(measure),
        test_size=family.test_size,
        recipes=family.descriptions,
        sizes=family.sizes,
        seeds=family.seeds_of(BASELINE) if BASELINE in family.recipes else family.seeds,
        alpha=alpha,
        scale=scale,
        fit=fit,
        measure=OnDemand("recipe", family.judged, lambda recipe: curve(family, recipe)),
        error=error,
        unfinished=_unfinished(family),
        constant=is_constant(measure),
        ladder=_ladder_curves(family, curve, alpha, fit),
        invariances=_invariances(
            measure, chosen_name, family, alpha=alpha, scale=scale, timeout=measure_timeout
        ),
        controls=control_curves(family, error),
        # once, also where these curves are joined with others over and over
        find_own_noise=cache(
            lambda: find_own_noise(
                measure, family, curve(family, BASELINE), timeout=measure_timeout
            )
        ),
        without_seeds=cache(
            lambda seeds: learning_curves(
                measure,
                family.without_seeds(seeds),
                alpha=alpha,
                scale=scale,
                fit=fit,
                name=name,
                measure_timeout=measure_timeout,
                ahead=ahead,
            )
        ),
        source=family.source,
        left_out=family.grid.left_out,
        incomplete=family.grid.incomplete,
    )


def _same_for_measure(measure: Measure, family: Family, recipe: str) -> str:
    """Return the first recipe under which the measure must have the same values as under this.

    A measure that looks at no trained network depends on the recipe by its architecture and its
    initialization alone.
    """
    if not is_constant(measure):
        return recipe

    def prior(name: str) -> tuple[Any, ...]:
        chosen, seeds = family.recipes[name], family.seeds_of(name)
        return chosen.architecture, chosen.initialization, chosen.initialization_scale, seeds

    return next(name for name in family.judged if prior(name) == prior(recipe))


def _ladder_curves(
    family: Family, curve: Callable[[Family, str], LearningCurve], alpha: float, fit: str
) -> LadderCurves | None:
    """Return the curves over the family's ladder, the measure's on demand."""
    if family.plan.ladder is None:
        return None
    # the audit's own task has its networks already
    rungs = {r.task.name: family if _is_same(r, family) else r for r in family.rungs}
    unfinished = {name: _unfinished(rung).get(BASELINE) for name, rung in rungs.items()}
    return LadderCurves(
        name=family.plan.ladder.name,
        measure=OnDemand("task", list(rungs), lambda name: curve(rungs[name], BASELINE)),
        error={name: _error_curve(rung, BASELINE, alpha, fit) for name, rung in rungs.items()},
        unfinished={
            **family.lost_rungs,
            **{name: reason for name, reason in unfinished.items() if reason},
        },
        left_out=family.ladder_notes,
    )


def _is_same(rung: Family, family: Family) -> bool:
    """Return whether a rung is what the family's baseline has learned."""
    return (
        rung.task is family.task
        and rung.sizes == family.sizes
        and rung.seeds_of(BASELINE) == family.seeds_of(BASELINE)
    )


def _invariances(
    measure: Measure,
    name: str,
    family: Family,
    *,
    alpha: float,
    scale: str,
    timeout: float | None,
) -> Mapping[str, Invariance | str]:
    """Return the values on networks with the same function, on demand, by the check's id."""
    kinds = [
        name
        for name, kind in ASKED_AS.items()
        if kind.rests_on == PAIRS and (family.equivalents or TRAINING not in kind.needs)
    ]
    checks = {check.id: check for check in plan_checks(kinds, [])}

    @cache
    def values() -> SameFunctionValues:
        return SameFunctionValues(measure, name, family, alpha=alpha, scale=scale, timeout=timeout)

    def compute(check_id: str) -> Invariance | str:
        check = checks[check_id]
        if TRAINING in kind_of(check).needs:
            return values().of_equivalence(check.change)
        return values().of_symmetry(check.change)

    return OnDemand("check", list(checks), compute)


@spent_on(STATISTICS)
def _error_curve(family: Family, recipe: str, alpha: float, fit: str) -> LearningCurve:
    seeds = family.seeds_of(recipe)
    runs = [[family.trained_run(recipe, n, seed) for seed in seeds] for n in family.sizes]
    errors = np.array([[run.record.test_error for run in row] for row in runs])
    mistaken = None
    if all(len(run.mistaken) for row in runs for run in row):
        mistaken = np.array([[run.mistaken.numpy() for run in row] for row in runs])
    return LearningCurve(
        "test error",
        recipe,
        family.sizes,
        errors,
        alpha,
        fit=fit,
        mistaken=mistaken,
        seeds=seeds,
        test_size=family.test_size,
    )


def _unfinished(family: Family) -> dict[str, str]:
    """Say, by recipe name, which trainings did not end as they should have."""
    reasons = {}
    for recipe in family.recipes:
        seeds = family.seeds_of(recipe)
        runs = [family.trained_run(recipe, n, seed) for n in family.sizes for seed in seeds]
        diverged = [run for run in runs if run.record.diverged]
        missed = [run for run in runs if not run.record.reached_target and not run.record.diverged]
        parts = []
        for found, what in ((diverged, "diverged"), (missed, "did not reach {0} within {1} steps")):
            if found:
                first = found[0].run
                stopping = first.recipe.stopping
                parts.append(
                    f"{len(found)} of {len(runs)} runs "
                    f"{what.format(stopping, stopping.step_limit)} "
                    f"(n={first.n}, seed {first.seed})"
                )
        if parts:
            reasons[recipe] = " and ".join(parts)
    return reasons


def control_curves(
    family: Family, error: Mapping[str, LearningCurve]
) -> Mapping[str, Mapping[str, LearningCurve]]:
    """Return the learning curves of the controls, by control and recipe.

    No network is built for them: they are read off the records, the shapes of the weights and the
    identities of the runs, so that they cost next to nothing.

    Parameters
    ----------
    family
        The networks.
    error
        Test error's curves by recipe name.
    """

    def test_error(recipe: str) -> LearningCurve:
        # the same test set on both sides of every comparison: its noise cancels
        return replace(error[recipe].on_this_test_set(), name=TEST_ERROR)

    def of_runs(name: str, value: Callable[[TrainedRun], float]) -> Mapping[str, LearningCurve]:
        def curve(recipe: str) -> LearningCurve:
            values = [
                [value(family.trained_run(recipe, n, seed)) for seed in family.seeds_of(recipe)]
                for n in family.sizes
            ]
            return replace(error[recipe].on_this_test_set(), name=name, values=np.array(values))

        return OnDemand("recipe", list(error), curve)

    return {
        TEST_ERROR: OnDemand("recipe", list(error), test_error),
        PARAMETER_COUNT: of_runs(PARAMETER_COUNT, _parameter_count),
        NOISE: of_runs(NOISE, _noise),
    }


def _parameter_count(trained: TrainedRun) -> float:
    return float(sum(weight.numel() for weight in trained.weights.values()))


def _noise(trained: TrainedRun) -> float:
    """Return a random number in (0, 1] that has nothing to do with the network."""
    return 1.0 - float(derive_generator("control", trained.run.identity).random())


def find_own_noise(
    measure: Measure, family: Family, curve: LearningCurve, *, timeout: float | None = None
) -> OwnNoise | None:
    """Return the noise of a measure's own randomness; None where it draws no random numbers.

    It is asked about the networks of the smallest size a second time, with other random numbers;
    where it says the same of all of them it draws none. Else it is asked about the whole curve.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    family
        Where the networks come from.
    curve
        The measure's, over this family.
    timeout
        Seconds that the measure may take for a network; None has no limit.

    Raises
    ------
    MeasureError
        If the measure fails.
    """
    name, recipe, scale = curve.name, curve.recipe, curve.scale
    ask = partial(evaluate, measure, name, family, recipe, scale=scale, draw=1, timeout=timeout)
    smallest = ask(sizes=family.sizes[:1])
    if (smallest == curve.values[:1]).all():
        return None
    again = ask()
    return OwnNoise.from_draws(curve, replace(curve, values=again))
