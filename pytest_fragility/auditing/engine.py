"""An audit from start to end, without pytest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_fragility.auditing.curves import curves_for_audit
from pytest_fragility.auditing.result import AuditResult
from pytest_fragility.checks.kind import AUDIT, SEARCH
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.errors import FragilityError
from pytest_fragility.settings import AuditSettings

if TYPE_CHECKING:
    from pytest_fragility.auditing.outcome import Outcome
    from pytest_fragility.auditing.search import Search
    from pytest_fragility.checks.check import Check
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.plan import FamilyPlan
    from pytest_fragility.families.train import Progress
    from pytest_fragility.measures.measure import Measure
    from pytest_fragility.parallel.futures import Executors

    pass
    pass


def train_family(
    settings: AuditSettings,
    *,
    progress: Progress | None = None,
    executors: Executors | None = None,
) -> Family:
    """Return the family that the settings ask for, trained or read from the store.

    Parameters
    ----------
    settings
        From `resolve_settings`.
    progress
        Called as ``progress(runs done, runs to train, share of the work done)``.
    executors
        Who else may train, and measure; None has all done on this machine.
    """
    return train_plans([settings.plan()], settings, progress=progress, executors=executors)[0]


def train_plans(
    plans: Sequence[FamilyPlan],
    settings: AuditSettings,
    *,
    progress: Progress | None = None,
    executors: Executors | None = None,
) -> list[Family]:
    """Return families on the device, and in the store, that the settings ask for."""
    from pytest_fragility.families.train import train_families
    from pytest_fragility.store import open_store
    from pytest_fragility.training.devices import choose_device

    store, device = open_store(settings.cache_dir), choose_device(settings.device)
    return train_families(plans, device=device, store=store, progress=progress, executors=executors)


def _audit(
    measure: Any,
    name: str,
    settings: AuditSettings,
    progress: Progress | None,
    executors: Executors | None,
) -> AuditResult:
    if settings.given is not None:
        curves = curves_for_audit(measure, settings.given, settings, name=name)
        return _judged(settings, curves, {})
    from pytest_fragility.auditing.growing_families import GrowingFamily
    from pytest_fragility.auditing.search import Search
    from pytest_fragility.families.train import TrainingBudget

    on_demand = GrowingFamily(
        settings,
        budget=TrainingBudget(settings.budget),
        progress=progress,
        executors=executors,
    )
    search = Search(measure, on_demand, name=name)
    located = {
        check.id: _located(check, search)
        for check in settings.checks
        if kind_of(check).rests_on == SEARCH
    }
    if settings.looks:
        return _audit_in_stages(measure, name, settings, located, progress, executors)
    family = train_family(settings, progress=progress, executors=executors)
    curves = curves_for_audit(measure, family, settings, name=name)
    return _judged(settings, curves, located)


def _located(check: Check, search: Search) -> Outcome:
    """Return what a search along one axis found, or what kept it from its end."""
    from pytest_fragility.auditing.breaking_points import locate
    from pytest_fragility.auditing.outcome import Outcome

    try:
        return Outcome(locate(check, search))
    except FragilityError as error:
        return Outcome(error=error)


def _judged(
    settings: AuditSettings, curves: LearningCurves, located: Mapping[str, Outcome]
) -> AuditResult:
    from pytest_fragility.auditing.outcome import Outcome
    from pytest_fragility.checks.registry import judge

    tolerances = settings.tolerances
    judged = {
        check.id: Outcome.of(partial(judge, check, curves, tolerances), check, curves, tolerances)
        for check in settings.checks
        if check.id not in located
    }
    return _result(settings, {**judged, **located}, curves)


def _result(
    settings: AuditSettings,
    outcomes: Mapping[str, Outcome],
    curves: LearningCurves,
    curves_of: Mapping[str, LearningCurves] | None = None,
) -> AuditResult:
    """Return verdicts and errors, in the order of the plan.

    Raises
    ------
    FragilityError
        What kept the first check from being judged, where no verdict is left that looks at the
        measure.
    """
    ordered = {check.id: outcomes[check.id] for check in settings.checks}
    errors = {name: each.error for name, each in ordered.items() if each.error}
    verdicts = tuple(each.verdict for each in ordered.values() if each.verdict)
    about_it = [v for v in verdicts if v.is_applicable and kind_of(v.check).about != AUDIT]
    if errors and not about_it:
        raise next(iter(errors.values()))
    return AuditResult(verdicts, curves, curves_of or {}, errors=errors)


def _audit_in_stages(
    measure: Measure,
    name: str,
    settings: AuditSettings,
    located: Mapping[str, Outcome],
    progress: Progress | None,
    executors: Executors | None,
) -> AuditResult:
    """Return what an audit found that trained as many seeds as each check needed."""
    from pytest_fragility.auditing.staged_seeds import StagedAudit, decide

    staged = StagedAudit(
        measure, name, settings, [check for check in settings.checks if check.id not in located]
    )
    decide(
        [staged],
        lambda plans: train_plans(plans, settings, progress=progress, executors=executors),
    )
    curves_of = {name: each.curves for name, each in staged.outcomes.items() if each.curves}
    widest = max(curves_of.values(), key=lambda curves: len(curves.recipes))
    return _result(settings, {**staged.outcomes, **located}, widest, curves_of)
