"""How much an audit spends where it is not told."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_fragility.perturbations.catalogue import STANDARD


@dataclass(frozen=True)
class Profile:
    """How much an audit spends by default.

    Parameters
    ----------
    sizes
        Training set sizes.
    seeds
        Number of seeds.
    perturbations
        Names.
    checkpoints
        Names of perturbations that change nothing but where the training stops.
    """

    sizes: tuple[int, ...]
    seeds: int
    perturbations: tuple[str, ...]
    checkpoints: tuple[str, ...]


_QUICK_STOPS = ("stop-accuracy", "past-x2")
_STOPS = ("stop-accuracy", "stop-loss-0.01", "past-x2", "past-x4")
PROFILES = {
    "quick": Profile((32, 64, 128, 256, 512), 4, ("lr-x3", "lr-x10", "adam-x10"), _QUICK_STOPS),
    "standard": Profile((32, 64, 128, 256, 512, 1024), 6, STANDARD, _STOPS),
    "thorough": Profile(
        (32, 64, 128, 256, 512, 1024),
        10,
        (*STANDARD, "nesterov", "adamw", "batch-div4", "init-div2", "stop-later"),
        (*_STOPS, "stop-loss-0.001"),
    ),
}
