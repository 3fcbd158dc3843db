"""An audit from start to end, without pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility.checks.verdicts import KEPT
from pytest_fragility.curves import LearningCurve, LearningCurves
from pytest_fragility.measures.adapters import as_measure
from pytest_fragility.measures.measure import Measure, measure_form, measure_name
from pytest_fragility.report.records import Record, audit_context, check_record
from pytest_fragility.report.table import audit_table, overall_verdict
from pytest_fragility.settings import DEFAULT_FOLDER, AuditSettings, resolve_settings

if TYPE_CHECKING:
    from pytest_fragility.checks.verdicts import Verdict
    from pytest_fragility.families import Family, Progress
    from pytest_fragility.perturbations import Perturbation
    from pytest_fragility.recipes import Recipe
    from pytest_fragility.tasks import Task


class _CurvesOnDemand(Mapping[str, LearningCurve]):
    """Curves by recipe name, each computed when it is first asked for."""

    def __init__(self, recipes: list[str], compute: Callable[[str], LearningCurve]) -> None:
        self._recipes = recipes
        self._compute = compute
        self._known: dict[str, LearningCurve] = {}

    def __getitem__(self, recipe: str) -> LearningCurve:
        if recipe not in self._recipes:
            raise KeyError(f"no recipe {recipe!r}; there are {', '.join(self._recipes)}")
        if recipe not in self._known:
            self._known[recipe] = self._compute(recipe)
        return self._known[recipe]

    def __contains__(self, recipe: object) -> bool:
        return recipe in self._recipes

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)


def learning_curves(
    measure: Measure,
    family: Family,
    *,
    alpha: float = 0.05,
    scale: str = "log",
    name: str | None = None,
) -> LearningCurves:
    """Return a measure's learning curves over a trained family, test error's beside them.

    The measure is called when a curve is first asked for, once per network.

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
    name
        What reports call the measure; its ``__name__`` by default.

    Raises
    ------
    SettingsError
        If the measure has no usable name.
    MeasureError
        When a curve is asked for and the measure fails on one of its networks.
    """
    from pytest_fragility.measures.evaluation import evaluate

    chosen_name = measure_name(measure, name)

    def compute(recipe: str) -> LearningCurve:
        values = evaluate(measure, chosen_name, family, recipe, scale=scale)
        return LearningCurve(chosen_name, recipe, family.sizes, values, alpha, scale)

    return LearningCurves(
        measure_name=chosen_name,
        task_name=family.task.name,
        device=family.device.type,
        form=measure_form(measure),
        recipes={recipe: str(family.recipes[recipe]) for recipe in family.recipes},
        sizes=family.sizes,
        seeds=family.seeds,
        alpha=alpha,
        scale=scale,
        measure=_CurvesOnDemand(list(family.recipes), compute),
        error={recipe: _error_curve(family, recipe, alpha) for recipe in family.recipes},
        unfinished=_unfinished(family),
    )


def _error_curve(family: Family, recipe: str, alpha: float) -> LearningCurve:
    import numpy as np

    errors = [
        [family.trained_run(recipe, n, seed).record.test_error for seed in family.seeds]
        for n in family.sizes
    ]
    return LearningCurve("test error", recipe, family.sizes, np.array(errors), alpha)


def _unfinished(family: Family) -> dict[str, str]:
    """Say, by recipe name, which trainings did not end as they should have."""
    reasons = {}
    total = len(family.sizes) * len(family.seeds)
    for recipe in family.recipes:
        runs = [family.trained_run(recipe, n, s) for n in family.sizes for s in family.seeds]
        diverged = [run for run in runs if run.record.diverged]
        missed = [run for run in runs if not run.record.reached_target and not run.record.diverged]
        parts = []
        if diverged:
            first = diverged[0].run
            parts.append(
                f"{len(diverged)} of {total} runs diverged (n={first.n}, seed {first.seed})"
            )
        if missed:
            first, stopping = missed[0].run, missed[0].run.recipe.stopping
            parts.append(
                f"{len(missed)} of {total} runs did not reach {stopping} within "
                f"{stopping.step_limit} steps (n={first.n}, seed {first.seed})"
            )
        if parts:
            reasons[recipe] = " and ".join(parts)
    return reasons


@dataclass(frozen=True, eq=False)
class AuditResult:
    """What an audit found.

    Parameters
    ----------
    verdicts
        One per check, in the order of the plan.
    curves
        Learning curves that the verdicts rest on.
    """

    verdicts: tuple[Verdict, ...]
    curves: LearningCurves

    @property
    def verdict(self) -> str:
        """``broken`` if any check is, ``kept`` if all that apply are, else ``inconclusive``."""
        return overall_verdict(self.records)

    @property
    def passed(self) -> bool:
        """Whether every check that applies is kept."""
        return self.verdict == KEPT

    def __getitem__(self, check_id: str) -> Verdict:
        for verdict in self.verdicts:
            if verdict.check.id == check_id:
                return verdict
        raise KeyError(f"no check {check_id!r}; there are {[v.check.id for v in self.verdicts]}")

    @property
    def records(self) -> list[Record]:
        """One dict of plain JSON types per check, as test reports carry them."""
        return [check_record(self.curves, verdict) for verdict in self.verdicts]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types: what is common, then one dict per check."""
        context = audit_context(self.curves)
        checks = [
            {key: value for key, value in record.items() if key not in context}
            for record in self.records
        ]
        return {**context, "verdict": self.verdict, "checks": checks}

    def __str__(self) -> str:
        return audit_table(self.records)


def train_family(settings: AuditSettings, *, progress: Progress | None = None) -> Family:
    """Return the family that the settings ask for, trained or read from the store.

    Parameters
    ----------
    settings
        From `resolve_settings`.
    progress
        Called as ``progress(runs done, runs to train, share of the work done)``.
    """
    from pytest_fragility.families import train_families
    from pytest_fragility.store import Store
    from pytest_fragility.training.devices import choose_device

    store = None if settings.cache_dir is None else Store(settings.cache_dir)
    device = choose_device(settings.device)
    return train_families([settings.plan()], device=device, store=store, progress=progress)[0]


def audit(
    measure: Measure,
    *,
    name: str | None = None,
    task: Task | str | None = None,
    recipe: Recipe | None = None,
    sizes: Sequence[int] | None = None,
    seeds: int | Sequence[int] | None = None,
    perturbations: Sequence[str | Perturbation] | None = None,
    checks: str | Sequence[str] | None = None,
    trend: str | None = None,
    exponent_tolerance: float | None = None,
    spread_tolerance: float | None = None,
    error_margin: float | None = None,
    alpha: float | None = None,
    scale: str | None = None,
    profile: str | None = None,
    device: str | None = None,
    cache_dir: Path | str | None = DEFAULT_FOLDER,
    progress: Progress | None = None,
) -> AuditResult:
    """Audit a generalization measure for fragility.

    Everything but the measure has a default; None stands for it, but for ``cache_dir``.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork` that returns one real number.
    name
        What reports call the measure; its ``__name__`` by default.
    task
        What is learned: a `Task` or a name. Default: digits with 20 % random training labels.
    recipe
        The baseline.
    sizes
        Training set sizes, at least two.
    seeds
        A number of seeds, or a list of them; at least two.
    perturbations
        Names from the catalogue, or `Perturbation` objects.
    checks
        Of ``trend``, ``exponent`` and ``spread``; all by default.
    trend
        The slope that the baseline must show: ``error`` (test error's sign, the default),
        ``increasing`` or ``decreasing``.
    exponent_tolerance
        Largest change of the exponent beyond what test error's moved. Default: 0.1.
    spread_tolerance
        Largest change of the level beyond what test error's moved, in decades. Default: 0.1.
    error_margin
        Largest change of test error's exponent, and of its level in decades, under an admissible
        perturbation. Default: 0.1.
    alpha
        Every check errs with probability at most alpha. Default: 0.05.
    scale
        ``log`` (the default), or ``linear`` for values without a logarithm.
    profile
        ``quick``, ``standard`` (the default) or ``thorough``: sizes, seeds and perturbations that
        are not given.
    device
        ``auto`` (the default), ``cpu``, ``cuda`` or ``cuda:1``.
    cache_dir
        Where trained runs are kept; None keeps nothing.
    progress
        Called as ``progress(runs done, runs to train, share of the work done)`` while training.

    Returns
    -------
    AuditResult
        Verdicts with their evidence; ``print(result)`` shows a table.

    Raises
    ------
    SettingsError
        If an option's value cannot be used.
    TaskError
        If the data cannot be used.
    MeasureError
        If the measure fails on one of the networks.
    StoreError
        If the cache folder cannot be used.
    """
    from pytest_fragility.checks.judging import judge

    chosen_name = measure_name(measure, name)
    as_measure(measure)
    settings = resolve_settings(
        {
            "task": task,
            "recipe": recipe,
            "sizes": sizes,
            "seeds": seeds,
            "perturbations": perturbations,
            "checks": checks,
            "trend": trend,
            "exponent_tolerance": exponent_tolerance,
            "spread_tolerance": spread_tolerance,
            "error_margin": error_margin,
            "alpha": alpha,
            "scale": scale,
            "profile": profile,
            "device": device,
            "cache_dir": cache_dir,
        }
    )
    family = train_family(settings, progress=progress)
    curves = learning_curves(
        measure, family, alpha=settings.alpha, scale=settings.scale, name=chosen_name
    )
    verdicts = tuple(judge(check, curves, settings.tolerances) for check in settings.checks)
    return AuditResult(verdicts, curves)
