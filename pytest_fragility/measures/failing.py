"""Networks on which a measure fails: all of one curve are told together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_fragility.errors import MeasureError

# a measure that fails on so many networks of a curve is not asked about the others
MANY = 3


class Failures:
    """The networks of one curve on which a measure has failed; `found` has errors by n and seed."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], MeasureError] = {}

    @contextmanager
    def noting(self, n: int, seed: int) -> Iterator[None]:
        """Go on after a failure on this network, unless there are many.

        Raises
        ------
        MeasureError
            If there are.
        """
        try:
            yield
        except MeasureError as error:
            self.found[n, seed] = error
            if len(self.found) == MANY:
                self._raise(is_whole=False)

    def raise_if_any(self) -> None:
        """Raise the first failure, with the others told.

        Raises
        ------
        MeasureError
            If the measure has failed; it knows with which seeds.
        """
        if self.found:
            self._raise(is_whole=True)

    def _raise(self, *, is_whole: bool) -> None:
        first = next(iter(self.found.values()))
        others = [f"n={n}, seed {seed}" for n, seed in list(self.found)[1:]]
        text = str(first)
        if others:
            text += f". It fails too on {' and on '.join(others)}"
        if not is_whole:
            text += ", and is not asked about more"
        seeds = {seed for _, seed in self.found} if is_whole else ()
        raise MeasureError(text, seeds=seeds).with_traceback(
            first.__traceback__
        ) from first.__cause__
