"""The fixtures that a test takes: whether they are this plugin's own, and where they come from."""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_fragility._util.text import one_line, shown
from pytest_fragility.plugin.asked import asked_check, place_of
from pytest_fragility.plugin.mark import FIXTURES

if TYPE_CHECKING:
    from pytest_fragility.plugin.markers import MarkedAudit


def takes_own(item: pytest.Item, name: str) -> bool:
    """Return whether a fixture that a test takes is this plugin's, or is built on it."""
    return name in getattr(item, "fixturenames", ()) and is_own(_chain(item, name)[-1], name)


def source_of(item: pytest.Item, name: str) -> str:
    """Return where the fixture comes from that a test gets under this name."""
    definition = _chain(item, name)[0]
    if is_own(definition, name):
        return "pytest-fragility's own"
    function = inspect.unwrap(definition.func)
    while isinstance(function, partial):
        function = inspect.unwrap(function.func)
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{package}'s"
    path, root = Path(code.co_filename), item.config.rootpath
    if path.is_relative_to(root):
        return one_line(f"that of {path.relative_to(root).as_posix()}:{code.co_firstlineno}")
    return one_line(f"{package}'s ({path}:{code.co_firstlineno})")


def plugin_of(item: pytest.Item, name: str) -> str:
    """Return what ``-p no:`` calls the plugin that a fixture comes from; empty where it is none."""
    module = sys.modules.get(str(getattr(_chain(item, name)[0].func, "__module__", "")))
    plugins = item.config.pluginmanager
    known = plugins.get_name(module) if module and plugins.is_registered(module) else None
    return "" if known is None or Path(known).is_absolute() else known


def require_usable(item: pytest.Item, audit: MarkedAudit) -> None:
    """Fail where a test's marker names a measure, and nothing in the test can judge it.

    Raises
    ------
    pytest.fail.Exception
        It says which fixtures there are.
    """
    if audit.measure is None or asked_check(item):
        return
    if any(takes_own(item, name) for name in FIXTURES - {"check"}):
        return
    if takes_own(item, "check"):
        raise pytest.fail.Exception(
            f"@pytest.mark.fragility: the measure {shown(audit.name)} is named by a marker of a "
            f"parameter, or one that a hook adds, too late to plan the checks of {item.name}: mark "
            "the test's function, class or module",
            pytrace=False,
        )
    taken = sorted(FIXTURES & set(getattr(item, "fixturenames", ())))
    hidden = "".join(f"; its {name} is {source_of(item, name)}" for name in taken)
    raise pytest.fail.Exception(
        f"@pytest.mark.fragility: the measure {shown(audit.name)} is never judged by {item.name}, "
        f"which takes none of pytest-fragility's fixtures{hidden}. Take check as an argument of a "
        "test function and call it, or learning_curves, trained_family or fragility for a test of "
        "your own design; a test that is to judge no measure has a bare @pytest.mark.fragility, or "
        "none",
        pytrace=False,
    )


def require_own_ids(items: Iterable[pytest.Item]) -> None:
    """Fail where two cases of a marked test have one id, under which reports would mix them up.

    Raises
    ------
    pytest.fail.Exception
        It names them.
    """
    for nodeid, count in Counter(item.nodeid for item in items if place_of(item)).items():
        if count > 1:
            raise pytest.fail.Exception(
                f"@pytest.mark.fragility: {count} cases have the id {nodeid}; give their "
                "parameters ids that tell them apart, with pytest.param(..., id=...)",
                pytrace=False,
            )


def require_free_check(metafunc: pytest.Metafunc) -> None:
    """Fail where the ``check`` of a marked test has parameters already.

    Raises
    ------
    pytest.fail.Exception
        It says where they come from.
    """
    item = metafunc.definition
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", "")
        listed = names.split(",") if isinstance(names, str) else names
        if "check" in [str(name).strip() for name in listed]:
            _fail_over_parameters(item, "@pytest.mark.parametrize gives it values")
    if _chain(item, "check")[0].params is not None:
        _fail_over_parameters(item, f"it is {source_of(item, 'check')}, with params of its own")


def _fail_over_parameters(item: pytest.Item, why: str) -> None:
    raise pytest.fail.Exception(
        f"@pytest.mark.fragility: {item.name} takes check, which stands for one check of the audit "
        f"after another, but {why}: give these another name. Choose checks with checks=[...] in "
        "the marker, or with -k",
        pytrace=False,
    )


def _chain(item: pytest.Item, name: str) -> Sequence[Any]:
    """Return the definitions behind a fixture: the one that the test gets, and what it is built on.

    A definition that takes a fixture of its own name is built on the one that it hides.
    """
    visible = list(item._fixtureinfo.name2fixturedefs.get(name, ()))  # type: ignore[attr-defined]
    chain = [visible.pop()]
    while visible and name in chain[-1].argnames:
        chain.append(visible.pop())
    return chain


def is_own(definition: Any, name: str) -> bool:
    """Return whether a fixture's definition is this plugin's."""
    # the package that this file is in, which defines the fixtures
    plugin = sys.modules[__package__]
    return definition.func is inspect.unwrap(getattr(plugin, name))
