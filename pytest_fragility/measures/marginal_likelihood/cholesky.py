"""The inverse of a Cholesky factor, for the most part by products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import get_lapack_funcs

Matrix = npt.NDArray[np.floating[Any]]
# rows up to which a matrix is factorized as a whole
LEAF = 64
# columns or rows of a triangle that are multiplied at a time, its zeros left out
STRIP = 64


class CholeskyInverse:
    """Inverse Cholesky factors of one matrix after the other, in the same memory.

    Half by half, so that nearly all is products of matrices, which are fastest and, unlike SciPy's
    factorizations, let other threads work meanwhile.
    """

    def __init__(self, size: int, dtype: npt.DTypeLike) -> None:
        self.matrix: Matrix = np.empty((size, size), dtype)
        self.factor: Matrix = np.zeros((size, size), dtype)
        self._spare: Matrix = np.empty(_spare_size(size), dtype)

    def factorize(self) -> None:
        """Write the inverse of the lower Cholesky factor of `matrix` to the lower half of `factor`.

        `matrix` is overwritten. A LinAlgError says that it is not positive definite.
        """
        _factorize(self.matrix, self.factor, self._spare)


def _factorize(matrix: Matrix, factor: Matrix, spare: Matrix) -> None:
    size = len(matrix)
    if size <= LEAF:
        potrf, trtri = get_lapack_funcs(("potrf", "trtri"), (matrix,))
        leaf, failure = potrf(matrix, lower=True)
        if failure:
            raise LinAlgError(f"leading minor {failure} of a block is not positive")
        factor[...] = trtri(leaf, lower=True)[0]
        return
    half = size // 2
    first, last = slice(half), slice(half, size)
    upper, lower = factor[first, first], factor[last, last]
    _factorize(matrix[first, first], upper, spare)
    shape = (size - half, half)
    kept, rest = np.split(spare, [shape[0] * shape[1]])
    below, squares = np.split(rest, [kept.size])
    product, below = kept.reshape(shape), below.reshape(shape)
    square = squares[: shape[0] ** 2].reshape(shape[0], shape[0])
    _write_times_transposed(matrix[last, first], upper, below)
    matrix[last, last] -= np.matmul(below, below.T, out=square)
    _write_times_triangle(below, upper, product)
    np.negative(product, out=product)
    _factorize(matrix[last, last], lower, rest)
    _write_triangle_times(lower, product, factor[last, first])


def _spare_size(size: int) -> int:
    """Return how many numbers the products of the first halving take: more than any later ones."""
    half = size // 2
    rest = size - half
    return rest * (2 * half + rest) if size > LEAF else 0


def _write_times_transposed(matrix: Matrix, triangle: Matrix, out: Matrix) -> None:
    """Write ``matrix @ triangle.T`` for a lower triangle."""
    for rows in _strips(len(triangle)):
        np.matmul(matrix[:, : rows.stop], triangle[rows, : rows.stop].T, out=out[:, rows])


def _write_times_triangle(matrix: Matrix, triangle: Matrix, out: Matrix) -> None:
    """Write ``matrix @ triangle`` for a lower triangle."""
    for columns in _strips(len(triangle)):
        np.matmul(
            matrix[:, columns.start :], triangle[columns.start :, columns], out=out[:, columns]
        )


def _write_triangle_times(triangle: Matrix, matrix: Matrix, out: Matrix) -> None:
    """Write ``triangle @ matrix`` for a lower triangle."""
    for rows in _strips(len(triangle)):
        np.matmul(triangle[rows, : rows.stop], matrix[: rows.stop], out=out[rows])


def _strips(size: int) -> list[slice]:
    return [slice(begin, min(begin + STRIP, size)) for begin in range(0, size, STRIP)]
