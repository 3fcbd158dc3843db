"""What options say: texts on the command line and in ini files, values of their own in TOML."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_FLAGS = {"true": True, "yes": True, "on": True, "1": True}
_FLAGS |= {"false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True)
class Kind:
    """What sort of value an option has.

    Parameters
    ----------
    ini_type
        pytest's name for it.
    expected
        What messages call it.
    read
        Returns the value that a text, or a value of TOML, stands for; a ValueError says that it
        stands for none.
    """

    ini_type: Any
    expected: str
    read: Callable[[Any], Any]


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
    if not is_number and not (isinstance(value, str) and _WHOLE.fullmatch(value.strip())):
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
    if not parts or not all(map(_WHOLE.fullmatch, parts)):
        return text.strip()
    return [_whole(part) for part in parts] if "," in text else _whole(text)


FLAG = Kind("bool", "true or false", _flag)
NUMBER = Kind("float", "a number", _number)
WHOLE = Kind("int", "a whole number", _whole)
TEXT = Kind("string", "a text", _text)
TEXTS = Kind("args", "a list of texts", _texts)
NAMES = Kind("args", "a list of names", _names)
NAME_OR_NAMES = Kind("string", "a name, or a list of names", _name_or_names)
AXES = Kind("args", "true, false or a list of names", _axes)
SEEDS = Kind("args", "a whole number, a list of them, or auto", _seeds)


@dataclass(frozen=True)
class Option:
    """An option with its ini twin.

    Parameters
    ----------
    name
        ``fragility_<name>`` in ini files, ``--fragility-<name>`` on the command line.
    kind
        What sort of value it has.
    metavar
        What ``--help`` shows for the value.
    help
        What it does, the default included.
    setting
        The audit's setting that it gives; empty for what is none.
    repeated
        Whether the command line may give it more than once.
    """

    name: str
    kind: Kind
    metavar: str
    help: str
    setting: str = ""
    repeated: bool = False

    @property
    def flag(self) -> str:
        """How the command line spells it."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def key(self) -> str:
        """How configuration files spell it."""
        return f"fragility_{self.name}" if self.name else "fragility"

    def add(self, parser: pytest.Parser, group: Any) -> None:
        """Register it, and its twin."""
        how: dict[str, Any] = {"action": "store_true"}
        # what can be switched on is a flag, and has no value here
        if self.kind not in (FLAG, AXES):
            of_text = {WHOLE: int, NUMBER: float}.get(self.kind, str)
            how = {"action": "append" if self.repeated else "store", "type": of_text}
            how["metavar"] = self.metavar
        group.addoption(self.flag, default=None, dest=self.key, help=self.help, **how)
        parser.addini(self.key, self.help, type=self.kind.ini_type, default=None)

    def on_command_line(self, config: pytest.Config) -> Any:
        """Return what the command line says; None where it is silent."""
        value = config.getoption(self.key)
        return None if value is None else self.kind.read(value)

    def in_file(self, config: pytest.Config) -> Any:
        """Return what the configuration file says; None where it is silent.

        Raises
        ------
        pytest.UsageError
            If it is of another kind.
        """
        known = config.stash.setdefault(_IN_FILE, {})
        if self.key not in known:
            known[self.key] = self._read(config)
        return known[self.key]

    def said(self, config: pytest.Config) -> Any:
        """Return what the command line says, else the configuration file; None for neither."""
        value = self.on_command_line(config)
        return self.in_file(config) if value is None else value

    def _read(self, config: pytest.Config) -> Any:
        native = _native_values(config)
        try:
            value = native[self.key] if self.key in native else config.getini(self.key)
        # releases of pytest let the conversion's own error through, or wrap it
        except (TypeError, ValueError, pytest.UsageError) as error:
            raise pytest.UsageError(
                f"fragility: {self.key}: expected {self.kind.expected} ({error})"
            ) from None
        try:
            return None if value is None else self.kind.read(value)
        except (ValueError, OverflowError):
            from pytest_fragility._util.text import shown

            raise pytest.UsageError(
                f"fragility: {self.key}={shown(value)}: expected {self.kind.expected}"
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
