"""Command-line options and their ini twins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fragility.plugin.ini import (
    AXES,
    FLAG,
    NAME_OR_NAMES,
    NAMES,
    NUMBER,
    SEEDS,
    TEXT,
    TEXTS,
    WHOLE,
    Option,
)

if TYPE_CHECKING:
    pass


SAVE_KEY = "fragility_save"
COMPARE_KEY = "fragility_compare"
DEFAULT_FOLDER = "fragility_baselines"
BASELINES = Option(
    "baselines",
    TEXT,
    "DIR",
    f"where baselines are kept, relative to the rootdir. Default: {DEFAULT_FOLDER}",
)


def add_baseline_options(group: Any) -> None:
    """Register what baselines are asked for with."""
    group.addoption(
        "--fragility-save",
        default=None,
        dest=SAVE_KEY,
        metavar="NAME",
        help="save verdicts and exponents as a baseline, to be kept under version control",
    )
    group.addoption(
        "--fragility-compare",
        default=None,
        dest=COMPARE_KEY,
        metavar="NAME",
        help="fail only where a check got worse than in this baseline",
    )


def baseline_flags(config: pytest.Config) -> list[str]:
    """Return the options that a rerun command repeats: those that decide what fails."""
    given = {"compare": COMPARE_KEY, "baselines": BASELINES.key}
    return [
        f"--fragility-{name}={config.getoption(key)}"
        for name, key in given.items()
        if config.getoption(key)
    ]


GROUP = "fragility"
PREFIX = "--fragility"
OPTIONS = (
    Option(
        "profile",
        TEXT,
        "NAME",
        "how much to spend: quick (3 perturbations, 4 seeds), standard (9, 6 seeds) or "
        "thorough (14, 10 seeds). Default: standard",
        "profile",
    ),
    Option(
        "device",
        TEXT,
        "DEVICE",
        "where to train and measure: auto, cpu, cuda, cuda:1. Default: auto",
        "device",
    ),
    Option(
        "cache_dir",
        TEXT,
        "DIR",
        "where trained networks are kept, relative to the rootdir. Default: .fragility_cache",
        "cache_dir",
    ),
    Option(
        "seeds",
        SEEDS,
        "N",
        "number of seeds; auto trains as many as each check needs, up to 21, auto-N up to N. "
        "Default: the profile's",
        "seeds",
    ),
    Option(
        "alpha",
        NUMBER,
        "A",
        "every check errs with probability at most A; intervals have level 1 - A. Default: 0.05",
        "alpha",
    ),
    Option("task", TEXT, "NAME", "what is learned. Default: digits+label-noise-0.2", "task"),
    Option(
        "architecture",
        TEXTS,
        "NAME",
        "the networks: mlp, cnn, resnet, vit, scale_invariant, or MODULE:FUNCTION, which returns a "
        "new module; can be repeated, also as NAME=MODULE:FUNCTION, for the names in a manifest. "
        "Default: mlp",
        "architecture",
        repeated=True,
    ),
    Option(
        "perturbations",
        NAMES,
        "A,B,...",
        "training changes, by name. Default: the profile's",
        "perturbations",
    ),
    Option(
        "ladder",
        NAME_OR_NAMES,
        "NAME",
        "tasks of different complexity: label-noise, teacher-depth, mnist-to-fashion or none. "
        "Default: label-noise",
        "ladder",
    ),
    Option(
        "checkpoints",
        NAMES,
        "A,B,...",
        "where the check of stopping looks, along one training. Default: the profile's",
        "checkpoints",
    ),
    Option(
        "manifest",
        TEXT,
        "FILE",
        "audit networks that were trained elsewhere: a list of their checkpoints, CSV or JSON. "
        "Default: none, networks are trained",
        "manifest",
    ),
    Option(
        "fit",
        TEXT,
        "NAME",
        "how lines are fitted to learning curves: least-squares, theil-sen or repeated-medians. "
        "Default: least-squares",
        "fit",
    ),
    Option(
        "budget",
        WHOLE,
        "N",
        "networks that may be trained on demand, by property-based tests and searches. "
        "Default: 5000",
        "budget",
    ),
    Option(
        "measure_timeout",
        NUMBER,
        "SECONDS",
        "cut a measure off that takes longer for a network. Default: no limit",
        "measure_timeout",
    ),
    Option(
        "executor_timeout",
        NUMBER,
        "SECONDS",
        "end where a Dask cluster does nothing for longer. Default: 600",
        "executor_timeout",
    ),
)
ENABLED = Option("", FLAG, "", "run the tests marked with fragility; without it they are skipped")
LOCATE = Option(
    "locate",
    AXES,
    "",
    "also walk along each axis (learning rate, batch size, ...) to the smallest change that breaks "
    "a measure; trains more networks, within the budget. Configuration files may name axes",
    "locate",
)
DURATIONS = Option(
    "durations", FLAG, "", "show at the end where the time went, and the slowest measures"
)
MEASURE = Option(
    "measure",
    TEXTS,
    "MODULE:FUNCTION",
    "audit this measure, with no test file; can be repeated",
    repeated=True,
)
DASK = Option(
    "dask",
    TEXT,
    "tcp://HOST:PORT",
    "train and measure on the Dask cluster whose scheduler has this address",
)
REPORT = Option(
    "report", TEXT, "DIR", "write what audits find to this folder: a page, JSON, CSV and Markdown"
)
# all that configuration files may say
TWINS = (ENABLED, LOCATE, DURATIONS, MEASURE, DASK, REPORT, BASELINES, *OPTIONS)
TABLE_KEY = "fragility_table"
STORE_KEY = "fragility_store"
MAX_AGE_KEY = "fragility_store_max_age"
MAX_SIZE_KEY = "fragility_store_max_size"
INIT_KEY = "fragility_init"


def add_options(parser: pytest.Parser) -> None:
    """Register every option and its ini twin."""
    group = parser.getgroup(GROUP, "fragility of generalization measures")
    for option in TWINS:
        option.add(parser, group)
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
    group.addoption(
        "--fragility-init",
        action="store_true",
        default=False,
        dest=INIT_KEY,
        help="run no tests: write a starter, test_fragility.py, into the current folder",
    )
    add_baseline_options(group)


def is_enabled(config: pytest.Config) -> bool:
    """Return whether audits are to run."""
    return bool(ENABLED.said(config))


def shows_durations(config: pytest.Config) -> bool:
    """Return whether the time is to be measured and shown."""
    return bool(DURATIONS.said(config))


def is_store_command(config: pytest.Config) -> bool:
    """Return whether an option is about the trained runs and not about tests."""
    return any(config.getoption(key) for key in (STORE_KEY, MAX_AGE_KEY, MAX_SIZE_KEY))


def report_folder(config: pytest.Config) -> Path | None:
    """Return the folder of the report, below the rootdir where it is relative; None for none."""
    named = REPORT.said(config)
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
        return list(MEASURE.said(config) or ())
    from pytest_fragility.settings.existing import known_table

    return list(MEASURE.on_command_line(config) or known_table(table).measures)


def table_to_audit(config: pytest.Config) -> Path | None:
    """Return the table that the command line names, relative to the current folder."""
    named = config.getoption(TABLE_KEY)
    return None if named is None else config.invocation_params.dir / named


def dask_address(config: pytest.Config) -> str | None:
    """Return the address of the Dask cluster to work on; None where there is none."""
    return DASK.said(config) or None


def typed_options(config: pytest.Config) -> list[str]:
    """Return the names of the options that were typed: not of those that configuration adds."""
    arguments = map(str, config.invocation_params.args)
    return [
        argument.partition("=")[0].removeprefix(PREFIX).removeprefix("-")
        for argument in arguments
        if argument.startswith(PREFIX)
    ]


def typed_settings(config: pytest.Config) -> dict[str, Any]:
    """Return what was typed of what the command line says."""
    typed = typed_options(config)
    settings = command_line_settings(config)
    names = [option.setting for option in OPTIONS if option.name.replace("_", "-") in typed]
    return {name: settings[name] for name in names if name in settings}


def command_line_settings(config: pytest.Config) -> dict[str, Any]:
    """Return what the command line says; None where it is silent."""
    given = {each.setting: each.on_command_line(config) for each in (LOCATE, *OPTIONS)}
    return _settings(config, given, config.invocation_params.dir)


def ini_settings(config: pytest.Config) -> dict[str, Any]:
    """Return what the configuration file says; None where it is silent.

    Raises
    ------
    pytest.UsageError
        If a value is not of its option's kind.
    """
    given = {each.setting: each.in_file(config) for each in (LOCATE, *OPTIONS)}
    return _settings(config, given, config.rootpath)


def _settings(config: pytest.Config, values: dict[str, Any], folder: Path) -> dict[str, Any]:
    settings = dict(values)
    settings |= _architectures(settings["architecture"])
    if settings["manifest"]:
        settings["manifest"] = folder / settings["manifest"]
    if settings["cache_dir"] is None:
        del settings["cache_dir"]
    elif settings["cache_dir"]:
        settings["cache_dir"] = config.rootpath / settings["cache_dir"]
    return settings


def _architectures(values: list[str] | None) -> dict[str, Any]:
    """Return what is trained, or what rows of a manifest are of that do not say, and the names."""
    split = [value.rpartition("=") for value in values or ()]
    plain = [value for _, equals, value in split if not equals]
    for value in plain[:-1]:
        if ":" not in value:
            raise pytest.UsageError(
                f"fragility: architecture {value}: {plain[-1]} is named after it, and only the "
                "last would be trained; leave one of them out"
            )
    # where a function stands is what a manifest may call it
    named = {value: value for value in plain if ":" in value}
    named |= {name: value for name, equals, value in split if equals}
    return {"architecture": plain[-1] if plain else None, "architectures": named or None}


def given_flags(config: pytest.Config) -> list[str]:
    """Return the options that the command line gave, to be repeated in a rerun command."""
    said = {option.flag: config.getoption(option.key) for option in OPTIONS}
    given = [
        f"{flag}={value}"
        for flag, values in said.items()
        if values is not None
        for value in (values if isinstance(values, list) else [values])
    ]
    if LOCATE.on_command_line(config):
        given.append(LOCATE.flag)
    if DASK.on_command_line(config):
        given.append(f"{DASK.flag}={DASK.on_command_line(config)}")
    return [*given, *baseline_flags(config)]
