"""Command-line options that would be left out of what is done: errors.

Only what was typed counts. What configuration adds (``addopts``) is for all runs, and need not be
of use to each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest

from pytest_fragility.plugin.command_line import (
    PREFIX,
    is_enabled,
    is_init_command,
    is_store_command,
    said,
    typed_flags,
    typed_value,
)
from pytest_fragility.plugin.workers import is_worker
from pytest_fragility.settings.option import ALWAYS, IF_TYPED
from pytest_fragility.settings.options import BY_NAME, OPTIONS

OF_STORE = ("store", "store_max_age", "store_max_size", "cache_dir")


def refuse_idle_options(config: pytest.Config) -> None:
    """Raise a UsageError where an option would be left out.

    Raises
    ------
    pytest.UsageError
        If there is such an option.
    """
    if is_worker(config):
        return
    typed = typed_flags(config)
    for option in OPTIONS:
        if option.once and typed.count(option.flag) > 1:
            raise pytest.UsageError(
                f"{option.flag} is given twice, and only the last would count; name all in one"
            )
    measures = said(config, "measure") or []
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
        needing = [o for o in OPTIONS if o.needs_audits == ALWAYS and config.getoption(o.key)]
        needing += [o for o in OPTIONS if o.needs_audits == IF_TYPED and o.flag in typed]
        if needing:
            raise pytest.UsageError(f"{needing[0].flag} needs --fragility, which runs audits")
    names_baseline = typed_value(config, "save") or typed_value(config, "compare")
    if f"{PREFIX}-baselines" in typed and not names_baseline:
        raise pytest.UsageError(
            "--fragility-baselines says where baselines are; it needs --fragility-save or "
            "--fragility-compare"
        )
    if f"{PREFIX}-dask" in typed and {f"{PREFIX}-table", f"{PREFIX}-manifest"} & set(typed):
        raise pytest.UsageError(
            "--fragility-dask says who trains and measures, and what exists already is audited in "
            "this process; leave it out"
        )


def _refuse_all_but(known: Collection[str], typed: Iterable[str], command: str) -> None:
    allowed = [BY_NAME[name].flag for name in known]
    for flag in typed:
        if flag not in allowed:
            raise pytest.UsageError(f"{flag} has no effect beside {command}, which runs no tests")
