"""An audit's settings: the table of options, profiles, and where each value may come from.

A new option is a row of `options.OPTIONS`. Others use what is named below; it is loaded when it is
first used, so that the table can be read alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_fragility._util.lazy import lazy_face

if TYPE_CHECKING:
    from pytest_fragility.settings.audit_settings import AuditSettings as AuditSettings
    from pytest_fragility.settings.idle import require_use as require_use
    from pytest_fragility.settings.options import DEFAULT_FOLDER as DEFAULT_FOLDER
    from pytest_fragility.settings.options import DEFAULTS as DEFAULTS
    from pytest_fragility.settings.options import FAMILY as FAMILY
    from pytest_fragility.settings.options import MANIFEST as MANIFEST
    from pytest_fragility.settings.options import SOURCES as SOURCES
    from pytest_fragility.settings.options import TABLE as TABLE
    from pytest_fragility.settings.profiles import PROFILES as PROFILES
    from pytest_fragility.settings.resolving import require_known_options as require_known_options
    from pytest_fragility.settings.resolving import resolve_settings as resolve_settings
    from pytest_fragility.settings.validators import LOOKS as LOOKS

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_face()
