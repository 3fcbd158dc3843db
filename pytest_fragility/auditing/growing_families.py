"""Families that grow: a recipe is trained when it is first asked for."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_fragility._util.lazy import OnDemand
from pytest_fragility.auditing.from_settings import Trainer, curves_for_audit, train_plans
from pytest_fragility.errors import SettingsError
from pytest_fragility.families.family import Family
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import TrainingBudget
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import BASELINE, Perturbation
from pytest_fragility.settings import AuditSettings, resolve_settings

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurve, LearningCurves
    from pytest_fragility.measures.measure import Measure


class GrowingFamily:
    """A family with one task, its sizes and seeds, and whatever recipes are asked for.

    What has been trained is kept, here and in the store.

    Parameters
    ----------
    settings
        Give task, baseline, sizes, seeds, device and store.
    budget
        Charged with what is trained; None has no limit.
    train
        Trains families.

    Raises
    ------
    SettingsError
        If the settings name networks or values that exist already.
    """

    def __init__(
        self,
        settings: AuditSettings,
        *,
        budget: TrainingBudget | None = None,
        train: Trainer = train_plans,
    ) -> None:
        _require_nothing_given(settings)
        self.settings = settings
        self._train = train
        self._budget = budget
        self._families: dict[str, Family] = {}
        self._with_seeds: dict[tuple[int, ...], GrowingFamily] = {}
        # a measure need not be hashable
        self._baselines: list[tuple[Measure, LearningCurve]] = []

    def with_seeds(self, seeds: Iterable[int]) -> GrowingFamily:
        """Return a family of the same budget with other seeds, the same one each time."""
        chosen = tuple(seeds)
        if chosen not in self._with_seeds:
            settings = replace(self.settings, seeds=chosen)
            self._with_seeds[chosen] = GrowingFamily(
                settings, budget=self._budget, train=self._train
            )
        return self._with_seeds[chosen]

    def grow(self, perturbations: Iterable[Perturbation]) -> None:
        """Train, in one go, what is missing of the baseline and these perturbations.

        Raises
        ------
        BudgetError
            If the budget does not suffice; nothing is trained then.
        SettingsError
            If a perturbation has the name of another one that was asked for before.
        """
        recipes = {BASELINE: self.settings.recipe}
        recipes |= {each.name: each(self.settings.recipe) for each in perturbations}
        for name, family in self._families.items():
            if recipes.get(name, family.recipes[name]) != family.recipes[name]:
                raise SettingsError(
                    f"perturbation {name!r}: another change was trained under this name; give one "
                    "of them another name"
                )
        missing = {name: recipes[name] for name in recipes if name not in self._families}
        if not missing:
            return

        settings = self.settings
        plans = [
            FamilyPlan(settings.task, {name: recipe}, settings.sizes, settings.seeds)
            for name, recipe in missing.items()
        ]
        families = self._train(plans, settings, budget=self._budget)
        self._families |= dict(zip(missing, families, strict=True))

    def family(self, *perturbations: Perturbation) -> Family:
        """Return the trained family of the baseline and these perturbations."""
        self.grow(perturbations)
        names = [BASELINE, *(each.name for each in perturbations)]
        settings = self.settings
        recipes = {name: self._families[name].recipes[name] for name in names}
        plan = FamilyPlan(settings.task, recipes, settings.sizes, settings.seeds)
        trained = {
            (name, n, seed): self._families[name].trained_run(name, n, seed)
            for name in names
            for n in settings.sizes
            for seed in settings.seeds
        }
        baseline = self._families[BASELINE]
        executors, stacks = baseline.executors, baseline.stacks
        return Family(plan, trained, baseline.device, executors=executors, stacks=stacks)

    def network(self, perturbation: Perturbation | None, n: int, seed: int) -> TrainedNetwork:
        """Return one network; without a perturbation, of the baseline."""
        chosen = [] if perturbation is None else [perturbation]
        name = perturbation.name if perturbation else BASELINE
        self.grow(chosen)
        return self._families[name][self.settings.task.name, name, n, seed]

    def curves(
        self,
        measure: Measure,
        *perturbations: Perturbation,
        alpha: float | None = None,
        name: str | None = None,
    ) -> LearningCurves:
        """Return a measure's learning curves under the baseline and these perturbations.

        The measure is called when a curve is first asked for; on the baseline's networks, once.
        """
        level = self.settings.alpha if alpha is None else alpha
        curves = curves_for_audit(
            measure,
            self.family(*perturbations),
            self.settings,
            name=name,
            alpha=alpha,
            # the baseline's is known already where others were asked for
            ahead=self._baseline_of(measure) is None,
        )

        def curve(recipe: str) -> LearningCurve:
            if recipe != BASELINE:
                return curves.measure[recipe]
            found = self._baseline_of(measure)
            if found is None:
                found = curves.measure[BASELINE]
                self._baselines.append((measure, found))
            return replace(found, name=curves.measure_name, alpha=level)

        return replace(curves, measure=OnDemand("recipe", list(curves.measure), curve))

    def _baseline_of(self, measure: Measure) -> LearningCurve | None:
        return next((curve for each, curve in self._baselines if each is measure), None)


def _require_nothing_given(settings: AuditSettings) -> None:
    if settings.given is not None:
        raise SettingsError(
            f"networks are trained on demand here, and {settings.given.source or 'family='} names "
            "what exists already; leave it out"
        )


class FamilySource:
    """Growing families by what they are asked for: one for the same settings, one budget for all.

    The budget is that of the first settings; a smaller one counts beside it.

    Parameters
    ----------
    layers
        Settings that are taken where a request does not say; the first source first.
    train
        Trains families.
    """

    def __init__(self, *layers: Mapping[str, Any], train: Trainer = train_plans) -> None:
        self._layers = layers
        self._train = train
        self._known: dict[Hashable, GrowingFamily] = {}
        self._budgets: dict[int, TrainingBudget] = {}

    def family(self, options: Mapping[str, Any]) -> GrowingFamily:
        """Return the family with these settings, the same one each time.

        Parameters
        ----------
        options
            As `pytest_fragility.audit` takes them.

        Raises
        ------
        SettingsError
            If an option is unknown or its value cannot be used.
        """
        return self.family_of(resolve_settings(options, *self._layers))

    def family_of(self, settings: AuditSettings) -> GrowingFamily:
        """Return a family with settings that are resolved already, the same one for equal ones."""
        _require_nothing_given(settings)
        budget = self._budget_of(settings)
        key = budget, _what_counts(settings)
        if key not in self._known:
            self._known[key] = GrowingFamily(settings, budget=budget, train=self._train)
        return self._known[key]

    def _budget_of(self, settings: AuditSettings) -> TrainingBudget:
        if not self._budgets:
            self._budgets[settings.budget] = TrainingBudget(settings.budget)
        first = next(iter(self._budgets.values()))
        if settings.budget >= first.networks:
            return first
        if settings.budget not in self._budgets:
            self._budgets[settings.budget] = TrainingBudget(settings.budget, within=first)
        return self._budgets[settings.budget]


def _what_counts(settings: AuditSettings) -> Hashable:
    """Return what two families that grow have in common if they are one."""
    sizes = {name: change.size for name, change in settings.perturbations.items()}
    return (
        settings.task.name,
        settings.task.data.fingerprint,
        tuple(settings.recipes().items()),
        tuple(sizes.items()),
        settings.sizes,
        settings.seeds,
        settings.tolerances,
        settings.alpha,
        settings.scale,
        settings.fit,
        settings.device,
        settings.cache_dir,
        settings.measure_timeout,
    )
