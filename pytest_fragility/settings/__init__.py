"""An audit's settings: the table of options, profiles, and where each value may come from.

A new option is a row of `options.OPTIONS`. What others use stands in ``__all__``, and is loaded
when it is first used, so that the table can be read alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_fragility.settings.audit_settings import AuditSettings
    from pytest_fragility.settings.idle import require_use
    from pytest_fragility.settings.options import (
        DEFAULT_FOLDER,
        DEFAULTS,
        FAMILY,
        MANIFEST,
        SOURCES,
        TABLE,
    )
    from pytest_fragility.settings.profiles import PROFILES
    from pytest_fragility.settings.resolving import require_known_options, resolve_settings
    from pytest_fragility.settings.validators import LOOKS

__all__ = [
    "DEFAULTS",
    "DEFAULT_FOLDER",
    "FAMILY",
    "LOOKS",
    "MANIFEST",
    "PROFILES",
    "SOURCES",
    "TABLE",
    "AuditSettings",
    "require_known_options",
    "require_use",
    "resolve_settings",
]
_HOMES = {
    "AuditSettings": "audit_settings",
    "LOOKS": "validators",
    "PROFILES": "profiles",
    "require_known_options": "resolving",
    "require_use": "idle",
    "resolve_settings": "resolving",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'options')}"), name)
