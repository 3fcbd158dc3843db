"""Tests of many values that are one case: the loop of a parametrization, with the values named."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest

Test = Callable[..., None]


def in_turn(
    names: str | tuple[str, ...],
    values: Iterable[Any],
    *,
    ids: Iterable[str] | Callable[[Any], Any] | None = None,
) -> Callable[[Test], Test]:
    """Call a test with one value after the other; a failure says with which it failed.

    Parameters
    ----------
    names
        Of the test's arguments, as for ``pytest.mark.parametrize``.
    values
        One for each call; tuples where there are several names.
    ids
        What a failure calls each; by default, what it prints as.
    """
    arguments = (names,) if isinstance(names, str) else names
    rows = [(value,) if isinstance(names, str) else tuple(value) for value in values]
    assert rows and all(len(row) == len(arguments) for row in rows)
    printed = [", ".join(map(repr, row)) for row in rows]
    called = printed if ids is None or callable(ids) else [*ids]

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def all_in_turn(**fixtures: Any) -> None:
            skipped = 0
            for row, name in zip(rows, called, strict=True):
                try:
                    test(**fixtures, **dict(zip(arguments, row, strict=True)))
                except pytest.skip.Exception:
                    skipped += 1
                except Exception as error:
                    at = f"{', '.join(arguments)} = {name}"
                    raise AssertionError(f"with {at}: {error}") from error
                finally:
                    # each call begins with nothing replaced
                    if "monkeypatch" in fixtures:
                        fixtures["monkeypatch"].undo()
            if skipped == len(rows):
                pytest.skip("every value is skipped")

        signature = inspect.signature(test)
        kept = [each for each in signature.parameters.values() if each.name not in arguments]
        setattr(all_in_turn, "__signature__", signature.replace(parameters=kept))  # noqa: B010
        return all_in_turn

    return decorate
