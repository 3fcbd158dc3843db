"""Reading values: texts of the command line and of ini files, values of their own in TOML."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from pytest_fragility.settings.option import Option

_WHOLE = r"[+-]?[0-9]{1,20}"
_FLAGS = {"true": True, "yes": True, "on": True, "1": True}
_FLAGS |= {"false": False, "no": False, "off": False, "0": False}


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = _FLAGS.get(value.strip().lower()) if isinstance(value, str) else None
    if known is None:
        raise ValueError
    return known


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # float() takes 3_2, and the digits of all scripts
    is_text = isinstance(value, str) and value.isascii() and "_" not in value
    if not is_number and not is_text:
        raise ValueError
    return float(value)


def _whole(value: Any) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and re.fullmatch(_WHOLE, value.strip())):
        raise ValueError
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _texts(value: Any) -> list[str]:
    return [_text(each) for each in (value if isinstance(value, list) else [value])]


def _names(value: Any) -> list[str]:
    parts = [part.strip() for each in _texts(value) for part in each.split(",")]
    return [part for part in parts if part]


def _name_or_names(value: Any) -> str | list[str]:
    return _texts(value) if isinstance(value, list) else _text(value)


def _axes(value: Any) -> bool | list[str]:
    if isinstance(value, bool):
        return value
    names = _names(value)
    known = _FLAGS.get(names[0].lower()) if len(names) == 1 else None
    return names if known is None else known


def _seeds(value: Any) -> int | str | list[int]:
    # what pytest reads as a list may be one value
    listed = value if isinstance(value, list) else None
    if listed is not None and not all(isinstance(each, str) for each in listed):
        return [_whole(each) for each in listed]
    text = ",".join(listed) if listed is not None else value
    if not isinstance(text, str):
        return _whole(text)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(re.fullmatch(_WHOLE, part) for part in parts):
        return text.strip()
    return [_whole(part) for part in parts] if "," in text else _whole(text)


class Reader(NamedTuple):
    """How an option's values are read.

    Parameters
    ----------
    ini_type
        pytest's name for it.
    expected
        What messages call a value.
    read
        Returns the value that a text, or a value of TOML, stands for; a ValueError says that it
        stands for none.
    """

    ini_type: Any
    expected: str
    read: Callable[[Any], Any]


_NUMBER, _TEXT = Reader("float", "a number", _number), Reader("string", "a text", _text)
# by what the table of options says that an option takes
READERS = {
    **dict.fromkeys(("number", "rate", "seconds"), _NUMBER),
    **dict.fromkeys(("text", "choice", "device", "folder"), _TEXT),
    "flag": Reader("bool", "true or false", _flag),
    "whole": Reader("int", "a whole number", _whole),
    "texts": Reader("args", "a list of texts", _texts),
    "names": Reader("args", "a list of names", _names),
    "name or names": Reader("string", "a name, or a list of names", _name_or_names),
    "axes": Reader("args", "true, false or a list of names", _axes),
    "seeds": Reader("args", "a whole number, a list of them, or auto", _seeds),
}


def value_in_file(config: pytest.Config, option: Option) -> Any:
    """Return what the configuration file says; None where it is silent.

    Raises
    ------
    pytest.UsageError
        If it is of another kind.
    """
    known = config.stash.setdefault(_IN_FILE, {})
    if option.key not in known:
        known[option.key] = _read(config, option)
    return known[option.key]


def _read(config: pytest.Config, option: Option) -> Any:
    key, reader = option.key, READERS[option.takes]
    native = _native_values(config)
    try:
        value = native[key] if key in native else config.getini(key)
    # releases of pytest let the conversion's own error through, or wrap it
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise pytest.UsageError(f"fragility: {key}: expected {reader.expected} ({error})") from None
    try:
        return None if value is None else reader.read(value)
    except (ValueError, OverflowError):
        from pytest_fragility._util.text import shown

        raise pytest.UsageError(
            f"fragility: {key}={shown(value)}: expected {reader.expected}"
        ) from None


_IN_FILE = pytest.StashKey[dict[str, Any]]()
_NATIVE = pytest.StashKey[Mapping[str, Any]]()


def _native_values(config: pytest.Config) -> Mapping[str, Any]:
    """Return the options that have TOML's own types, as pytest 9 reads ``[tool.pytest]``.

    pytest itself takes one type for each option, and no list of numbers.
    """
    if _NATIVE not in config.stash:
        overridden = {text.partition("=")[0] for text in config.getoption("override_ini") or ()}
        config.stash[_NATIVE] = {
            key: value for key, value in _native_table(config).items() if key not in overridden
        }
    return config.stash[_NATIVE]


def _native_table(config: pytest.Config) -> Mapping[str, Any]:
    path = config.inipath
    if path is None or path.suffix != ".toml" or pytest.version_tuple < (9,):
        return {}
    text = path.read_text(encoding="utf-8")
    if "fragility" not in text:
        return {}
    # imported where it is needed; pytest has read the file before, so that it is fine
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    found = tomllib.loads(text)
    if path.name in ("pytest.toml", ".pytest.toml"):
        table = found.get("pytest", {})
    else:
        table = found.get("tool", {}).get("pytest", {})
        table = {} if table.get("ini_options") else table
    return {key: value for key, value in table.items() if key.startswith("fragility")}
