"""Changes of weights that leave a network's function as it is, and measures that notice them.

A new symmetry is a change in `weight_changes` and a `Symmetry` in `symmetry`. That the function
stays is verified on the network's own samples, each time.
"""

from pytest_fragility.symmetries.factors import symmetry_factors
from pytest_fragility.symmetries.symmetry import SYMMETRIES, Symmetry, get_symmetry, in_double

__all__ = ["SYMMETRIES", "Symmetry", "get_symmetry", "in_double", "symmetry_factors"]
