"""What networks, or values, come with: some kinds of checks need more than curves."""

from __future__ import annotations

from enum import Enum


class Resource(Enum):
    """What a family may offer, and what a kind of check may need."""

    NETWORKS = "networks"
    """Networks that can be changed, and asked about again."""

    SAMPLES = "samples"
    """The samples that each network was trained on."""

    LADDER = "ladder"
    """Several tasks that are compared."""

    STOPPING_POINTS = "stopping points"
    """Recipes that differ in nothing but where the training stops."""

    EQUIVALENTS = "equivalents"
    """Pairs of trainings that give the same function."""
