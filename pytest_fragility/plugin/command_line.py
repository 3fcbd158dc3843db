"""The options of a run: registered with pytest, and what its command line and files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_fragility.plugin.ini import READERS, value_in_file
from pytest_fragility.settings.option import FLAG, INI, Option
from pytest_fragility.settings.options import BY_NAME, OPTIONS, SETTINGS

PREFIX = "--fragility"
# these stand first in --help, and in the command that runs a test again; others follow as they
# stand in the table
_FIRST = (
    *("", "locate", "durations", "measure", "dask", "report", "baselines", "profile", "device"),
    *("cache_dir", "seeds", "alpha", "task", "architecture", "perturbations", "ladder"),
    *("checkpoints", "manifest", "fit", "budget"),
)


def _flags() -> list[Option]:
    """Return the options of the command line, in the order in which they are shown."""
    place = {name: place for place, name in enumerate(_FIRST)}
    flags = [option for option in OPTIONS if FLAG in option.on]
    return sorted(flags, key=lambda option: place.get(option.name, len(place)))


def add_options(parser: pytest.Parser) -> None:
    """Register every flag, and every key of configuration files."""
    group = parser.getgroup("fragility", "fragility of generalization measures")
    for option in _flags():
        how: dict[str, Any] = {"action": "store_true"}
        if not option.is_switch:
            of_text = {"int": int, "float": float}.get(READERS[option.takes].ini_type, str)
            how = {"action": "append" if option.repeated else "store", "type": of_text}
            value = option.shown_value
            how |= {"metavar": value} if value else {"choices": option.choices}
        text = option.full_help
        group.addoption(option.flag, default=None, dest=option.key, help=text, **how)
        if INI in option.on:
            parser.addini(option.key, text, type=READERS[option.takes].ini_type, default=None)


def typed_value(config: pytest.Config, name: str) -> Any:
    """Return what the command line says, by an option's name; None where it is silent."""
    option = BY_NAME[name]
    value = config.getoption(option.key)
    return None if value is None else READERS[option.takes].read(value)


def said(config: pytest.Config, name: str) -> Any:
    """Return what the command line says, else the configuration file; None for neither.

    Raises
    ------
    pytest.UsageError
        If the file's value is not of the option's kind.
    """
    value = typed_value(config, name)
    return value_in_file(config, BY_NAME[name]) if value is None else value


def is_enabled(config: pytest.Config) -> bool:
    """Return whether audits are to run."""
    return bool(said(config, ""))


def shows_durations(config: pytest.Config) -> bool:
    """Return whether the time is to be measured and shown."""
    return bool(said(config, "durations"))


def is_store_command(config: pytest.Config) -> bool:
    """Return whether an option is about the trained runs and not about tests."""
    return any(typed_value(config, name) for name in ("store", "store_max_age", "store_max_size"))


def report_folder(config: pytest.Config) -> Path | None:
    """Return the folder of the report, below the rootdir where it is relative; None for none."""
    named = said(config, "report")
    return config.rootpath / named if named else None


def is_init_command(config: pytest.Config) -> bool:
    """Return whether a starter is to be written, in the place of running tests."""
    return bool(typed_value(config, "init"))


def measures_to_audit(config: pytest.Config) -> list[str]:
    """Return ``module:function`` of every measure named outside of test files.

    With a table, the names of its columns: all of them where none is named on the command line.
    """
    table = table_to_audit(config)
    if table is None:
        return list(said(config, "measure") or ())
    from pytest_fragility.settings.existing import known_table

    return list(typed_value(config, "measure") or known_table(table).measures)


def table_to_audit(config: pytest.Config) -> Path | None:
    """Return the table that the command line names, relative to the current folder."""
    named = typed_value(config, "table")
    return None if named is None else config.invocation_params.dir / named


def dask_address(config: pytest.Config) -> str | None:
    """Return the address of the Dask cluster to work on; None where there is none."""
    return said(config, "dask") or None


def typed_flags(config: pytest.Config) -> list[str]:
    """Return the flags that were typed: not those that configuration adds."""
    arguments = map(str, config.invocation_params.args)
    return [each.partition("=")[0] for each in arguments if each.startswith(PREFIX)]


def typed_settings(config: pytest.Config) -> dict[str, Any]:
    """Return what was typed of what the command line says."""
    typed = typed_flags(config)
    settings = command_line_settings(config)
    return {name: value for name, value in settings.items() if BY_NAME[name].flag in typed}


# settings that both may say
_TWINS = tuple(option for option in SETTINGS if INI in option.on)


def command_line_settings(config: pytest.Config) -> dict[str, Any]:
    """Return what the command line says; None where it is silent."""
    given = {option.name: typed_value(config, option.name) for option in _TWINS}
    return _settings(config, given, config.invocation_params.dir)


def ini_settings(config: pytest.Config) -> dict[str, Any]:
    """Return what the configuration file says; None where it is silent.

    Raises
    ------
    pytest.UsageError
        If a value is not of its option's kind.
    """
    given = {option.name: value_in_file(config, option) for option in _TWINS}
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
    settings = sorted((o for o in _flags() if o in _TWINS), key=lambda o: o.is_switch)
    flags = []
    for option in (*settings, *(option for option in OPTIONS if option.rerun)):
        value = config.getoption(option.key)
        if option.is_switch:
            flags += [option.flag] if value else []
        elif value is not None:
            values = value if isinstance(value, list) else [value]
            flags += [f"{option.flag}={each}" for each in values]
    return flags
