"""Trained families, and a measure's learning curves, as the settings of an audit ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pytest_fragility.checks.check import Needs
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.measured_family import MeasuredFamily
    from pytest_fragility.families.plan import FamilyPlan
    from pytest_fragility.families.train import Progress, TrainingBudget
    from pytest_fragility.parallel.futures import Executors
    from pytest_fragility.settings import AuditSettings


class Trainer(Protocol):
    """Trains families, on the device and in the store that settings ask for."""

    def __call__(
        self,
        plans: Sequence[FamilyPlan],
        settings: AuditSettings,
        *,
        budget: TrainingBudget | None = None,
    ) -> list[Family]:
        """Return one trained family per plan."""


def plan_of(settings: AuditSettings, needs: Needs) -> FamilyPlan:
    """Return the part of an audit's networks that is needed."""
    return settings.plan(
        list(needs.recipes),
        with_ladder=needs.with_ladder,
        with_equivalents=needs.with_equivalents,
    )


def train_plans(
    plans: Sequence[FamilyPlan],
    settings: AuditSettings,
    *,
    progress: Progress | None = None,
    executors: Executors | None = None,
    budget: TrainingBudget | None = None,
) -> list[Family]:
    """Return families on the device, and in the store, that the settings ask for.

    Parameters
    ----------
    plans
        The grids.
    settings
        From `resolve_settings`.
    progress
        Called as ``progress(runs done, runs to train, share of the work done)``.
    executors
        Who else may train, and measure; None has all done on this machine.
    budget
        Charged with what is to be trained; None has no limit.
    """
    from pytest_fragility.families.train import train_families
    from pytest_fragility.store import open_store
    from pytest_fragility.training.devices import choose_device

    return train_families(
        plans,
        device=choose_device(settings.device),
        store=open_store(settings.cache_dir),
        progress=progress,
        budget=budget,
        executors=executors,
    )


def train_family(settings: AuditSettings) -> Family:
    """Return the whole family that the settings ask for, trained or read from the store."""
    return train_plans([settings.plan()], settings)[0]


def curves_for_audit(
    measure: Any,
    family: Family | MeasuredFamily,
    settings: AuditSettings,
    *,
    name: str | None,
    alpha: float | None = None,
    ahead: bool = True,
) -> LearningCurves:
    """Return a measure's learning curves as an audit's settings ask for them.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`; of a table, the name of a column.
    family
        Trained networks, or a table's values.
    settings
        Of the audit.
    name
        What reports call the measure; None for its own name.
    alpha
        In the place of the settings' level.
    ahead
        As `learning_curves` takes it.
    """
    level = settings.alpha if alpha is None else alpha
    scale, fit = settings.scale, settings.fit
    known = family.known_curves(measure, name=name, alpha=level, scale=scale, fit=fit)
    if known is not None:
        return known
    # a table has no networks to ask about, and needs no torch
    from pytest_fragility.evaluation.measured_curves import learning_curves

    return learning_curves(
        measure,
        family.require_networks(),
        alpha=level,
        scale=scale,
        fit=fit,
        name=name,
        measure_timeout=settings.measure_timeout,
        ahead=ahead,
    )
