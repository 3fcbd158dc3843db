"""The state of a pytest session: planned audits, trained families, curves."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fragility.checks.check import Needs
from pytest_fragility.checks.kind import SEARCH
from pytest_fragility.checks.registry import kind_of
from pytest_fragility.errors import (
    AuditFailure,
    FragilityError,
    SettingsError,
    StoreError,
    TaskError,
)
from pytest_fragility.plugin.asked import asked_check, file_from, names_in_file, place_of
from pytest_fragility.plugin.attempts import attempt_of
from pytest_fragility.plugin.baselines import compared_baseline
from pytest_fragility.plugin.executors import require_dask_for
from pytest_fragility.plugin.hypothesis_tests import given_strategies
from pytest_fragility.plugin.mark import MARKER
from pytest_fragility.plugin.markers import MarkedAudit, read_marker
from pytest_fragility.plugin.options import (
    command_line_settings,
    dask_address,
    given_flags,
    ini_settings,
    table_to_audit,
    typed_settings,
)
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
    from pytest_fragility.auditing.growing_families import FamilySource
    from pytest_fragility.auditing.outcome import Outcome
    from pytest_fragility.auditing.search import Search
    from pytest_fragility.auditing.staged_seeds import StagedAudit
    from pytest_fragility.baselines import Baseline
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.families.family import Family
    from pytest_fragility.families.plan import FamilyPlan
    from pytest_fragility.families.train import Progress
    from pytest_fragility.parallel.futures import Executors


@dataclass
class _Staged:
    """An audit that trains seeds as they are needed, and the selected tests' checks."""

    load: Callable[[], MarkedAudit]
    check_ids: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Failure:
    """Why an audit has no networks; each of its tests raises it again."""

    error: Exception
    traceback: TracebackType | None

    def again(self) -> Exception:
        """Return the error as it was first raised: each further raising would make it longer."""
        return self.error.with_traceback(self.traceback)


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
        If an option on the command line or in the configuration file cannot be used.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        root = {"cache_dir": config.rootpath / DEFAULT_FOLDER}
        self._layers = (command_line_settings(config), ini_settings(config), root)
        self._needed: dict[str, tuple[MarkedAudit, Needs]] = {}
        self._staged: dict[str, _Staged] = {}
        self._outcomes: dict[str, StagedAudit] = {}
        self._families: dict[str, Family] = {}
        self._failures: dict[str, _Failure] = {}
        self._trains_together = True
        self._curves: dict[str, LearningCurves] = {}
        self._searches: dict[str, Search] = {}
        self.settings: AuditSettings = resolve_settings(*self._layers)
        if self._layers[0].get(MANIFEST):
            require_use(typed_settings(config), self.settings)
        self._running: pytest.Item | None = None
        self.training: tuple[int, int] | None = None
        require_dask_for(config)
        self._require_table(table_to_audit(config))

    def _require_table(self, table: Path | None) -> None:
        """Raise a TableError where the command line names a table that cannot be used."""
        if table:
            from pytest_fragility.settings.existing import known_table

            known_table(table)

    def read(self, mark: pytest.Mark | None, folder: Path) -> MarkedAudit:
        """Return what a marker asks for; the folder is that of the test's file."""
        return self._below_rootdir(read_marker(mark, *self._layers, folder=folder))

    def audit_of(self, item: pytest.Item) -> MarkedAudit:
        """Return what a test's marker asks for; all checks of a test share one audit."""
        asked = asked_check(item)
        if asked:
            return asked.audit
        mark = item.get_closest_marker(MARKER)
        known = item.stash.get(_READ_KEY, None)
        if known is None or known[0] is not mark:
            known = mark, self.read(mark, item.path.parent)
            item.stash[_READ_KEY] = known
        return known[1]

    def audit_of_measure(self, measure: Callable[..., Any], name: str) -> MarkedAudit:
        """Return the audit of a measure that the command line names."""
        return MarkedAudit(measure, name, self.settings, {})

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

    def need(
        self,
        key: str,
        audit: MarkedAudit,
        check_id: str | None,
        load: Callable[[], MarkedAudit] | None = None,
    ) -> None:
        """Note that a selected test needs the networks of a check.

        Parameters
        ----------
        key
            What the session calls the audit.
        audit
            What is asked.
        check_id
            None stands for all checks.
        load
            Returns the audit with its measure, where that is imported only when it is needed.
        """
        if check_id is not None and audit.stages(check_id):
            staged = self._staged.setdefault(key, _Staged(load or (lambda: audit)))
            staged.check_ids.add(check_id)
            return
        if audit.settings.given is not None:
            return
        needs = audit.needs_of(check_id)
        _, known = self._needed.get(key, (audit, needs))
        self._needed[key] = (audit, known | needs)

    def knows(self, key: str) -> bool:
        """Return whether some selected test has asked for this audit's networks."""
        return key in self._needed

    def family(self, key: str) -> Family:
        """Return the family of an audit; the first call trains what all selected tests need.

        Where that fails, each audit is trained for itself, so that one that cannot be does not
        take the others along; its exception is raised again for each of its tests.
        """
        if key in self._failures:
            raise self._failures[key].again()
        if key not in self._families:
            waiting = [other for other in self._needed if other not in self._families]
            try:
                self._train_waiting(waiting if self._trains_together else [key])
            except Exception as error:
                if not self._trains_together or waiting == [key]:
                    self._failures[key] = _Failure(error, error.__traceback__)
                    raise
                self._trains_together = False
                return self.family(key)
        return self._families[key]

    def curves(self, key: str, audit: MarkedAudit) -> LearningCurves:
        """Return the learning curves of an audit's measure."""
        if key not in self._curves:
            from pytest_fragility.auditing.curves import curves_for_audit

            if audit.measure is None:
                raise SettingsError(
                    "the check fixture needs a measure: @pytest.mark.fragility(measure)"
                )
            given = audit.settings.given
            self._curves[key] = curves_for_audit(
                audit.measure,
                self.family(key) if given is None else given,
                audit.settings,
                name=audit.name,
                # of xdist's workers, each has some of the checks
                ahead=not hasattr(self._config, "workerinput"),
            )
        return self._curves[key]

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
        is_needed = bool(self._needed or self._staged)
        if is_needed and dask_address(self._config) and not hasattr(self._config, "workerinput"):
            try:
                self.executors.open()
            except SettingsError as error:
                raise pytest.UsageError(f"fragility: {error}") from error

    @cached_property
    def families(self) -> FamilySource:
        """Where property-based tests have networks trained on demand."""
        from pytest_fragility.auditing.growing_families import FamilySource

        return FamilySource(
            *self._layers,
            {"profile": "quick"},
            progress=self._progress,
            executors=self.executors,
        )

    @cached_property
    def asserts(self) -> FragilityAsserts:
        """The asserts of the session."""
        from pytest_fragility.auditing.assertions import FragilityAsserts

        return FragilityAsserts(self.settings, self.families, lambda: self._settings_now)

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
        from pytest_fragility.strategies.networks import use_source
        from pytest_fragility.strategies.train_ahead import lattice_of, prepare

        use_source(self.families)
        for strategy in strategies:
            prepare(strategy)
            lattice = lattice_of(strategy)
            if lattice and "fragility" in getattr(item, "fixturenames", ()):
                self.asserts.train_ahead(lattice)

    def run_check(self, item: pytest.Item, audit: MarkedAudit) -> None:
        """Judge the check that a test stands for; what it found goes on the test's report.

        Raises
        ------
        AuditFailure
            If it is not kept.
        """
        __tracebackhide__ = True
        attempt_of(item).run(item, partial(self._judge, item, audit))

    def _judge(self, item: pytest.Item, audit: MarkedAudit) -> None:
        __tracebackhide__ = True
        from pytest_fragility.auditing.assertions import assert_kept, require_kept

        place = place_of(item)
        assert place
        key, check_id = place.key, place.check
        chosen = audit.checks[check_id]
        rerun = self._rerun_command(item)
        try:
            tested = TestedCheck(item, place, audit, chosen, rerun, self._compared)
            on_verdict = tested.on_verdict
            if kind_of(chosen).rests_on == SEARCH:
                from pytest_fragility.auditing.breaking_points import locate

                on_verdict(self.curves(key, audit), locate(chosen, self._search(key, audit)))
                return
            if audit.stages(check_id):
                verdict, curves = self._outcome(key, check_id).get()
                require_kept(verdict, curves, rerun=rerun, on_verdict=on_verdict)
                return
            assert_kept(
                chosen,
                self.curves(key, audit),
                audit.settings.tolerances,
                rerun=rerun,
                on_verdict=on_verdict,
            )
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

    def _search(self, key: str, audit: MarkedAudit) -> Search:
        """Return the search for an audit's breaking points, one for all its axes."""
        from pytest_fragility.auditing.search import Search

        if key not in self._searches:
            assert audit.measure is not None and not isinstance(audit.measure, str)
            family = self.families.family_of(audit.settings)
            self._searches[key] = Search(audit.measure, family, name=audit.name)
        return self._searches[key]

    def _outcome(self, key: str, check_id: str) -> Outcome:
        """Return what looks at growing numbers of seeds found; the first call does them all.

        Where that fails, each audit is looked at for itself. So it is in workers, each of which
        would otherwise ask all measures about all networks.
        """
        if key in self._failures:
            raise self._failures[key].again()
        if key not in self._outcomes:
            waiting = [other for other in self._staged if other not in self._outcomes]
            if not self._trains_together or is_worker(self._config):
                waiting = [key]
            try:
                self._look_at(waiting)
            except Exception as error:
                if waiting == [key]:
                    self._failures[key] = _Failure(error, error.__traceback__)
                    raise
                self._trains_together = False
                return self._outcome(key, check_id)
        return self._outcomes[key].outcomes[check_id]

    def _look_at(self, keys: Sequence[str]) -> None:
        """Look at audits, those of one store and device together."""
        from pytest_fragility.auditing.staged_seeds import StagedAudit, decide

        loaded = {key: self._staged[key].load() for key in keys}
        for place in self._places(loaded.values()):
            audits = {}
            for key, audit in loaded.items():
                if _place(audit) == place and callable(audit.measure):
                    chosen = self._staged[key].check_ids
                    checks = [check for name, check in audit.checks.items() if name in chosen]
                    audits[key] = StagedAudit(
                        audit.measure, audit.name or "", audit.settings, checks
                    )
            decide(list(audits.values()), partial(self._train, *place))
            self._outcomes |= audits

    def _train_waiting(self, waiting: Sequence[str]) -> None:
        """Train what these audits need, in one go per store and device."""
        needs = {key: self._needed[key] for key in waiting}
        for place in self._places(audit for audit, _ in needs.values()):
            keys = [key for key, (audit, _) in needs.items() if _place(audit) == place]
            families = self._train(*place, [_plan(*needs[key]) for key in keys])
            self._families |= dict(zip(keys, families, strict=True))

    def _places(self, audits: Iterable[MarkedAudit]) -> list[tuple[str, Path | None]]:
        return sorted({_place(audit) for audit in audits}, key=str)

    def _train(
        self, device: str, cache_dir: Path | None, plans: Sequence[FamilyPlan]
    ) -> list[Family]:
        from pytest_fragility.families.train import train_families
        from pytest_fragility.store import open_store
        from pytest_fragility.training.devices import choose_device

        return train_families(
            plans,
            device=choose_device(device),
            store=open_store(cache_dir),
            progress=self._progress(),
            executors=self.executors,
        )

    def _below_rootdir(self, audit: MarkedAudit) -> MarkedAudit:
        """Return the audit with its cache folder taken from the rootdir where it is relative."""
        cache_dir = audit.settings.cache_dir
        if cache_dir is None:
            return audit
        settings = replace(audit.settings, cache_dir=self._config.rootpath / cache_dir)
        return replace(audit, settings=settings)

    def _progress(self) -> Progress:
        from pytest_fragility.plugin.progress import training_progress

        shown = training_progress(self._config)

        def progress(done: int, total: int, share: float) -> None:
            self.training = done, total
            if shown:
                shown(done, total, share)

        return progress

    def _place_from_here(self, item: pytest.Item) -> str:
        file = file_from(item, self._config.invocation_params.dir)
        return "::".join([file, *names_in_file(item)])

    def _rerun_command(self, item: pytest.Item) -> str:
        rerun: Sequence[str] = getattr(item, "rerun_arguments", [self._place_from_here(item)])
        return shlex.join(["pytest", "--fragility", *given_flags(self._config), *rerun])


def _place(audit: MarkedAudit) -> tuple[str, Path | None]:
    """Return where an audit's networks are trained and kept."""
    return audit.settings.device, audit.settings.cache_dir


def _plan(audit: MarkedAudit, needs: Needs) -> FamilyPlan:
    return audit.settings.plan(
        list(needs.recipes),
        with_ladder=needs.with_ladder,
        with_equivalents=needs.with_equivalents,
    )


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
