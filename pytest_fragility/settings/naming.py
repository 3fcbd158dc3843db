"""What reports call the measure of an audit."""

from __future__ import annotations

from typing import Any

from pytest_fragility._util.validation import require_name
from pytest_fragility.errors import SettingsError
from pytest_fragility.measures.adapters import as_measure
from pytest_fragility.measures.measure import measure_name
from pytest_fragility.settings.audit_settings import AuditSettings


def name_in_audit(measure: Any, name: str | None, settings: AuditSettings) -> str:
    """Return what reports call a measure, or a table's column.

    Parameters
    ----------
    measure
        A function; the name of a column where the settings name a table.
    name
        The given name; None where there is none.
    settings
        Of the audit.

    Raises
    ------
    SettingsError
        If it is no measure, or the table has no such column.
    """
    column = None if settings.given is None else settings.given.column(measure)
    if column is None:
        chosen = measure_name(measure, name)
        as_measure(measure)
        return chosen
    chosen = column if name is None else name
    require_name(chosen, "measure", SettingsError)
    return chosen
