"""``--fragility-store``: list, prune or verify the trained runs, in the place of running tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_fragility._util.text import one_line
from pytest_fragility.errors import harmless
from pytest_fragility.plugin.command_line import typed_value
from pytest_fragility.settings.options import BY_NAME

if TYPE_CHECKING:
    from pytest_fragility.store import Store

LIST, PRUNE, VERIFY = BY_NAME["store"].choices
SECONDS = {"h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def run_store_command(config: pytest.Config) -> pytest.ExitCode:
    """Do what the option asks for, and return pytest's exit status.

    Raises
    ------
    pytest.UsageError
        If an option cannot be used, or there is no store.
    """
    command = typed_value(config, "store")
    age, size = (typed_value(config, f"store_max_{what}") for what in ("age", "size"))
    if command != PRUNE and (age or size):
        raise pytest.UsageError(
            "fragility: --fragility-store-max-age and --fragility-store-max-size are limits for "
            "--fragility-store=prune"
        )
    store = _store(config)
    if command == VERIFY:
        return _verify(store)
    if command == PRUNE:
        _prune(store, age, size)
    else:
        _list(store)
    return pytest.ExitCode.OK


def _store(config: pytest.Config) -> Store:
    from pytest_fragility.errors import StoreError
    from pytest_fragility.plugin.session import fragility_session
    from pytest_fragility.store import Store

    folder: Path | None = fragility_session(config).settings.cache_dir
    if folder is None or not folder.is_dir():
        raise pytest.UsageError(
            f"fragility: no trained runs are kept in {one_line(str(folder))} yet"
        )
    try:
        return Store(folder)
    except StoreError as error:
        raise pytest.UsageError(f"fragility: {error}") from error


def _list(store: Store) -> None:
    import torch

    from pytest_fragility.report.store_listing import inventory_table
    from pytest_fragility.store.inventory import take_inventory
    from pytest_fragility.training.trainer import training_environment

    here = [training_environment(torch.device(kind)) for kind in ("cpu", "cuda")]
    print(harmless(inventory_table(store.folder, take_inventory(store.folder, here))))


def _prune(store: Store, max_age: str | None, max_size: str | None) -> None:
    from pytest_fragility.report.store_listing import pruned_text
    from pytest_fragility.store.maintenance import prune

    age = None if max_age is None else seconds_of(max_age)
    size = None if max_size is None else bytes_of(max_size)
    try:
        removed = prune(store.folder, max_age=age, max_size=size)
    except OSError as error:
        raise pytest.UsageError(f"fragility: cannot remove trained runs: {error}") from error
    print(harmless(pruned_text(store.folder, removed)))
    if age is None and size is None:
        print(
            "  Only what nobody can use. To remove runs, name --fragility-store-max-age=30d or\n"
            "  --fragility-store-max-size=2GB"
        )


def _verify(store: Store) -> pytest.ExitCode:
    from pytest_fragility.store.maintenance import verify

    whole = damaged = 0
    for path, reason in verify(store):
        if reason is None:
            whole += 1
        else:
            damaged += 1
            print(harmless(f"{path.parent.name}{path.name}: {reason}"))
    print(harmless(f"{store.folder}: {whole:,} runs whole, {damaged:,} damaged"))
    return pytest.ExitCode.TESTS_FAILED if damaged else pytest.ExitCode.OK


def seconds_of(text: str) -> float:
    """Return how many seconds ``12h``, ``30d`` or ``2w`` are.

    Raises
    ------
    pytest.UsageError
        If it is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if not found:
        raise pytest.UsageError(
            f"fragility: --fragility-store-max-age={text!r}: expected a number of hours, days or "
            "weeks, such as 12h, 30d or 2w"
        )
    return float(found[1]) * SECONDS[found[2]]


def bytes_of(text: str) -> int:
    """Return how many bytes ``500MB`` or ``2GB`` are, in powers of 1000.

    Raises
    ------
    pytest.UsageError
        If it is neither.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?B|)", text.strip().upper())
    if not found:
        raise pytest.UsageError(
            f"fragility: --fragility-store-max-size={text!r}: expected a size such as 500MB or 2GB"
        )
    return int(float(found[1]) * BYTES[found[2]])
