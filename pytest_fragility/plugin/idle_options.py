"""Command-line options that would be left out of what is done: errors.

Only what was typed counts. What configuration adds (``addopts``) is for all runs, and need not be
of use to each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest

from pytest_fragility.plugin.options import (
    COMPARE_KEY,
    MEASURE,
    PREFIX,
    SAVE_KEY,
    is_enabled,
    is_init_command,
    is_store_command,
    typed_options,
)
from pytest_fragility.plugin.workers import is_worker

OF_STORE = ("store", "store-max-age", "store-max-size", "cache-dir")
# not even where configuration adds them
NEVER_IDLE = ("measure", "table", "manifest", "save", "compare")
# what only audits use; the others are for property-based tests too, which run without --fragility
OF_AUDITS = ("report", "locate", "ladder", "checkpoints")
# of which the last would silently take the others' place
ONCE = ("table", "manifest", "perturbations", "checkpoints", "save", "compare")


def refuse_idle_options(config: pytest.Config) -> None:
    """Raise a UsageError where an option would be left out.

    Raises
    ------
    pytest.UsageError
        If there is such an option.
    """
    if is_worker(config):
        return
    typed = typed_options(config)
    for option in ONCE:
        if typed.count(option) > 1:
            raise pytest.UsageError(
                f"{PREFIX}-{option} is given twice, and only the last would count; name all in one"
            )
    measures = MEASURE.said(config) or []
    for measure in measures:
        if measures.count(measure) > 1:
            raise pytest.UsageError(f"{PREFIX}-measure={measure} is given twice")
    if is_init_command(config):
        _refuse_all_but(["init"], typed, "--fragility-init")
        if config.args_source is pytest.Config.ArgsSource.ARGS:
            raise pytest.UsageError(
                "--fragility-init writes into the current folder, and takes no files or folders"
            )
    elif is_store_command(config):
        _refuse_all_but(OF_STORE, typed, "--fragility-store")
    elif not is_enabled(config):
        needing = [each for each in NEVER_IDLE if config.getoption(f"fragility_{each}")]
        needing += [option for option in typed if option in OF_AUDITS]
        if needing:
            raise pytest.UsageError(
                f"--fragility-{needing[0]} needs --fragility, which runs audits"
            )
    if "baselines" in typed and not (config.getoption(SAVE_KEY) or config.getoption(COMPARE_KEY)):
        raise pytest.UsageError(
            "--fragility-baselines says where baselines are; it needs --fragility-save or "
            "--fragility-compare"
        )
    if "dask" in typed and ("table" in typed or "manifest" in typed):
        raise pytest.UsageError(
            "--fragility-dask says who trains and measures, and what exists already is audited in "
            "this process; leave it out"
        )


def _refuse_all_but(known: Collection[str], typed: Iterable[str], command: str) -> None:
    for option in typed:
        if option not in known:
            flag = f"{PREFIX}-{option}" if option else PREFIX
            raise pytest.UsageError(f"{flag} has no effect beside {command}, which runs no tests")
