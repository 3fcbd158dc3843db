"""What an audit may be asked for, by name, and what it does where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_fragility._util.text import nearest, shown
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.errors import SettingsError
from pytest_fragility.parallel.patience import EXECUTOR_LIMIT
from pytest_fragility.recipes import Recipe
from pytest_fragility.tasks.ladders import LABEL_NOISE

DEFAULT_FOLDER = ".fragility_cache"
SCALES = ("log", "linear")
NO_LADDER = "none"
# what names networks or values that exist already
SOURCES = FAMILY, MANIFEST, TABLE = "family", "manifest", "table"

# named here too, so that settings need no NumPy
FITS = ("least-squares", "theil-sen", "repeated-medians")

DEFAULTS: dict[str, Any] = {
    "task": "digits+label-noise-0.2",
    "recipe": Recipe(),
    "architecture": None,
    "architectures": None,
    "profile": "standard",
    "sizes": None,
    "seeds": None,
    "perturbations": None,
    "checkpoints": None,
    "ladder": LABEL_NOISE,
    "checks": None,
    "locate": False,
    "trend": Tolerances.trend,
    "exponent_tolerance": Tolerances.exponent,
    "spread_tolerance": Tolerances.spread,
    "error_margin": Tolerances.margin,
    "least_sensitivity": Tolerances.sensitivity,
    "invariance_tolerance": Tolerances.invariance,
    "alpha": 0.05,
    "scale": "log",
    "fit": FITS[0],
    "device": "auto",
    "cache_dir": DEFAULT_FOLDER,
    "budget": 5_000,
    "measure_timeout": None,
    "executor_timeout": EXECUTOR_LIMIT,
    "family": None,
    "manifest": None,
    "table": None,
}


def require_known_options(options: Mapping[str, Any], also: Sequence[str] = ()) -> None:
    """Raise a SettingsError, naming the nearest right one, where an option is unknown."""
    known = [*DEFAULTS, *also]
    for name in options:
        if name not in known:
            raise SettingsError(
                f"unknown argument {shown(name)}{nearest(name, known)}; expected {', '.join(known)}"
            )
