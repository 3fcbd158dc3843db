"""Baselines on disk: a JSON file each, sorted, with a line per check, so that diffs are small."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from pytest_fragility._util.files import read_plain, write_whole
from pytest_fragility._util.text import error_text, one_line, shown
from pytest_fragility.baselines.baseline_entries import Baseline
from pytest_fragility.checks.records import NOT_APPLICABLE
from pytest_fragility.checks.verdicts import BROKEN, INCONCLUSIVE, KEPT
from pytest_fragility.errors import SettingsError

FORMAT = 1
VERDICTS = (KEPT, INCONCLUSIVE, BROKEN, NOT_APPLICABLE)
# {"audits": {audit: {"checks": {check: on one line}}}}
NESTED = 4
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def baseline_path(folder: Path, name: str) -> Path:
    """Return the file of a baseline.

    Raises
    ------
    SettingsError
        If the name could lead out of the folder.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"baseline {shown(name)}: expected a name of up to 100 letters, digits, dots, hyphens "
            "and underscores that begins with none of dot and hyphen, such as main"
        )
    return folder / f"{name}.json"


def read_baseline(path: Path) -> Baseline:
    """Return the audits of a baseline.

    Raises
    ------
    SettingsError
        If there is no such file, or it is no baseline.
    """
    how = f"save one with pytest --fragility --fragility-save={path.stem}"
    where = one_line(str(path))
    try:
        found = json.loads(read_plain(path).decode("utf-8"))
        _require(isinstance(found, dict), "expected an object")
        _require(found.get("format") == FORMAT, f"format {shown(found.get('format'))}: expected 1")
        _require(isinstance(found.get("audits"), dict), "audits: expected an object")
        for name, audit in found["audits"].items():
            _require_audit(name, audit)
    except FileNotFoundError:
        raise SettingsError(f"no baseline {where}: {how}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(
            f"{where} is no baseline ({error_text(error)}): take it from version control again, or "
            f"remove it and {how}"
        ) from None
    audits: Baseline = found["audits"]
    return audits


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Write a baseline, whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, baseline_text(baseline))


def baseline_text(baseline: Baseline) -> str:
    """Return the file's text: the same audits give the same text."""
    return _text({"format": FORMAT, "audits": baseline}, 0) + "\n"


def _text(value: Any, depth: int) -> str:
    if not isinstance(value, dict) or not value or depth == NESTED:
        return json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False)
    indent = "  " * (depth + 1)
    lines = [
        f"{indent}{json.dumps(key, ensure_ascii=False)}: {_text(value[key], depth + 1)}"
        for key in sorted(value)
    ]
    return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _require_audit(name: str, audit: Any) -> None:
    where = f"audits, {shown(name)}"
    _require(isinstance(audit, dict), f"{where}: expected an object")
    _require(isinstance(audit.get("measure"), str), f"{where}, measure: expected a text")
    settings = audit.get("settings")
    _require(isinstance(settings, dict), f"{where}, settings: expected an object")
    _require(
        isinstance(settings.get("tolerances"), dict),
        f"{where}, settings, tolerances: expected an object",
    )
    _require(isinstance(audit.get("checks"), dict), f"{where}, checks: expected an object")
    for check, entry in audit["checks"].items():
        _require_entry(f"{where}, {shown(check)}", entry)


def _require_entry(where: str, entry: Any) -> None:
    _require(isinstance(entry, dict), f"{where}: expected an object")
    verdict = entry.get("verdict")
    _require(
        verdict in VERDICTS, f"{where}, verdict {shown(verdict)}: expected {_either(VERDICTS)}"
    )
    change = entry.get("change", "")
    _require(isinstance(change, str), f"{where}, change {shown(change)}: expected a text")
    names = [name for name in entry if name not in ("verdict", "change", "interval")]
    has_interval = "interval" in entry
    _require(
        len(names) == (1 if has_interval else 0),
        f"{where}: expected one number with an interval, or neither",
    )
    if has_interval:
        value, interval = entry[names[0]], entry["interval"]
        _require(_is_number(value), f"{where}, {names[0]} {shown(value)}: expected a number")
        _require(
            isinstance(interval, list) and len(interval) == 2 and all(map(_is_number, interval)),
            f"{where}, interval {shown(interval)}: expected two numbers",
        )


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and math.isfinite(value))


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
