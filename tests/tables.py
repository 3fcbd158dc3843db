"""Tests that go through a table of cases, and what a user sees for an input that is refused."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from pytest_fragility._util.text import shown
from pytest_fragility.errors import LONGEST_TEXT, FragilityError

_Named = type(pytest.param())


def each(names: str | tuple[str, ...], rows: Iterable[Any]) -> Callable[..., Any]:
    """Have a test called with every row, as ``pytest.mark.parametrize`` has, but as one test.

    For rows that differ in nothing but what is put in. Fixtures are those of the one test, but for
    `tmp_path`, which is a new folder for each row, and `monkeypatch`, which is undone after it.

    Parameters
    ----------
    names
        Of the test's parameters that rows hold; of one alone, rows are its values.
    rows
        Tuples of values; those of ``pytest.param`` are called by their id.
    """
    columns = (names,) if isinstance(names, str) else names
    table = [_read(row, is_tuple=columns is names) for row in rows]

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            wrong = []
            for place, (name, values) in enumerate(table):
                try:
                    with _fresh(fixtures, place) as own:
                        test(**own, **dict(zip(columns, values, strict=True)))
                except (Exception, pytest.fail.Exception) as error:
                    line = traceback.extract_tb(error.__traceback__)[1].lineno
                    wrong.append(f"{name}, line {line}: {type(error).__name__}: {error}")
            assert table and not wrong, f"{len(wrong)} of {len(table)} rows:\n" + "\n".join(wrong)

        signature = inspect.signature(test)
        kept = [each for name, each in signature.parameters.items() if name not in columns]
        run.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return run

    return decorate


@contextmanager
def _fresh(fixtures: dict[str, Any], place: int) -> Iterator[dict[str, Any]]:
    """Yield the fixtures for one row."""
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
        values = tuple(row.values)  # type: ignore[attr-defined]
        return getattr(row, "id", None) or shown(values), values
    return shown(row), tuple(row) if is_tuple else (row,)


def odd(value: object) -> Any:
    """Return a value whose type is another than the one that is expected."""
    return value


def rows(*table: tuple[Any, ...]) -> list[Any]:
    """Return table rows as parameters, each under its first entry as id."""
    return [pytest.param(*row[1:], id=row[0]) for row in table]


def raising(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises this."""

    def function(*_: Any) -> Any:
        raise error

    return function


def sees(error: type[Exception], message: str, put_in: Callable[[], Any]) -> str:
    """Put something in; return the text of the error, which has to be of the project's own."""
    with pytest.raises(error, match=message) as caught:
        put_in()
    assert isinstance(caught.value, FragilityError)
    text = str(caught.value)
    assert all(character.isprintable() or character in "\n\t" for character in text)
    assert len(text) < LONGEST_TEXT + 100
    return text
