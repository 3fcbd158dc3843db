"""Loops in the place of parametrizations: nothing of one call reaches the next, or is hidden."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.in_turn import in_turn


def test_a_failure_names_its_values() -> None:
    """Those of each loop; what comes behind it is called all the same."""
    calls: list[int] = []

    @in_turn(("number", "word"), [(1, "a"), (2, "b"), (3, "c")])
    @in_turn("sign", [1, -1], ids=["plus", "minus"])
    def loop(number: int, word: str, sign: int) -> None:
        calls.append(sign * number)
        assert sign * number != -2, f"{word} is wrong"

    with pytest.raises(
        AssertionError, match=r"1 of 3:\n\(2, 'b'\), .*1 of 2:\nminus, .*b is wrong"
    ):
        loop()
    assert calls == [1, -1, 2, -2, 3, -3]


def test_only_a_loop_without_any_call_is_skipped() -> None:
    """A skipped value does not hide those behind it."""

    @in_turn("number", [1, 2, 3])
    def loop(number: int, last: int) -> None:
        if number < last:
            pytest.skip("too small")
        pytest.fail("large enough")

    with pytest.raises(AssertionError, match=r"1 of 3:\n3, .*large enough"):
        loop(last=3)
    with pytest.raises(pytest.skip.Exception):
        loop(last=4)
    with pytest.raises(AssertionError):
        in_turn("number", [])


@in_turn("number", [1, 2])
def test_each_call_begins_anew(
    number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As every case of a parametrization does."""
    assert "IN_TURN" not in os.environ and not [*tmp_path.iterdir()]
    monkeypatch.setenv("IN_TURN", str(number))
    tmp_path.joinpath("left").touch()
