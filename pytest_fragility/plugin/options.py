"""Command-line options and their ini twins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_fragility.plugin.baselines import add_baseline_options, baseline_flags

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GROUP = "fragility"

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Option:
    """An option with its ini twin.

    Parameters
    ----------
    name
        ``fragility_<name>`` in ini files, ``--fragility-<name>`` on the command line.
    ini_type
        pytest's name for the ini value's type.
    metavar
        What ``--help`` shows for the value.
    help
        What it does, the default included.
    setting
        The audit's setting that it gives.
    """

    name: str
    ini_type: Any
    metavar: str
    help: str
    setting: str

    @property
    def flag(self) -> str:
        """How the command line spells it."""
        return f"--fragility-{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """How configuration files spell it."""
        return f"fragility_{self.name}"


OPTIONS = (
    Option(
        "profile",
        "string",
        "NAME",
        "how much to spend: quick (3 perturbations, 4 seeds), standard (9, 6 seeds) or "
        "thorough (14, 10 seeds). Default: standard",
        "profile",
    ),
    Option(
        "device",
        "string",
        "DEVICE",
        "where to train and measure: auto, cpu, cuda, cuda:1. Default: auto",
        "device",
    ),
    Option(
        "cache_dir",
        "string",
        "DIR",
        "where trained networks are kept, relative to the rootdir. Default: .fragility_cache",
        "cache_dir",
    ),
    Option(
        "seeds",
        "string",
        "N",
        "number of seeds; auto trains as many as each check needs, up to 21, auto-N up to N. "
        "Default: the profile's",
        "seeds",
    ),
    Option(
        "alpha",
        "float",
        "A",
        "every check errs with probability at most A; intervals have level 1 - A. Default: 0.05",
        "alpha",
    ),
    Option("task", "string", "NAME", "what is learned. Default: digits+label-noise-0.2", "task"),
    Option(
        "architecture",
        "string",
        "NAME",
        "the networks: mlp, cnn, resnet, vit, scale_invariant, or MODULE:FUNCTION, which returns a "
        "new module. Default: mlp",
        "architecture",
    ),
    Option(
        "perturbations",
        "string",
        "A,B,...",
        "training changes, by name. Default: the profile's",
        "perturbations",
    ),
    Option(
        "ladder",
        "string",
        "NAME",
        "tasks of different complexity: label-noise, teacher-depth, mnist-to-fashion or none. "
        "Default: label-noise",
        "ladder",
    ),
    Option(
        "checkpoints",
        "string",
        "A,B,...",
        "where the check of stopping looks, along one training. Default: the profile's",
        "checkpoints",
    ),
    Option(
        "manifest",
        "string",
        "FILE",
        "audit networks that were trained elsewhere: a list of their checkpoints, CSV or JSON. "
        "Default: none, networks are trained",
        "manifest",
    ),
    Option(
        "fit",
        "string",
        "NAME",
        "how lines are fitted to learning curves: least-squares, theil-sen or repeated-medians. "
        "Default: least-squares",
        "fit",
    ),
    Option(
        "budget",
        "int",
        "N",
        "networks that may be trained on demand, by property-based tests and searches. "
        "Default: 5000",
        "budget",
    ),
    Option(
        "measure_timeout",
        "float",
        "SECONDS",
        "cut a measure off that takes longer for a network. Default: no limit",
        "measure_timeout",
    ),
    Option(
        "executor_timeout",
        "float",
        "SECONDS",
        "end where a Dask cluster does nothing for longer. Default: 600",
        "executor_timeout",
    ),
)
MEASURE_KEY = "fragility_measure"
TABLE_KEY = "fragility_table"
LOCATE_KEY = "fragility_locate"
DURATIONS_KEY = "fragility_durations"
STORE_KEY = "fragility_store"
MAX_AGE_KEY = "fragility_store_max_age"
MAX_SIZE_KEY = "fragility_store_max_size"
DASK_KEY = "fragility_dask"
REPORT_KEY = "fragility_report"
INIT_KEY = "fragility_init"


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini twin."""
    group = parser.getgroup(GROUP, "fragility of generalization measures")
    enable = "run the tests marked with fragility; without it they are skipped"
    group.addoption("--fragility", action="store_true", default=None, dest="fragility", help=enable)
    parser.addini("fragility", enable, type="bool", default=False)
    locate = (
        "also walk along each axis (learning rate, batch size, ...) to the smallest change that "
        "breaks a measure; trains more networks, within the budget"
    )
    group.addoption(
        "--fragility-locate", action="store_true", default=None, dest=LOCATE_KEY, help=locate
    )
    parser.addini(LOCATE_KEY, locate, type="bool", default=None)
    durations = "show at the end where the time went, and the slowest measures"
    group.addoption(
        "--fragility-durations",
        action="store_true",
        default=None,
        dest=DURATIONS_KEY,
        help=durations,
    )
    parser.addini(DURATIONS_KEY, durations, type="bool", default=False)
    measure = "audit this measure, with no test file; can be repeated"
    group.addoption(
        "--fragility-measure",
        action="append",
        default=None,
        dest=MEASURE_KEY,
        metavar="MODULE:FUNCTION",
        help=measure,
    )
    parser.addini(MEASURE_KEY, measure, type="args", default=[])
    group.addoption(
        "--fragility-table",
        default=None,
        dest=TABLE_KEY,
        metavar="FILE",
        help="audit values that were measured elsewhere, with no test file: a table, CSV or JSON; "
        "all of its measures, or those that --fragility-measure names",
    )
    group.addoption(
        "--fragility-store",
        choices=["list", "prune", "verify"],
        default=None,
        dest=STORE_KEY,
        help="run no tests: list the trained runs that are kept, remove some, or read them all",
    )
    group.addoption(
        "--fragility-store-max-age",
        default=None,
        dest=MAX_AGE_KEY,
        metavar="AGE",
        help="with --fragility-store=prune: remove what was not used for so long, such as 30d",
    )
    group.addoption(
        "--fragility-store-max-size",
        default=None,
        dest=MAX_SIZE_KEY,
        metavar="SIZE",
        help="with --fragility-store=prune: keep what was used last, up to so much, such as 2GB",
    )
    dask = "train and measure on the Dask cluster whose scheduler has this address"
    group.addoption(
        "--fragility-dask", default=None, dest=DASK_KEY, metavar="tcp://HOST:PORT", help=dask
    )
    parser.addini(DASK_KEY, dask, type="string", default=None)
    report = "write what audits find to this folder: a page, JSON, CSV and Markdown"
    group.addoption("--fragility-report", default=None, dest=REPORT_KEY, metavar="DIR", help=report)
    parser.addini(REPORT_KEY, report, type="string", default=None)
    group.addoption(
        "--fragility-init",
        action="store_true",
        default=False,
        dest=INIT_KEY,
        help="run no tests: write a starter, test_fragility.py, into the current folder",
    )
    add_baseline_options(parser, group)
    for option in OPTIONS:
        group.addoption(
            option.flag,
            default=None,
            dest=option.key,
            metavar=option.metavar,
            help=option.help,
            type={"int": int, "float": float}.get(option.ini_type, str),
        )
        parser.addini(option.key, option.help, type=option.ini_type, default=None)


def is_enabled(config: pytest.Config) -> bool:
    """Return whether audits are to run."""
    return bool(config.getoption("fragility") or config.getini("fragility"))


def shows_durations(config: pytest.Config) -> bool:
    """Return whether the time is to be measured and shown."""
    return bool(config.getoption(DURATIONS_KEY) or config.getini(DURATIONS_KEY))


def is_store_command(config: pytest.Config) -> bool:
    """Return whether an option is about the trained runs and not about tests."""
    return any(config.getoption(key) for key in (STORE_KEY, MAX_AGE_KEY, MAX_SIZE_KEY))


def report_folder(config: pytest.Config) -> Path | None:
    """Return the folder of the report, below the rootdir where it is relative; None for none."""
    named = config.getoption(REPORT_KEY) or config.getini(REPORT_KEY)
    return config.rootpath / named if named else None


def is_init_command(config: pytest.Config) -> bool:
    """Return whether a starter is to be written, in the place of running tests."""
    return bool(config.getoption(INIT_KEY))


def measures_to_audit(config: pytest.Config) -> list[str]:
    """Return ``module:function`` of every measure named outside of test files.

    With a table, the names of its columns: all of them where none is named on the command line.
    """
    table = table_to_audit(config)
    if table is None:
        return list(config.getoption(MEASURE_KEY) or config.getini(MEASURE_KEY))
    from pytest_fragility.elsewhere.given import known_table

    return list(config.getoption(MEASURE_KEY) or known_table(table).measures)


def table_to_audit(config: pytest.Config) -> Path | None:
    """Return the table that the command line names, relative to the current folder."""
    named = config.getoption(TABLE_KEY)
    return None if named is None else config.invocation_params.dir / named


def dask_address(config: pytest.Config) -> str | None:
    """Return the address of the Dask cluster to work on; None where there is none."""
    return config.getoption(DASK_KEY) or config.getini(DASK_KEY) or None


def command_line_settings(config: pytest.Config) -> dict[str, Any]:
    """Return what the command line says; None where it is silent."""
    given = {option.key: config.getoption(option.key) for option in OPTIONS}
    settings = _settings(config, given, config.invocation_params.dir)
    return {**settings, "locate": config.getoption(LOCATE_KEY)}


def ini_settings(config: pytest.Config) -> dict[str, Any]:
    """Return what the configuration file says; None where it is silent.

    Raises
    ------
    SettingsError
        If a value is not of its option's type.
    """
    given = {option.key: _read_ini(config, option) for option in OPTIONS}
    settings = _settings(config, given, config.rootpath)
    return {**settings, "locate": config.getini(LOCATE_KEY)}


def _read_ini(config: pytest.Config, option: Option) -> Any:
    try:
        return config.getini(option.key)
    except (TypeError, ValueError) as error:
        # some versions of pytest let the conversion's own error through
        from pytest_fragility.errors import SettingsError

        raise SettingsError(f"{option.key}: {error}") from error


def _settings(config: pytest.Config, values: dict[str, Any], folder: Path) -> dict[str, Any]:
    settings = {option.setting: values[option.key] for option in OPTIONS}
    for listed in ("perturbations", "checkpoints"):
        if settings[listed] is not None:
            names = settings[listed].split(",")
            settings[listed] = [name.strip() for name in names if name.strip()]
    if settings["seeds"] is not None and _NUMBER.fullmatch(settings["seeds"].strip()):
        settings["seeds"] = int(settings["seeds"])
    if settings["manifest"]:
        settings["manifest"] = folder / settings["manifest"]
    if settings["cache_dir"] is None:
        del settings["cache_dir"]
    elif settings["cache_dir"]:
        settings["cache_dir"] = config.rootpath / settings["cache_dir"]
    return settings


def given_flags(config: pytest.Config) -> list[str]:
    """Return the options that the command line gave, to be repeated in a rerun command."""
    given = [
        f"{option.flag}={config.getoption(option.key)}"
        for option in OPTIONS
        if config.getoption(option.key) is not None
    ]
    if config.getoption(LOCATE_KEY):
        given.append("--fragility-locate")
    if config.getoption(DASK_KEY):
        given.append(f"--fragility-dask={config.getoption(DASK_KEY)}")
    return [*given, *baseline_flags(config)]
