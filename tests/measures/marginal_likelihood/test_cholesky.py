"""Inverse Cholesky factors against NumPy's factorization and a solve."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import LinAlgError, solve_triangular

from pytest_fragility.measures.marginal_likelihood.cholesky import CholeskyInverse
from tests.in_turn import in_turn

# below, at and above what is factorized as a whole, halves of unequal size, several strips
SIZES = [1, 2, 63, 64, 65, 127, 130, 257, 400]


def positive_definite(size: int, seed: int = 0) -> np.ndarray:
    """Return a random symmetric matrix whose eigenvalues lie between 1 and about 5."""
    factor = np.random.default_rng(seed).normal(size=(size, size))
    return np.eye(size) + factor @ factor.T / size


@in_turn("size", SIZES)
@in_turn(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_factors_are_those_of_numpy(size: int, dtype: type, tolerance: float) -> None:
    """Of one matrix after the other, in the same memory; all is zero above the diagonal."""
    memory = CholeskyInverse(size, dtype)
    for seed in range(2):
        matrix = positive_definite(size, seed)
        memory.matrix[...] = matrix
        memory.factorize()
        expected = solve_triangular(np.linalg.cholesky(matrix), np.eye(size), lower=True)
        assert memory.factor.dtype == dtype
        np.testing.assert_allclose(memory.factor, expected, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(np.triu(memory.factor, 1), 0)


@in_turn("place", [3, 70, 190])
def test_a_matrix_that_is_not_positive_definite_is_refused(place: int) -> None:
    """Wherever it turns out; the memory serves the next one all the same."""
    memory = CholeskyInverse(200, np.float64)
    memory.matrix[...] = positive_definite(200)
    memory.matrix[place, place] = -1.0
    with pytest.raises(LinAlgError, match="not positive"):
        memory.factorize()
    memory.matrix[...] = positive_definite(200)
    memory.factorize()
    inverse = memory.factor.T @ memory.factor
    np.testing.assert_allclose(inverse @ positive_definite(200), np.eye(200), atol=1e-10)
