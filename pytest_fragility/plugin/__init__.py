"""The pytest plugin: hooks and fixtures, which translate and call.

It is imported on every pytest run where the package is installed, so that everything else is
imported where it is needed. What an audit does is for `auditing` to say: a session maps tests to
audits, and what was found to pytest's outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fragility.plugin import hookspecs
from pytest_fragility.plugin.command_line import (
    add_options,
    is_enabled,
    is_init_command,
    is_store_command,
    measures_to_audit,
    shows_durations,
    table_to_audit,
)
from pytest_fragility.plugin.hypothesis_tests import given_strategies
from pytest_fragility.plugin.mark import MARKER, heeds_marks, install_mark, marker_help
from pytest_fragility.plugin.workers import is_controller, is_worker, share_of_worker

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_fragility.auditing.assertions import FragilityAsserts
    from pytest_fragility.curves import LearningCurves
    from pytest_fragility.families.family import Family
    from pytest_fragility.plugin.markers import MarkedAudit
    from pytest_fragility.settings import AuditSettings

SKIP_REASON = "a fragility audit: run pytest with --fragility"

# before any conftest.py is read
install_mark()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Offer the hook that says who trains and measures."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register options and ini values."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; check the options where audits are to run."""
    config.addinivalue_line("markers", marker_help())
    _offer_hypothesis_profile(config)
    _divide_machine(config)
    if shows_durations(config):
        from pytest_fragility.plugin.summary import DurationsSummary

        config.pluginmanager.register(DurationsSummary(config), "fragility-durations")
    if not is_enabled(config):
        return
    from pytest_fragility.errors import SettingsError
    from pytest_fragility.plugin.judged import JudgedTests
    from pytest_fragility.plugin.measure_items import require_measure
    from pytest_fragility.plugin.session import fragility_session
    from pytest_fragility.plugin.summary import InterruptionNote

    fragility_session(config)
    _register_reports(config)
    config.pluginmanager.register(InterruptionNote(config), "fragility-interruption")
    config.pluginmanager.register(JudgedTests(), "fragility-judged")
    try:
        for place in measures_to_audit(config):
            require_measure(place, config)
    except SettingsError as error:
        raise pytest.UsageError(f"fragility: {error}") from error


def _register_reports(config: pytest.Config) -> None:
    """Register what gathers the reports of checks, and passes them on."""
    from pytest_fragility.errors import SettingsError
    from pytest_fragility.plugin.baselines import BaselineKeeper, uses_baselines
    from pytest_fragility.plugin.ci import GitHubOutput, JunitProperties, runs_on_github
    from pytest_fragility.plugin.gathering import Gathering
    from pytest_fragility.plugin.report_folder import register_report_folder
    from pytest_fragility.plugin.starter import StarterHint
    from pytest_fragility.plugin.summary import Summary
    from pytest_fragility.plugin.terminal import HarmlessFailures

    plugins = config.pluginmanager
    gathering = Gathering()
    plugins.register(HarmlessFailures(), "fragility-harmless")
    plugins.register(gathering, "fragility-gathering")
    plugins.register(Summary(gathering), "fragility-summary")
    register_report_folder(config, gathering)
    plugins.register(StarterHint(config), "fragility-starter")
    if is_worker(config):
        return
    if config.getoption("xmlpath", None):
        plugins.register(JunitProperties(gathering), "fragility-junit")
    if uses_baselines(config):
        try:
            plugins.register(BaselineKeeper(config, gathering), "fragility-baselines")
        except SettingsError as error:
            raise pytest.UsageError(f"fragility: {error}") from error
    if runs_on_github():
        plugins.register(GitHubOutput(config, gathering), "fragility-github")


def _divide_machine(config: pytest.Config) -> None:
    """Have workers of pytest-xdist keep to their shares, and the controller hand these out."""
    if is_worker(config):
        from pytest_fragility.parallel.cores import sharing

        shared = ExitStack()
        shared.enter_context(sharing(share_of_worker(config)))
        config.add_cleanup(shared.close)
    elif is_controller(config):
        from pytest_fragility.plugin.xdist import Controller

        config.pluginmanager.register(Controller(config), "fragility-controller")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> pytest.ExitCode | None:
    """Manage the trained runs or write a starter, in the place of running tests."""
    from pytest_fragility.plugin.idle_options import refuse_idle_options

    refuse_idle_options(config)
    if is_init_command(config):
        from pytest_fragility.plugin.starter import write_starter

        return write_starter(config)
    if not is_store_command(config):
        return None
    from pytest_fragility.plugin.store_command import run_store_command

    return run_store_command(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what audits will use; silent where none run."""
    if not is_enabled(config):
        return None
    from pytest_fragility._util.text import one_line
    from pytest_fragility.plugin.session import fragility_session

    settings = fragility_session(config).settings
    table = table_to_audit(config)
    source = "" if settings.given is None else settings.given.source
    if table or source:
        source = f"values from {table.name}" if table else source
        return f"fragility: {one_line(source)}, alpha {settings.alpha:g}, nothing is trained"
    return (
        f"fragility: profile {settings.profile}, {_seeds(settings)}, "
        f"device {settings.device}, alpha {settings.alpha:g}, "
        f"cache {one_line(str(settings.cache_dir))}"
    )


def _seeds(settings: AuditSettings) -> str:
    looks = settings.looks
    return f"{looks[0]} to {looks[-1]} seeds" if looks else f"{len(settings.seeds)} seeds"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per check of a marked test that takes the ``check`` fixture."""
    mark = metafunc.definition.get_closest_marker(MARKER)
    if mark is None:
        return
    from pytest_fragility.errors import AuditFailure
    from pytest_fragility.plugin.asked import AskedCheck
    from pytest_fragility.plugin.taken_fixtures import require_free_check, takes_own

    audit, reasons = _audit_and_reasons(metafunc.definition)
    if "check" not in metafunc.fixturenames:
        return
    if audit.measure is None:
        if takes_own(metafunc.definition, "check"):
            pytest.fail("@pytest.mark.fragility: the check fixture needs a measure", pytrace=False)
        return
    require_free_check(metafunc)
    marks = {
        check_id: pytest.mark.xfail(reason=reason, strict=True, raises=AuditFailure)
        for check_id, reason in reasons.items()
        if heeds_marks(metafunc.config)
    }
    metafunc.parametrize(
        "check",
        [
            pytest.param(AskedCheck(audit, check_id), id=check_id, marks=marks.get(check_id, ()))
            for check_id in audit.checks
        ],
        indirect=True,
    )


def _audit_and_reasons(item: pytest.Item) -> tuple[MarkedAudit, Mapping[str, str]]:
    """Return what a test's marker asks for, and which failures it expects.

    Raises
    ------
    pytest.fail.Exception
        If the marker cannot be used.
    """
    from pytest_fragility.errors import SettingsError, TaskError
    from pytest_fragility.plugin.markers import require_one_marker
    from pytest_fragility.plugin.session import fragility_session

    try:
        require_one_marker(item)
        audit = fragility_session(item.config).audit_of(item)
        return audit, audit.xfail_reasons
    except (SettingsError, TaskError, pytest.UsageError) as error:
        raise pytest.fail.Exception(f"@pytest.mark.fragility: {error}", pytrace=False) from None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse marked tests that nothing would judge, whatever collects them."""
    report = yield
    marked = [
        node
        for node in report.result or ()
        if isinstance(node, pytest.Item) and node.get_closest_marker(MARKER)
    ]
    if report.passed and marked:
        from pytest_fragility.plugin.taken_fixtures import require_own_ids, require_usable

        try:
            require_own_ids(marked)
            for item in marked:
                require_usable(item, _audit_and_reasons(item)[0])
        except pytest.fail.Exception as error:
            report.outcome, report.longrepr = "failed", str(error)
    return report


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect no files where the command line names measures and no files."""
    named = config.getoption("fragility_measure") or config.getoption("fragility_table")
    names_measures = is_enabled(config) and named
    names_files = config.args_source is pytest.Config.ArgsSource.ARGS
    return True if names_measures and not names_files else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the command line's measures."""
    if not is_enabled(config):
        return
    from pytest_fragility.plugin.hypothesis_tests import LASTING, let_fixtures_last, lift_deadline

    for item in items:
        takes_networks = bool(LASTING & set(getattr(item, "fixturenames", ())))
        if takes_networks or item.get_closest_marker(MARKER):
            lift_deadline(item)
        if takes_networks:
            let_fixtures_last(item)
    places = measures_to_audit(config)
    if places:
        from pytest_fragility.plugin.measure_items import collect_measures

        items += collect_measures(session, places)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which networks the selected tests need, so that all are trained together."""
    if not is_enabled(session.config):
        return
    from pytest_fragility.plugin.asked import place_of
    from pytest_fragility.plugin.hypothesis_tests import LASTING
    from pytest_fragility.plugin.session import fragility_session

    state = fragility_session(session.config)
    for item in session.items:
        fixtures = item.fixturenames if isinstance(item, pytest.Function) else ()
        used = {"check", *LASTING} & set(fixtures)
        if (used or place_of(item)) and not _is_skipped(item):
            # a check that is not ours says nothing of networks
            takes_networks = bool(LASTING & used) or place_of(item) is None
            state.note(item, takes_networks=takes_networks)
    if not session.config.option.collectonly:
        state.require_cluster()


def _offer_hypothesis_profile(config: pytest.Config) -> None:
    """Register the settings profile, where the command line names it."""
    if config.getoption("--hypothesis-profile", None) == "fragility":
        import_module("pytest_fragility.strategies")


@pytest.hookimpl(tryfirst=True, specname="pytest_runtest_setup")
def pytest_skip_audit(item: pytest.Item) -> None:
    """Skip an audit where none is to run; markers that skip are heeded by a plugin that may lack.

    Raises
    ------
    pytest.skip.Exception
        It says how to run it.
    """
    if not is_enabled(item.config) and item.get_closest_marker(MARKER):
        raise pytest.skip.Exception(SKIP_REASON, _use_item_location=True)


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Train ahead what a property-based test can draw; refuse what was marked after collection."""
    if is_enabled(item.config) and item.get_closest_marker(MARKER):
        from pytest_fragility.plugin.taken_fixtures import require_usable

        require_usable(item, _audit_and_reasons(item)[0])
    draws_networks = bool(given_strategies(item))
    if (is_enabled(item.config) or draws_networks) and not _is_skipped(item):
        from pytest_fragility.plugin.session import fragility_session

        fragility_session(item.config).starts(item)


def _is_skipped(item: pytest.Item) -> bool:
    """Return whether a test is known not to run, so that nothing need be trained for it."""
    conditions = [condition for mark in item.iter_markers("skipif") for condition in mark.args]
    is_marked = bool(item.get_closest_marker("skip")) or True in conditions
    return is_marked and heeds_marks(item.config)


def _require_enabled(request: pytest.FixtureRequest) -> None:
    if not is_enabled(request.config):
        pytest.skip(SKIP_REASON)


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Callable[[], None]:
    """One check of the measure that ``@pytest.mark.fragility`` names: call it to assert it."""
    from pytest_fragility.plugin.asked import asked_check
    from pytest_fragility.plugin.session import fragility_session

    item = request.node
    asked = asked_check(item)
    if asked is None:
        needed = "@pytest.mark.fragility(measure) on the test's function, class or module"
        pytest.fail(f"the check fixture needs {needed}", pytrace=False)
    _require_enabled(request)
    session = fragility_session(request.config)

    def run() -> None:
        __tracebackhide__ = True
        session.run_check(item)

    return run


@pytest.fixture
def trained_family(request: pytest.FixtureRequest) -> Family:
    """The family that the test's marker asks for, trained or read from the store."""
    _require_enabled(request)
    from pytest_fragility.plugin.session import fragility_session

    return fragility_session(request.config).trained_family(request.node)


@pytest.fixture
def learning_curves(
    request: pytest.FixtureRequest, trained_family: Family
) -> Callable[..., LearningCurves]:
    """A callable: measure -> its learning curves over the trained family."""
    from pytest_fragility.auditing.from_settings import curves_for_audit
    from pytest_fragility.plugin.session import fragility_session

    settings = fragility_session(request.config).audit_of(request.node).settings

    def curves(measure: Callable[..., Any], *, name: str | None = None) -> LearningCurves:
        return curves_for_audit(measure, trained_family, settings, name=name)

    return curves


@pytest.fixture(scope="session")
def fragility(request: pytest.FixtureRequest) -> FragilityAsserts:
    """The session's settings, and the asserts that the checks use."""
    from pytest_fragility.plugin.session import fragility_session

    return fragility_session(request.config).asserts
