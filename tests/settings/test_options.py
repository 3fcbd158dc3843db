"""The table of options, and what is written by hand beside it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from pytest_fragility import audit
from pytest_fragility.checks.registry import ASKED_AS
from pytest_fragility.checks.tolerances import TRENDS, Tolerances
from pytest_fragility.curves.fits import FITS
from pytest_fragility.errors import SettingsError, TableError, TaskError
from pytest_fragility.families.selection import Asked
from pytest_fragility.parallel.patience import EXECUTOR_LIMIT
from pytest_fragility.plugin.ini import READERS
from pytest_fragility.settings import PROFILES, AuditSettings, resolve_settings
from pytest_fragility.settings.option import CALL, FLAG, INI, MARK, WHAT
from pytest_fragility.settings.options import (
    BY_NAME,
    DEFAULT_FOLDER,
    DEFAULTS,
    OPTIONS,
    settings_that_say,
)
from pytest_fragility.settings.validators import CHECKS
from pytest_fragility.tasks.ladders import LADDERS
from tests.api_table import README
from tests.options_table import options_table

# what becomes of a setting that has no field of its own
FIELDS = {
    **dict.fromkeys(("architecture", "architectures"), "recipe"),
    **dict.fromkeys(("family", "manifest", "table"), "given"),
    **{name: "tolerances" for name in DEFAULTS if name.endswith("_tolerance")},
    **dict.fromkeys(("trend", "error_margin", "least_sensitivity"), "tolerances"),
    "checks": "kinds",
    "locate": "axes",
}
# fields that several settings make together
TOGETHER = {"looks"}


def documented(function: Any) -> Mapping[str, str]:
    """Return what a docstring says of each parameter."""
    text = inspect.getdoc(function) or ""
    parameters = text.partition("\nParameters\n")[2].partition("\nReturns\n")[0]
    parts = re.split(r"^(\w[\w, ]*)\n(?=    )", parameters, flags=re.MULTILINE)[1:]
    return {
        name: " ".join(said.split())
        for names, said in zip(parts[::2], parts[1::2], strict=True)
        for name in names.split(", ")
    }


def test_audit_takes_what_the_table_says() -> None:
    """With no value of its own, so that a default is written in one place."""
    parameters = inspect.signature(audit).parameters
    assert set(parameters) == {option.name for option in OPTIONS if CALL in option.on}
    given = {name: one.default for name, one in parameters.items() if one.default is not None}
    assert given == {"measure": inspect.Parameter.empty, "cache_dir": DEFAULT_FOLDER}
    for name, value in DEFAULTS.items():
        if name != "cache_dir":
            assert parameters[name].default is None, value


def test_the_docstring_says_defaults_and_choices() -> None:
    """As the table has them."""
    for name, said in documented(audit).items():
        option = BY_NAME[name]
        assert all(f"``{choice}``" in said for choice in option.choices), name
        if isinstance(option.default, str) and name not in ("task", "cache_dir"):
            assert f"``{option.default}``" in said and "default" in said, name
        elif isinstance(option.default, int | float):
            shown = {bool: str, int: "{:,}".format, float: "{:g}".format}[type(option.default)]
            assert said.endswith(f"Default: {shown(option.default)}."), name


def test_settings_have_the_fields_that_the_table_says() -> None:
    """One each, or one that several make."""
    assert FIELDS.keys() <= DEFAULTS.keys()
    expected = {FIELDS.get(name, name) for name in DEFAULTS} | TOGETHER
    assert {field.name for field in fields(AuditSettings)} == expected


def test_defaults_are_those_of_what_they_are_for() -> None:
    """They are written out in the table, which imports nothing."""
    assert resolve_settings().tolerances == Tolerances()
    assert DEFAULTS["executor_timeout"] == EXECUTOR_LIMIT
    assert DEFAULTS["ladder"] in LADDERS
    assert BY_NAME["trend"].choices == TRENDS
    assert BY_NAME["fit"].choices == tuple(FITS)
    assert BY_NAME["profile"].choices == tuple(PROFILES)
    assert {field.name for field in fields(Asked)} == set(settings_that_say(WHAT))


def test_every_row_makes_sense() -> None:
    """Its words are known where they are looked up, and what nobody reads is not said."""
    assert len(BY_NAME) == len(OPTIONS)
    assert set(CHECKS) <= set(READERS)
    assert {name for kind in ASKED_AS.values() for name in kind.options} <= set(DEFAULTS)
    for option in OPTIONS:
        assert option.help and not option.help.endswith("."), option
        assert option.on and set(option.on) <= {CALL, MARK, FLAG, INI}, option
        assert INI not in option.on or FLAG in option.on, option
        assert option.takes in READERS, option
        assert not (option.is_switch and option.shown_value), option
        assert (option.takes == "choice") <= bool(option.choices), option
        assert not (option.once and option.repeated), option
        assert not option.choices or option.default in (None, *option.choices), option


def test_every_setting_is_checked() -> None:
    """What cannot be used is refused by its name, and nothing else is said about it."""
    for name in DEFAULTS:
        with pytest.raises((SettingsError, TaskError, TableError)) as error:
            resolve_settings({name: object()})
        assert re.match(rf"(Recipe\.)?{name}=", str(error.value)), name


def test_the_readme_has_the_table() -> None:
    """Word for word; ``python -m tests.options_table`` writes it anew."""
    assert options_table() in README.read_text(encoding="utf-8")
