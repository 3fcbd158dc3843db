"""Numbers, names and folders that an audit is asked for: checked, or an error that says why."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_fragility._util.text import shown
from pytest_fragility._util.validation import is_number, is_whole
from pytest_fragility.checks.check import nearest
from pytest_fragility.errors import SettingsError

# as a 64-bit number holds them
MOST = 2**63 - 1


MOST_SEEDS = 10_000


# seconds: three years, which all clocks can hold
LONGEST = 100_000_000


# seconds that an executor may do nothing
EXECUTOR_LIMIT = 600.0


# below it, an interval's ends are no numbers any more
LEAST_ALPHA = 1e-9


# each about half as many more as all before; fewer than five decide next to nothing
LOOKS = (5, 8, 13, 21)


_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")


_AUTO = re.compile(r"auto(?:-([0-9]{1,9}))?")


def choose(option: str, value: Any, known: Mapping[str, Any]) -> Any:
    """Return what a name stands for among those that are known."""
    if not isinstance(value, str) or value not in known:
        raise SettingsError(
            f"{option}={shown(value)}{nearest(value, known)}: expected {', '.join(known)}"
        )
    return known[value]


def listed(option: str, value: Any) -> list[Any]:
    """Return the values of a list of names."""
    if not isinstance(value, Iterable):
        raise SettingsError(f"{option}={shown(value)}: expected a list of names")
    return list(value)


def checked_sizes(values: Any) -> tuple[int, ...]:
    """Return training set sizes, ascending."""
    sizes = tuple(sorted(_whole_numbers("sizes", values, 1)))
    if len(sizes) < 2:
        raise SettingsError(f"sizes={shown(values)}: a learning curve needs at least two sizes")
    return sizes


def checked_seeds(values: Any) -> tuple[int, ...]:
    """Return seeds: those that are listed, or the first so many."""
    is_count = isinstance(values, int) and not isinstance(values, bool)
    if is_count and values > MOST_SEEDS:
        raise SettingsError(f"seeds={shown(values)}: expected at most {MOST_SEEDS:,}")
    seeds = tuple(range(values)) if is_count else _whole_numbers("seeds", values, 0)
    if len(seeds) < 2:
        raise SettingsError(
            f"seeds={shown(values)}: expected at least two seeds (a number of them, or a list), "
            "since intervals are taken over seeds"
        )
    return seeds


def checked_looks(value: Any) -> tuple[int, ...]:
    """Return with how many seeds checks are looked at: up to 21, or to what ``auto-N`` says."""
    if not isinstance(value, str):
        return ()
    found = _AUTO.fullmatch(value)
    most = int(found[1] or LOOKS[-1]) if found else 0
    if not LOOKS[0] <= most <= MOST_SEEDS:
        raise SettingsError(
            f"seeds={shown(value)}: expected a number, a list of numbers, auto, or auto-N with N "
            f"the largest number of seeds, {LOOKS[0]} or more and at most {MOST_SEEDS:,}"
        )
    looks = list(LOOKS)
    while looks[-1] < most:
        looks.append(looks[-1] + looks[-2])
    return (*(look for look in looks if look < most), most)


def checked_number(option: str, value: Any) -> float:
    """Return a number that is finite and not negative."""
    if not is_number(value) or value < 0:
        raise SettingsError(
            f"{option}={shown(value)}: expected a number, zero or more, not infinite"
        )
    return float(value)


def checked_alpha(value: Any) -> float:
    """Return the error rate of a check."""
    if not is_number(value) or not LEAST_ALPHA <= value < 1:
        raise SettingsError(
            f"alpha={shown(value)}: expected a number between 0 and 1, such as 0.05, and at least "
            f"{LEAST_ALPHA:g}"
        )
    return float(value)


def checked_budget(value: Any) -> int:
    """Return how many networks may be trained on demand."""
    if not is_whole(value, 0, MOST):
        raise SettingsError(f"budget={shown(value)}: expected a number of networks, zero or more")
    return int(value)


def checked_seconds(option: str, value: Any) -> float:
    """Return a number of seconds, more than zero."""
    if not is_number(value) or not 0 < value <= LONGEST:
        raise SettingsError(
            f"{option}={shown(value)}: expected seconds, more than zero and at most {LONGEST:,}"
        )
    return float(value)


def checked_device(value: Any) -> str:
    """Return the name of a device, which need not be there."""
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise SettingsError(f"device={shown(value)}: expected auto, cpu, cuda or cuda:<number>")
    return value


def checked_folder(value: Any) -> Path | None:
    """Return the folder of the store; None keeps nothing."""
    if value is not None and not isinstance(value, str | Path):
        raise SettingsError(f"cache_dir={shown(value)}: expected a path, or None to keep nothing")
    if isinstance(value, str) and ("\0" in value or not value):
        raise SettingsError(
            f"cache_dir={shown(value)}: expected the name of a folder, without null characters"
        )
    return None if value is None else Path(value)


def _whole_numbers(option: str, values: Any, least: int) -> tuple[int, ...]:
    try:
        numbers = tuple(operator.index(number) for number in values)
        has_flags = any(isinstance(number, bool) for number in values)
    except TypeError:
        numbers, has_flags = (), True
    if has_flags or not all(is_whole(number, least, MOST) for number in numbers):
        raise SettingsError(
            f"{option}={shown(values)}: expected a list of whole numbers from {least} up, below "
            "2^63"
        )
    if len(set(numbers)) != len(numbers):
        raise SettingsError(f"{option}={shown(values)}: a value is given twice")
    return numbers
