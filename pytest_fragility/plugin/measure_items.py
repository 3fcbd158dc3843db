"""Audits that the command line asks for: tests without a test file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_fragility._util.imports import load, require_module
from pytest_fragility._util.text import one_line
from pytest_fragility.errors import AuditFailure, FragilityError, StoreError
from pytest_fragility.plugin.asked import PLACE_KEY, CheckPlace
from pytest_fragility.plugin.mark import MARKER
from pytest_fragility.plugin.markers import MarkedAudit
from pytest_fragility.plugin.options import table_to_audit, typed_value
from pytest_fragility.plugin.session import FragilitySession, fragility_session

OPTION = "--fragility-measure"


def load_measure(place: str) -> Callable[..., Any]:
    """Return the function at ``module:function``, or ``module:measure.bound_form``.

    Raises
    ------
    SettingsError
        If there is no such module or function.
    """
    measure: Callable[..., Any] = load(place, OPTION)
    return measure


def require_measure(place: str, config: pytest.Config) -> None:
    """Raise a SettingsError where ``module:function`` names no module; nothing is imported.

    With a table, where it has no column of this name.
    """
    table = table_to_audit(config)
    if table:
        fragility_session(config).audit_of_column(place, table)
    else:
        require_module(place, OPTION)


class MeasureCollector(pytest.Collector):
    """The checks of one measure."""

    place: str

    def collect(self) -> Iterable[pytest.Item]:
        """Yield one item per check."""
        checks = planned_audit(self.config, self.place).checks
        # as it was typed, so that it can be typed again
        table = typed_value(self.config, "table")
        for check_id in checks:
            function = self.place if table else self.place.partition(":")[2]
            item: MeasureItem = MeasureItem.from_parent(
                self, name=one_line(f"{function}[{check_id}]")
            )
            item.stash[PLACE_KEY] = CheckPlace(
                f"{self.place} in {Path(table).name}" if table else f"measure {self.place}",
                f"{self.nodeid}::{function}",
                check_id,
                check_id,
            )
            of_table = [f"--fragility-table={table}"] if table else []
            arguments = _rerun_arguments(self.place, check_id, list(checks))
            item.rerun_arguments = [*of_table, *arguments]
            item.add_marker(MARKER)
            yield item


def planned_audit(config: pytest.Config, place: str) -> MarkedAudit:
    """Return the audit of a measure that the command line names; it is not imported yet."""
    session, table = fragility_session(config), table_to_audit(config)
    if table:
        return session.audit_of_column(place, table)
    return session.audit_of_measure(load_later(place), place)


def load_later(place: str) -> Callable[..., Any]:
    """Return a measure that is imported when it is first called: collection stays free."""

    def measure(network: Any) -> Any:
        return load_measure(place)(network)

    return measure


def _rerun_arguments(place: str, check_id: str, all_ids: list[str]) -> list[str]:
    longer = [other for other in all_ids if check_id in other and other != check_id]
    selection = " and not ".join([check_id, *longer])
    return [f"--fragility-measure={place}", "-k", selection]


class MeasureItem(pytest.Item):
    """One check of a measure that the command line names."""

    rerun_arguments: list[str]

    @property
    def place(self) -> str:
        """``module:function``."""
        assert isinstance(self.parent, MeasureCollector)
        return self.parent.place

    def audit(self) -> MarkedAudit:
        """Return the audit, with the measure imported."""
        if table_to_audit(self.config):
            return planned_audit(self.config, self.place)
        measure = load_measure(self.place)
        return fragility_session(self.config).audit_of_measure(
            measure, getattr(measure, "__name__", self.place.partition(":")[2])
        )

    def runtest(self) -> None:
        """Run the check."""
        fragility_session(self.config).run_check(self, self.audit())

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show the audit's message alone; a crash keeps its traceback."""
        if isinstance(excinfo.value, AuditFailure | FragilityError):
            says_all = excinfo.value.__cause__ is None or isinstance(excinfo.value, StoreError)
            return f"{excinfo.value}" if says_all else super().repr_failure(excinfo)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return what the report's headline shows; a skipped test must have a line."""
        return self.path, 0, one_line(f"{self.place}[{self.stash[PLACE_KEY].check}]")


def collect_measures(session: pytest.Session, places: Iterable[str]) -> Iterator[pytest.Item]:
    """Yield the items of every measure that the command line names."""
    for place in places:
        table = table_to_audit(session.config)
        collector: MeasureCollector = MeasureCollector.from_parent(
            session, name=one_line(place), nodeid=one_line(table.name if table else place)
        )
        collector.place = place
        for item in collector.collect():
            assert isinstance(item, pytest.Item)
            yield item


def note_need(item: MeasureItem, session: FragilitySession) -> None:
    """Tell the session what it must train for an item; the measure is not imported yet."""
    audit = planned_audit(item.config, item.place)
    place = item.stash[PLACE_KEY]
    session.need(place.key, audit, place.check, item.audit)
