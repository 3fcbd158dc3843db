"""Audits that the command line asks for: tests without a test file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fragility._util.imports import load, require_module
from pytest_fragility._util.text import one_line
from pytest_fragility.errors import AuditFailure, FragilityError, StoreError
from pytest_fragility.plugin.asked import AUDIT_KEY, PLACE_KEY, CheckPlace
from pytest_fragility.plugin.command_line import table_to_audit, typed_value
from pytest_fragility.plugin.mark import MARKER
from pytest_fragility.plugin.markers import MarkedAudit
from pytest_fragility.plugin.session import fragility_session

if TYPE_CHECKING:
    from pytest_fragility.auditing.engine import Loaded

OPTION = "--fragility-measure"


def require_measure(place: str, config: pytest.Config) -> None:
    """Raise a SettingsError where ``module:function`` names no module; nothing is imported.

    With a table, where it has no column of this name.
    """
    table = table_to_audit(config)
    if table:
        fragility_session(config).audit_of_column(place, table)
    else:
        require_module(place, OPTION)


@dataclass(frozen=True, eq=False)
class NamedAudit(MarkedAudit):
    """The audit of a measure at ``module:function``, which is imported when it is asked about."""

    def load(self) -> Loaded:
        """Return the measure, and its name.

        Raises
        ------
        SettingsError
            If there is no such module or function.
        """
        place = str(self.measure)
        measure: Callable[..., Any] = load(place, OPTION)
        return measure, getattr(measure, "__name__", place.partition(":")[2])


class MeasureCollector(pytest.Collector):
    """The checks of one measure."""

    place: str

    def collect(self) -> Iterable[pytest.Item]:
        """Yield one item per check."""
        session, table = fragility_session(self.config), table_to_audit(self.config)
        place = self.place
        function, key, of_table = place.partition(":")[2], f"measure {place}", list[str]()
        audit: MarkedAudit = NamedAudit(place, place, session.settings, {})
        if table:
            audit = session.audit_of_column(place, table)
            function, key = place, f"{place} in {table.name}"
            # as it was typed, so that it can be typed again
            of_table = [f"--fragility-table={typed_value(self.config, 'table')}"]
        for check_id in audit.checks:
            item: MeasureItem = MeasureItem.from_parent(
                self, name=one_line(f"{function}[{check_id}]")
            )
            item.stash[AUDIT_KEY] = audit
            item.stash[PLACE_KEY] = CheckPlace(
                key, f"{self.nodeid}::{function}", check_id, check_id
            )
            arguments = _rerun_arguments(place, check_id, list(audit.checks))
            item.rerun_arguments = [*of_table, *arguments]
            item.add_marker(MARKER)
            yield item


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

    def runtest(self) -> None:
        """Run the check; a measure that cannot be imported says so before anything is trained."""
        self.stash[AUDIT_KEY].load()
        fragility_session(self.config).run_check(self)

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
