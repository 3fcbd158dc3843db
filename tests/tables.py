"""What a user sees for an input that is refused, and the parts of tables of such inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_fragility.errors import LONGEST_TEXT, FragilityError


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
