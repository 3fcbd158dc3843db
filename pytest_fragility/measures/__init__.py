"""Reference measures, grouped by what they read, and controls."""

from pytest_fragility.measures.controls import noise, oracle_test_error, parameter_count
from pytest_fragility.measures.measure import Measure, measure_name, oracle, over_sqrt_n
from pytest_fragility.measures.norms import (
    distance_from_initialization,
    path_norm,
    product_of_frobenius_norms,
)

__all__ = [
    "Measure",
    "distance_from_initialization",
    "measure_name",
    "noise",
    "oracle",
    "oracle_test_error",
    "over_sqrt_n",
    "parameter_count",
    "path_norm",
    "product_of_frobenius_norms",
]
