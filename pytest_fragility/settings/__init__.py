"""An audit's settings: profiles, defaults, and where each value may come from."""

from pytest_fragility.settings.audit_settings import AuditSettings
from pytest_fragility.settings.idle import require_use
from pytest_fragility.settings.options import (
    DEFAULT_FOLDER,
    DEFAULTS,
    FAMILY,
    MANIFEST,
    SOURCES,
    TABLE,
    require_known_options,
)
from pytest_fragility.settings.profiles import PROFILES
from pytest_fragility.settings.resolving import resolve_settings
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
