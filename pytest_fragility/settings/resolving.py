"""Settings from several sources: the first that gives a value is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_fragility._util.text import nearest, shown
from pytest_fragility.checks.kind import TASKS
from pytest_fragility.checks.registry import any_rests_on
from pytest_fragility.checks.tolerances import Tolerances
from pytest_fragility.errors import SettingsError
from pytest_fragility.perturbations import Perturbation
from pytest_fragility.recipes import Recipe
from pytest_fragility.settings.audit_settings import AuditSettings
from pytest_fragility.settings.options import DEFAULTS, MANIFEST, SETTINGS, SOURCES
from pytest_fragility.settings.profiles import PROFILES
from pytest_fragility.settings.validators import (
    CHECKS,
    checked_alone,
    checked_axes,
    checked_checkpoints,
    checked_kinds,
    checked_ladder,
    checked_looks,
    checked_perturbations,
    checked_seeds,
    checked_sizes,
    checked_task,
    loaded_architecture,
    require_one_meaning,
)


def _not_made_here(recipe: Recipe) -> Recipe:
    raise SettingsError("these networks were trained elsewhere; no recipe can be made of another")


_MADE_ELSEWHERE = Perturbation("elsewhere", _not_made_here)
_ANY_LADDER: Any = True


def require_known_options(options: Mapping[str, Any], also: Sequence[str] = ()) -> None:
    """Raise a SettingsError, naming the nearest right one, where an option is unknown."""
    known = [*DEFAULTS, *also]
    for name in options:
        if name not in known:
            raise SettingsError(
                f"unknown argument {shown(name)}{nearest(name, known)}; expected {', '.join(known)}"
            )


def resolve_settings(*layers: Mapping[str, Any]) -> AuditSettings:
    """Return the settings that several sources give, the first source first.

    Parameters
    ----------
    *layers
        Options by name, as `pytest_fragility.audit` takes them; a value of None counts as not
        given, but for ``cache_dir``, where it means to keep nothing. Defaults come last.

    Raises
    ------
    SettingsError
        If an option is unknown or its value cannot be used.
    TaskError
        If there is no such task.
    """
    for layer in layers:
        require_known_options(layer)
    chosen = {name: _first(name, layers) for name in DEFAULTS}
    # each names more of them
    chosen["architectures"] = _named_architectures(layers)
    recipe = Recipe() if chosen["recipe"] is None else chosen["recipe"]
    common = _common(chosen)
    named = _layers_with_source(layers)
    if named:
        return _settings_of_given(named, {**chosen, "recipe": recipe}, common)
    if not isinstance(recipe, Recipe):
        raise SettingsError(f"recipe={shown(recipe)}: expected a pytest_fragility.Recipe")
    if chosen["architecture"] is not None:
        recipe = recipe.replace(architecture=loaded_architecture(chosen["architecture"]))
    profile = PROFILES[common["profile"]]
    task = checked_task(chosen["task"])
    ladder = checked_ladder(chosen["ladder"], task)
    kinds = checked_kinds(chosen["checks"], common["scale"], ladder)
    sizes = checked_sizes(profile.sizes if chosen["sizes"] is None else chosen["sizes"])
    perturbations = checked_perturbations(chosen["perturbations"], profile, recipe, sizes)
    checkpoints = checked_checkpoints(chosen["checkpoints"], profile, recipe, kinds)
    require_one_meaning(perturbations, checkpoints, recipe)
    looks = checked_looks(chosen["seeds"])
    return AuditSettings(
        task=task,
        recipe=recipe,
        sizes=sizes,
        seeds=checked_seeds(profile.seeds if looks or chosen["seeds"] is None else chosen["seeds"]),
        looks=looks,
        perturbations=perturbations,
        checkpoints=checkpoints,
        ladder=ladder if any_rests_on(kinds, TASKS) else None,
        kinds=kinds,
        axes=checked_axes(chosen["locate"], recipe),
        **common,
    )


def _common(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that depend neither on others nor on which networks are audited."""
    checked = {
        option.name: checked_alone(option, chosen[option.name])
        for option in SETTINGS
        if option.takes in CHECKS or option.choices
    }
    tolerances = Tolerances(
        exponent=checked.pop("exponent_tolerance"),
        spread=checked.pop("spread_tolerance"),
        margin=checked.pop("error_margin"),
        sensitivity=checked.pop("least_sensitivity"),
        invariance=checked.pop("invariance_tolerance"),
        trend=checked.pop("trend"),
    )
    return {"tolerances": tolerances, **checked}


def _layers_with_source(layers: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the layers down to the first that names what exists already; none where none does."""
    for place, layer in enumerate(layers):
        if any(layer.get(source) is not None for source in SOURCES):
            return layers[: place + 1]
    return ()


def _settings_of_given(
    layers: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any], common: Mapping[str, Any]
) -> AuditSettings:
    """Return the settings of an audit of what exists already.

    What says which networks are audited counts where it stands with what names them, or before:
    a configuration file that says what is trained by default does not stand in its way.
    """
    from pytest_fragility.settings.existing import given_by, possible_kinds

    options = {
        name: value
        for layer in reversed(layers)
        for name, value in layer.items()
        if value is not None
    }
    if options.get(MANIFEST) is not None:
        options["architectures"] = chosen["architectures"]
    given = given_by({**options, "device": common["device"]})
    named = chosen["checks"]
    if named is not None:
        checked_kinds(named, common["scale"], _ANY_LADDER)
        named = (named,) if isinstance(named, str) else tuple(named)
    return AuditSettings(
        task=given.task,
        recipe=chosen["recipe"],
        sizes=given.sizes,
        seeds=given.seeds,
        looks=(),
        perturbations=dict.fromkeys(given.perturbations, _MADE_ELSEWHERE),
        checkpoints=dict.fromkeys(given.checkpoints, _MADE_ELSEWHERE),
        ladder=None,
        kinds=possible_kinds(given, common["scale"], named),
        axes=(),
        given=given,
        **common,
    )


def _named_architectures(layers: Sequence[Mapping[str, Any]]) -> Any:
    """Return what all layers call architectures; the first that has a name decides about it."""
    found: dict[Any, Any] = {}
    for layer in reversed(layers):
        named = layer.get("architectures")
        if named is not None and not isinstance(named, Mapping):
            raise SettingsError(
                f"architectures={shown(named)}: expected a dict from what a manifest says to "
                "architectures"
            )
        found |= named or {}
    return found


def _first(name: str, layers: Sequence[Mapping[str, Any]]) -> Any:
    for layer in layers:
        if name in layer and (layer[name] is not None or name == "cache_dir"):
            return layer[name]
    return DEFAULTS[name]
