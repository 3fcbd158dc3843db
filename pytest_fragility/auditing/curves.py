"""A measure's learning curves, as the settings of an audit ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.measured_family import MeasuredFamily
    from pytest_fragility.measures.measure import Measure
    from pytest_fragility.settings import AuditSettings


def curves_for_audit(
    measure: Measure | str,
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
    from pytest_fragility.evaluation.learning_curves import learning_curves

    assert not isinstance(measure, str)
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
