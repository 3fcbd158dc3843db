"""What all audits of a pytest session share: items are mapped to audits, findings to outcomes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fragility.auditing.engine import Engine, Request
from pytest_fragility.auditing.finding import require_kept
from pytest_fragility.auditing.from_settings import train_plans
from pytest_fragility.errors import (
    AuditFailure,
    FragilityError,
    SettingsError,
    StoreError,
    TaskError,
)
from pytest_fragility.plugin.asked import (
    AUDIT_KEY,
    asked_check,
    file_from,
    key_of,
    names_in_file,
    place_of,
)
from pytest_fragility.plugin.attempts import attempt_of
from pytest_fragility.plugin.baselines import compared_baseline
from pytest_fragility.plugin.command_line import (
    command_line_settings,
    dask_address,
    given_flags,
    ini_settings,
    table_to_audit,
    typed_settings,
)
from pytest_fragility.plugin.executors import require_dask_for
from pytest_fragility.plugin.hypothesis_tests import given_strategies
from pytest_fragility.plugin.mark import MARKER
from pytest_fragility.plugin.markers import MarkedAudit, read_marker
from pytest_fragility.plugin.tested_check import TestedCheck
from pytest_fragility.plugin.workers import is_worker
from pytest_fragility.settings import (
    DEFAULT_FOLDER,
    MANIFEST,
    TABLE,
    AuditSettings,
    require_use,
    resolve_settings,
)
from pytest_fragility.settings.naming import name_in_audit

if TYPE_CHECKING:
    from pytest_fragility.auditing.assertions import FragilityAsserts
    from pytest_fragility.baselines import Baseline
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.plan import FamilyPlan
    from pytest_fragility.families.train import Progress, TrainingBudget
    from pytest_fragility.parallel.futures import Executors


# the marker that was read last, and what it asks for
_READ_KEY = pytest.StashKey[tuple[pytest.Mark | None, MarkedAudit]]()


class FragilitySession:
    """What all audits of a session share.

    Parameters
    ----------
    config
        pytest's configuration.

    Raises
    ------
    SettingsError
        If an option on the command line or in the configuration file cannot be used, or a table
        that the command line names.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        root = {"cache_dir": config.rootpath / DEFAULT_FOLDER}
        self._layers = (command_line_settings(config), ini_settings(config), root)
        self.settings: AuditSettings = resolve_settings(*self._layers)
        if self._layers[0].get(MANIFEST):
            require_use(typed_settings(config), self.settings)
        self._running: pytest.Item | None = None
        self.training: tuple[int, int] | None = None
        require_dask_for(config)
        table = table_to_audit(config)
        if table:
            from pytest_fragility.settings.existing import known_table

            known_table(table)

    def audit_of(self, item: pytest.Item) -> MarkedAudit:
        """Return what a test's marker asks for; all checks of a test share one audit."""
        asked = asked_check(item)
        if asked:
            return asked.audit
        if AUDIT_KEY in item.stash:
            return item.stash[AUDIT_KEY]
        mark = item.get_closest_marker(MARKER)
        known = item.stash.get(_READ_KEY, None)
        if known is None or known[0] is not mark:
            audit = read_marker(mark, *self._layers, folder=item.path.parent)
            known = mark, self._below_rootdir(audit)
            item.stash[_READ_KEY] = known
        return known[1]

    def audit_of_column(self, column: str, table: Path) -> MarkedAudit:
        """Return the audit of a measure in a table that the command line names.

        Raises
        ------
        TableError
            If the table cannot be used, or has no such column.
        """
        # on the command line, an option that says what to train contradicts the table
        first, *others = self._layers
        settings = resolve_settings({**first, TABLE: table}, *others)
        require_use({**typed_settings(self._config), TABLE: table}, settings)
        return MarkedAudit(column, name_in_audit(column, None, settings), settings, {})

    def note(self, item: pytest.Item, *, takes_networks: bool = False) -> str:
        """Note what a selected test asks for, and return what the engine calls its audit.

        Parameters
        ----------
        item
            The test.
        takes_networks
            Whether it is of one's own design, and looks at networks itself.
        """
        place, audit = place_of(item), self.audit_of(item)
        key = place.key if place else key_of(item)
        checks = (audit.checks[place.check],) if place else ()
        needs = audit.own_needs if takes_networks else None
        self.engine.add(Request(key, audit.settings, audit.load, checks, needs))
        return key

    def trained_family(self, item: pytest.Item) -> Family:
        """Return the networks that a test of one's own design asks for."""
        audit = self.audit_of(item)
        if audit.settings.given is not None:
            return audit.settings.given.require_networks()
        key = self.note(item, takes_networks=True)
        return self.engine.family(key).with_recipes(audit.own_recipes)

    @cached_property
    def engine(self) -> Engine:
        """All audits of the session."""
        layers = (*self._layers, {"profile": "quick"})
        # of xdist's workers, each has some of the checks
        return Engine(self._train, layers, shares_checks=is_worker(self._config))

    def _train(
        self,
        plans: Sequence[FamilyPlan],
        settings: AuditSettings,
        *,
        budget: TrainingBudget | None = None,
    ) -> list[Family]:
        return train_plans(
            plans, settings, progress=self._progress, executors=self.executors, budget=budget
        )

    def _progress(self, done: int, total: int, share: float) -> None:
        self.training = done, total
        if self._shown_progress:
            self._shown_progress(done, total, share)

    @cached_property
    def _shown_progress(self) -> Progress | None:
        from pytest_fragility.plugin.progress import training_progress

        return training_progress(self._config)

    @cached_property
    def executors(self) -> Executors:
        """Who trains and measures in the place of this machine, if anybody does."""
        from pytest_fragility.plugin.executors import session_executors

        return session_executors(self._config, self.settings.executor_timeout)

    def require_cluster(self) -> None:
        """Connect to the cluster that the options name, if selected tests need networks.

        Raises
        ------
        pytest.UsageError
            If there is none; in an xdist worker, the tests say so.
        """
        is_asked = dask_address(self._config) and not is_worker(self._config)
        if is_asked and self.engine.trains:
            try:
                self.executors.open()
            except SettingsError as error:
                raise pytest.UsageError(f"fragility: {error}") from error

    @cached_property
    def asserts(self) -> FragilityAsserts:
        """The asserts of the session."""
        from pytest_fragility.auditing.assertions import FragilityAsserts

        return FragilityAsserts(self.settings, self.engine.families, lambda: self._settings_now)

    @property
    def _settings_now(self) -> AuditSettings:
        """Those of the running test's marker; the session's where it has none."""
        if self._running is None or not self._running.get_closest_marker(MARKER):
            return self.settings
        return self.audit_of(self._running).settings

    def starts(self, item: pytest.Item) -> None:
        """Note which test runs, and train ahead what its strategies can draw.

        Outside of any example, so that neither Hypothesis's deadline nor its health checks see
        how long that takes.
        """
        __tracebackhide__ = True
        self._running = item
        strategies = given_strategies(item)
        if not strategies:
            return
        from pytest_fragility.strategies.drawn_changes import lattice_of
        from pytest_fragility.strategies.networks import prepare, use_source

        use_source(self.engine.families)
        for strategy in strategies:
            prepare(strategy)
            lattice = lattice_of(strategy)
            if lattice and "fragility" in getattr(item, "fixturenames", ()):
                self.asserts.train_ahead(lattice)

    def run_check(self, item: pytest.Item) -> None:
        """Judge the check that a test stands for; what it found goes on the test's report.

        Raises
        ------
        AuditFailure
            If it is not kept.
        """
        __tracebackhide__ = True
        attempt_of(item).run(item, partial(self._judge, item))

    def _judge(self, item: pytest.Item) -> None:
        __tracebackhide__ = True
        audit, rerun = self.audit_of(item), self._rerun_command(item)
        try:
            tested = TestedCheck(item, audit, rerun, self._compared)
            verdict, curves = self.engine.finding(self.note(item), tested.check).get()
            tested.on_verdict(curves, verdict)
            require_kept(verdict, curves, rerun=rerun)
        except AuditFailure as failure:
            if not tested.worsening:
                raise
            raise type(failure)(f"{tested.worsening}\n\n{failure}", failure.verdict) from None
        except FragilityError as error:
            if error.__cause__ is None or isinstance(error, StoreError):
                # the message says all; a traceback would show the tool's own code
                raise error.with_traceback(None) from None
            raise

    @cached_property
    def _compared(self) -> tuple[str, Baseline] | None:
        """The baseline that checks are compared with, by name."""
        return compared_baseline(self._config)

    def _below_rootdir(self, audit: MarkedAudit) -> MarkedAudit:
        """Return the audit with its cache folder taken from the rootdir where it is relative."""
        cache_dir = audit.settings.cache_dir
        if cache_dir is None:
            return audit
        settings = replace(audit.settings, cache_dir=self._config.rootpath / cache_dir)
        return replace(audit, settings=settings)

    def _place_from_here(self, item: pytest.Item) -> str:
        file = file_from(item, self._config.invocation_params.dir)
        return "::".join([file, *names_in_file(item)])

    def _rerun_command(self, item: pytest.Item) -> str:
        rerun: Sequence[str] = getattr(item, "rerun_arguments", [self._place_from_here(item)])
        return shlex.join(["pytest", "--fragility", *given_flags(self._config), *rerun])


SESSION_KEY = pytest.StashKey[FragilitySession]()


def fragility_session(config: pytest.Config) -> FragilitySession:
    """Return the session's state, made on first use.

    Raises
    ------
    pytest.UsageError
        If an option cannot be used.
    """
    if SESSION_KEY not in config.stash:
        try:
            config.stash[SESSION_KEY] = FragilitySession(config)
        except (SettingsError, TaskError) as error:
            raise pytest.UsageError(f"fragility: {error}") from error
    return config.stash[SESSION_KEY]
