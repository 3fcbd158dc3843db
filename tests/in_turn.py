"""Tests of many values that are one case: the loop of a parametrization, with the values named."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from pytest_fragility._util.text import shown

Test = Callable[..., None]
_Named = type(pytest.param())


def in_turn(
    names: str | tuple[str, ...],
    values: Iterable[Any],
    *,
    ids: Iterable[str] | Callable[[Any], Any] | None = None,
) -> Callable[[Test], Test]:
    """Call a test with one value after the other; a failure says with which of them it failed.

    For values that differ in nothing but what is put in. Fixtures are those of the one test, but
    for `tmp_path`, a new folder for each value, and `monkeypatch`, which is undone after it.

    Parameters
    ----------
    names
        Of the test's arguments, as for ``pytest.mark.parametrize``.
    values
        One for each call; tuples, or ``pytest.param``, where there are several names.
    ids
        What a failure calls each; by default, what it prints as.
    """
    columns = (names,) if isinstance(names, str) else names
    table = [_read(row, is_tuple=columns is names) for row in values]
    if ids is not None and not callable(ids):
        table = [(name, row) for name, (_, row) in zip(ids, table, strict=True)]
    assert table and all(len(row) == len(columns) for _, row in table)

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def all_in_turn(**fixtures: Any) -> None:
            wrong, skipped = [], 0
            for place, (name, row) in enumerate(table):
                try:
                    with _fresh(fixtures, place) as own:
                        test(**own, **dict(zip(columns, row, strict=True)))
                except pytest.skip.Exception:
                    skipped += 1
                except (Exception, pytest.fail.Exception) as error:
                    line = traceback.extract_tb(error.__traceback__)[1].lineno
                    wrong.append(f"{name}, line {line}: {type(error).__name__}: {error}")
            assert not wrong, f"{len(wrong)} of {len(table)}:\n" + "\n".join(wrong)
            if skipped == len(table):
                pytest.skip("every value is skipped")

        signature = inspect.signature(test)
        kept = [each for name, each in signature.parameters.items() if name not in columns]
        setattr(all_in_turn, "__signature__", signature.replace(parameters=kept))  # noqa: B010
        return all_in_turn

    return decorate


@contextmanager
def _fresh(fixtures: dict[str, Any], place: int) -> Iterator[dict[str, Any]]:
    """Yield the fixtures for one value."""
    own = dict(fixtures)
    if "tmp_path" in own:
        own["tmp_path"] = own["tmp_path"] / f"row {place}"
        own["tmp_path"].mkdir()
    with ExitStack() as undone:
        if "monkeypatch" in own:
            own["monkeypatch"] = undone.enter_context(own["monkeypatch"].context())
        yield own


def _read(row: Any, *, is_tuple: bool) -> tuple[str, tuple[Any, ...]]:
    """Return a row's name and its values."""
    if isinstance(row, _Named):
        values = tuple(row.values)
        return getattr(row, "id", None) or shown(values), values
    return shown(row), tuple(row) if is_tuple else (row,)
