"""What an audit is asked for and has no use for: an error, so that nothing is left out unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_fragility._util.text import shown
from pytest_fragility.checks.registry import ASKED_AS
from pytest_fragility.curves.resources import NETWORKS
from pytest_fragility.errors import SettingsError
from pytest_fragility.settings.audit_settings import AuditSettings
from pytest_fragility.settings.option import WHERE
from pytest_fragility.settings.options import NO_LADDER, SOURCES, settings_that_say

# which kinds of checks an option is for; trend and error_margin say what a measure is like and what
# a small change is, whatever is checked
SERVES = {
    option: [name for name, kind in ASKED_AS.items() if option in kind.options]
    for option in dict.fromkeys(each for kind in ASKED_AS.values() for each in kind.options)
}
# what leaves checks out
CHOOSES_CHECKS = ("checks", "scale", "ladder", *SOURCES)


def require_use(asked: Mapping[str, Any], settings: AuditSettings) -> None:
    """Raise a SettingsError where something is asked of an audit that does nothing there.

    Parameters
    ----------
    asked
        Options that were given for this very audit, by name. What is said elsewhere, as in a
        configuration file, is for all audits: it need not be of use to each, and where it leaves
        something out, this audit's options are for other times.
    settings
        What came of it.
    """
    named = {name: value for name, value in asked.items() if value is not None}
    made = settings.kinds if any(name in named for name in CHOOSES_CHECKS) else tuple(ASKED_AS)
    for option, kinds in SERVES.items():
        if asks(option, named.get(option)) and not set(kinds) & set(made):
            _refuse(
                option,
                named[option],
                f"it is for the checks {', '.join(kinds)}, and this audit makes only "
                f"{', '.join(settings.kinds)}",
            )
    if settings.given is not None:
        _require_use_of_given(named, settings)
    elif named.get("architectures"):
        _refuse(
            "architectures",
            named["architectures"],
            "it says what the names in a manifest stand for, and there is none; architecture= says "
            "what is trained",
        )
    elif "budget" in named and not settings.axes:
        _refuse(
            "budget",
            named["budget"],
            "it limits what is trained to locate breaking points; ask for them with locate=True",
        )


def asks(option: str, value: Any) -> bool:
    """Return whether an option's value asks for anything: no ladder is nothing."""
    return value is not None and not (option == "ladder" and value == NO_LADDER)


def _require_use_of_given(named: Mapping[str, Any], settings: AuditSettings) -> None:
    given = settings.given
    assert given is not None
    if "cache_dir" in named:
        _refuse("cache_dir", named["cache_dir"], "nothing is trained that could be kept there")
    if NETWORKS not in given.offers:
        for option in settings_that_say(WHERE):
            if named.get(option, "auto") != "auto":
                _refuse(option, named[option], "a table holds values, and no measure is called")
    elif "family" in named and named.get("device", "auto") != "auto":
        from pytest_fragility.training.devices import choose_device

        device = given.require_networks().device
        if choose_device(named["device"]) != device:
            _refuse("device", named["device"], f"the family's networks are on {device} already")


def _refuse(option: str, value: Any, reason: str) -> None:
    raise SettingsError(f"{option}={shown(value)} would change nothing: {reason}; leave it out")
