"""An audit's settings: profiles, defaults, and where each value may come from."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_fragility.checks.planning import (
    COMPLEXITY,
    INVARIANCE_KINDS,
    KINDS,
    LINEAR_KINDS,
    STOPPING,
    nearest,
    plan_checks,
)
from pytest_fragility.checks.tolerances import TRENDS, Tolerances
from pytest_fragility.errors import SettingsError
from pytest_fragility.names import LONGEST_NAME
from pytest_fragility.perturbations import (
    AXES,
    BASELINE,
    Perturbation,
    changes_recipe,
    get_perturbation,
    resolve_perturbations,
)
from pytest_fragility.places import load
from pytest_fragility.quoting import shown
from pytest_fragility.recipes import Recipe
from pytest_fragility.recipes.rules import is_number, is_whole
from pytest_fragility.tasks import Ladder, Task, get_ladder, get_task
from pytest_fragility.tasks.ladders import LABEL_NOISE, LADDERS

if TYPE_CHECKING:
    from pytest_fragility.checks.planning import Check
    from pytest_fragility.elsewhere.given import Given
    from pytest_fragility.families import FamilyPlan

DEFAULT_FOLDER = ".fragility_cache"
SCALES = ("log", "linear")
NO_LADDER = "none"
# what names networks or values that exist already
SOURCES = FAMILY, MANIFEST, TABLE = "family", "manifest", "table"

# named here too, so that settings need no NumPy
FITS = ("least-squares", "theil-sen", "repeated-medians")

# what locate=True walks along; the others have few steps, or take long
LOCATED_AXES = ("lr", "batch", "optimizer", "weight-decay", "init")

# as a 64-bit number holds them
MOST = 2**63 - 1
MOST_SEEDS = 10_000
# below it, an interval's ends are no numbers any more
LEAST_ALPHA = 1e-9

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")
_AUTO = re.compile(r"auto(?:-([0-9]{1,9}))?")


@dataclass(frozen=True)
class Profile:
    """How much an audit spends by default.

    Parameters
    ----------
    sizes
        Training set sizes.
    seeds
        Number of seeds.
    perturbations
        Names.
    checkpoints
        Names of perturbations that change nothing but where the training stops.
    """

    sizes: tuple[int, ...]
    seeds: int
    perturbations: tuple[str, ...]
    checkpoints: tuple[str, ...]


_STANDARD = (
    "lr-x3",
    "lr-x10",
    "momentum",
    "adam",
    "adam-x10",
    "rmsprop",
    "batch-x4",
    "weight-decay",
    "stop-accuracy",
)

_QUICK_STOPS = ("stop-accuracy", "past-x2")
_STOPS = ("stop-accuracy", "stop-loss-0.01", "past-x2", "past-x4")

PROFILES = {
    "quick": Profile((32, 64, 128, 256, 512), 4, ("lr-x3", "lr-x10", "adam-x10"), _QUICK_STOPS),
    "standard": Profile((32, 64, 128, 256, 512, 1024), 6, _STANDARD, _STOPS),
    "thorough": Profile(
        (32, 64, 128, 256, 512, 1024),
        10,
        (*_STANDARD, "nesterov", "adamw", "batch-div4", "init-div2", "stop-later"),
        (*_STOPS, "stop-loss-0.001"),
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditSettings:
    """Everything that an audit is asked for, checked; made by `resolve_settings`.

    Parameters
    ----------
    task
        What is learned.
    recipe
        The baseline.
    sizes, seeds
        The grid. Where seeds are trained as they are needed, the profile's number of them, which
        searches and tests of one's own design take.
    looks
        Where seeds are trained as they are needed: with how many checks are looked at, ascending;
        empty where their number is fixed.
    perturbations
        By name.
    checkpoints
        By name: perturbations that change nothing but where the training stops, for the check of
        stopping; empty where it is not made.
    ladder
        Tasks for the complexity check; None where it is not made.
    kinds
        Kinds of checks.
    axes
        Along which breaking points are located.
    tolerances
        How far a measure may move.
    alpha
        Intervals have level ``1 - alpha``; every check errs with probability at most alpha.
    scale
        ``"log"`` or ``"linear"``.
    fit
        How lines are fitted to learning curves.
    profile
        Where sizes, seeds and perturbations come from when they are not given.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    cache_dir
        Folder of the store of trained runs; None keeps nothing.
    budget
        How many networks may be trained on demand, one recipe after the other.
    measure_timeout
        Seconds that the measure may take for a network; None has no limit.
    given
        Networks or values that exist already, so that nothing is trained, and the recipes are
        those of `given`; None trains them.
    """

    task: Task
    recipe: Recipe
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    perturbations: dict[str, Perturbation]
    checkpoints: dict[str, Perturbation]
    ladder: Ladder | None
    kinds: tuple[str, ...]
    axes: tuple[str, ...]
    tolerances: Tolerances
    alpha: float
    scale: str
    fit: str
    profile: str
    device: str
    cache_dir: Path | None
    budget: int
    measure_timeout: float | None

    given: Given | None = None

    @property
    def descriptions(self) -> dict[str, str]:
        """The baseline and the perturbed recipes in words, by name."""
        if self.given:
            return dict(self.given.recipes)
        return {name: str(recipe) for name, recipe in self.recipes().items()}

    @property
    def ladder_name(self) -> str | None:
        """What reports call the ladder; None without one."""
        if self.given:
            return self.given.ladder if COMPLEXITY in self.kinds else None
        return self.ladder.name if self.ladder else None

    @property
    def checks(self) -> list[Check]:
        """The audit's checks, in the order in which they are reported."""
        return plan_checks(self.kinds, self.perturbations, self.checkpoints, self.axes)

    def recipes(self, names: Sequence[str] | None = None) -> dict[str, Recipe]:
        """Return the baseline and the perturbed recipes by name, or only those in `names`."""
        recipes = {BASELINE: self.recipe}
        changes = {**self.perturbations, **self.checkpoints}
        recipes |= {name: change(self.recipe) for name, change in changes.items()}
        return (
            recipes if names is None else {name: recipes[name] for name in recipes if name in names}
        )

    def plan(
        self,
        names: Sequence[str] | None = None,
        *,
        with_ladder: bool = True,
        with_equivalents: bool = True,
    ) -> FamilyPlan:
        """Return the family to train, whole or with the recipes in `names` alone."""
        from pytest_fragility.families import FamilyPlan

        needs_equivalents = any(kind in INVARIANCE_KINDS for kind in self.kinds)
        return FamilyPlan(
            self.task,
            self.recipes(names),
            self.sizes,
            self.seeds,
            self.ladder if with_ladder else None,
            with_equivalents=with_equivalents and needs_equivalents,
        )


# each about half as many more as all before; fewer than five decide next to nothing
LOOKS = (5, 8, 13, 21)

DEFAULTS: dict[str, Any] = {
    "task": "digits+label-noise-0.2",
    "recipe": Recipe(),
    "architecture": None,
    "profile": "standard",
    "sizes": None,
    "seeds": None,
    "perturbations": None,
    "checkpoints": None,
    "ladder": LABEL_NOISE,
    "checks": None,
    "locate": False,
    "trend": Tolerances.trend,
    "exponent_tolerance": Tolerances.exponent,
    "spread_tolerance": Tolerances.spread,
    "error_margin": Tolerances.margin,
    "least_sensitivity": Tolerances.sensitivity,
    "invariance_tolerance": Tolerances.invariance,
    "alpha": 0.05,
    "scale": "log",
    "fit": FITS[0],
    "device": "auto",
    "cache_dir": DEFAULT_FOLDER,
    "budget": 5_000,
    "measure_timeout": None,
    "family": None,
    "manifest": None,
    "table": None,
}


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
    profile = _choose("profile", chosen["profile"], PROFILES)
    named = _layers_with_source(layers)
    if named:
        return _settings_of_given(named, chosen)
    recipe = chosen["recipe"]
    if not isinstance(recipe, Recipe):
        raise SettingsError(f"recipe={shown(recipe)}: expected a pytest_fragility.Recipe")
    if chosen["architecture"] is not None:
        recipe = recipe.replace(architecture=_architecture(chosen["architecture"]))
    common = _common(chosen)
    task = _task(chosen["task"])
    ladder = _ladder(chosen["ladder"], task)
    kinds = _kinds(chosen["checks"], common["scale"], ladder)
    perturbations = _perturbations(chosen["perturbations"], profile, recipe)
    checkpoints = _checkpoints(chosen["checkpoints"], profile, recipe, kinds)
    _require_one_meaning(perturbations, checkpoints, recipe)
    looks = _looks(chosen["seeds"])
    return AuditSettings(
        task=task,
        recipe=recipe,
        sizes=_sizes(profile.sizes if chosen["sizes"] is None else chosen["sizes"]),
        seeds=_seeds(profile.seeds if looks or chosen["seeds"] is None else chosen["seeds"]),
        looks=looks,
        perturbations=perturbations,
        checkpoints=checkpoints,
        ladder=ladder if COMPLEXITY in kinds else None,
        kinds=kinds,
        axes=_axes(chosen["locate"], recipe),
        **common,
    )


def _common(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that do not depend on which networks are audited."""
    return {
        "tolerances": Tolerances(
            exponent=_number("exponent_tolerance", chosen["exponent_tolerance"]),
            spread=_number("spread_tolerance", chosen["spread_tolerance"]),
            margin=_number("error_margin", chosen["error_margin"]),
            sensitivity=_number("least_sensitivity", chosen["least_sensitivity"]),
            invariance=_number("invariance_tolerance", chosen["invariance_tolerance"]),
            trend=_choose("trend", chosen["trend"], {name: name for name in TRENDS}),
        ),
        "alpha": _alpha(chosen["alpha"]),
        "scale": _choose("scale", chosen["scale"], {name: name for name in SCALES}),
        "fit": _choose("fit", chosen["fit"], {name: name for name in FITS}),
        "profile": chosen["profile"],
        "device": _device(chosen["device"]),
        "cache_dir": _folder(chosen["cache_dir"]),
        "budget": _budget(chosen["budget"]),
        "measure_timeout": _timeout(chosen["measure_timeout"]),
    }


def _layers_with_source(layers: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the layers down to the first that names what exists already; none where none does."""
    for place, layer in enumerate(layers):
        if any(layer.get(source) is not None for source in SOURCES):
            return layers[: place + 1]
    return ()


def _settings_of_given(
    layers: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any]
) -> AuditSettings:
    """Return the settings of an audit of what exists already.

    What says which networks are audited counts where it stands with what names them, or before:
    a configuration file that says what is trained by default does not stand in its way.
    """
    from pytest_fragility.elsewhere.given import given_by, possible_kinds

    options = {
        name: value
        for layer in reversed(layers)
        for name, value in layer.items()
        if value is not None
    }
    if "architecture" in options:
        options["architecture"] = _architecture(options["architecture"])
    common = _common(chosen)
    given = given_by({**options, "device": common["device"]})
    named = chosen["checks"]
    if named is not None:
        _kinds(named, common["scale"], _ANY_LADDER)
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


def _require_one_meaning(
    perturbations: Mapping[str, Perturbation],
    checkpoints: Mapping[str, Perturbation],
    recipe: Recipe,
) -> None:
    for name in perturbations.keys() & checkpoints.keys():
        if perturbations[name](recipe) != checkpoints[name](recipe):
            raise SettingsError(
                f"{name!r} is one change among the perturbations and another one among the "
                "checkpoints; give one of them another name"
            )


def _first(name: str, layers: Sequence[Mapping[str, Any]]) -> Any:
    for layer in layers:
        if name in layer and (layer[name] is not None or name == "cache_dir"):
            return layer[name]
    return DEFAULTS[name]


def _choose(option: str, value: Any, known: Mapping[str, Any]) -> Any:
    if not isinstance(value, str) or value not in known:
        raise SettingsError(
            f"{option}={shown(value)}{nearest(value, known)}: expected {', '.join(known)}"
        )
    return known[value]


def _task(value: Any) -> Task:
    if isinstance(value, str):
        return get_task(value)
    if not isinstance(value, Task):
        raise SettingsError(f"task={shown(value)}: expected a name or a pytest_fragility.Task")
    return value


def _ladder(value: Any, task: Task) -> Ladder | None:
    if isinstance(value, str):
        _choose("ladder", value, dict.fromkeys([*LADDERS, NO_LADDER]))
        return None if value == NO_LADDER else get_ladder(value, task)
    if isinstance(value, Ladder):
        return value
    if not isinstance(value, Iterable):
        raise SettingsError(f"ladder={shown(value)}: expected a name, a Ladder or a list of tasks")
    tasks = [_task(each) for each in value]
    name = " -> ".join(each.name for each in tasks) or "of no task"
    return Ladder(name if len(name) <= LONGEST_NAME else f"of {len(tasks)} tasks", tasks)


def _whole_numbers(option: str, values: Any, least: int) -> tuple[int, ...]:
    try:
        numbers = tuple(operator.index(number) for number in values)
        has_flags = any(isinstance(number, bool) for number in values)
    except TypeError:
        numbers, has_flags = (), True
    if has_flags or not all(is_whole(number, least, MOST) for number in numbers):
        raise SettingsError(
            f"{option}={shown(values)}: expected a list of whole numbers from {least} up, below "
            "2^63"
        )
    if len(set(numbers)) != len(numbers):
        raise SettingsError(f"{option}={shown(values)}: a value is given twice")
    return numbers


def _sizes(values: Any) -> tuple[int, ...]:
    sizes = tuple(sorted(_whole_numbers("sizes", values, 1)))
    if len(sizes) < 2:
        raise SettingsError(f"sizes={shown(values)}: a learning curve needs at least two sizes")
    return sizes


def _seeds(values: Any) -> tuple[int, ...]:
    is_count = isinstance(values, int) and not isinstance(values, bool)
    if is_count and values > MOST_SEEDS:
        raise SettingsError(f"seeds={shown(values)}: expected at most {MOST_SEEDS:,}")
    seeds = tuple(range(values)) if is_count else _whole_numbers("seeds", values, 0)
    if len(seeds) < 2:
        raise SettingsError(
            f"seeds={shown(values)}: expected at least two seeds (a number of them, or a list), "
            "since intervals are taken over seeds"
        )
    return seeds


def _looks(value: Any) -> tuple[int, ...]:
    """Return with how many seeds checks are looked at: up to 21, or to what ``auto-N`` says."""
    if not isinstance(value, str):
        return ()
    found = _AUTO.fullmatch(value)
    most = int(found[1] or LOOKS[-1]) if found else 0
    if not LOOKS[0] <= most <= MOST_SEEDS:
        raise SettingsError(
            f"seeds={shown(value)}: expected a number, a list of numbers, auto, or auto-N with N "
            f"the largest number of seeds, {LOOKS[0]} or more and at most {MOST_SEEDS:,}"
        )
    looks = list(LOOKS)
    while looks[-1] < most:
        looks.append(looks[-1] + looks[-2])
    return (*(look for look in looks if look < most), most)


def _architecture(value: Any) -> Any:
    """Return what a recipe takes: a place in a module stands for what is there."""
    is_place = isinstance(value, str) and ":" in value
    return load(value, "architecture") if is_place else value


def _perturbations(value: Any, profile: Profile, recipe: Recipe) -> dict[str, Perturbation]:
    if value is None:
        standard = [get_perturbation(name) for name in profile.perturbations]
        return {change.name: change for change in standard if change(recipe) != recipe}
    if isinstance(value, str) or callable(value):
        value = [value]
    return resolve_perturbations(_listed("perturbations", value), recipe)


def _checkpoints(
    value: Any, profile: Profile, recipe: Recipe, kinds: Sequence[str]
) -> dict[str, Perturbation]:
    if STOPPING not in kinds:
        return {}
    if value is None:
        standard = [get_perturbation(name) for name in profile.checkpoints]
        return {change.name: change for change in standard if change(recipe) != recipe}
    named = [value] if isinstance(value, str) or callable(value) else value
    chosen = resolve_perturbations(_listed("checkpoints", named), recipe)
    for name, change in chosen.items():
        if change(recipe).replace(stopping=recipe.stopping) != recipe:
            raise SettingsError(
                f"checkpoint {name!r} changes more than where the training stops; name it in "
                "perturbations, or choose one such as stop-accuracy, stop-loss-0.01 or past-x2"
            )
    if not chosen:
        raise SettingsError(
            f"checkpoints={shown(value)}: expected at least one, such as stop-accuracy or past-x2, "
            f"or checks=... without {STOPPING!r}"
        )
    return chosen


def _listed(option: str, value: Any) -> list[Any]:
    if not isinstance(value, Iterable):
        raise SettingsError(f"{option}={shown(value)}: expected a list of names")
    return list(value)


def _kinds(value: Any, scale: str, ladder: Ladder | None) -> tuple[str, ...]:
    possible = LINEAR_KINDS if scale == "linear" else KINDS
    named = [value] if isinstance(value, str) else value
    default = tuple(kind for kind in possible if ladder or kind != COMPLEXITY)
    kinds = default if value is None else tuple(_listed("checks", named))
    if not kinds or len(set(map(shown, kinds))) != len(kinds):
        raise SettingsError(
            f"checks={shown(value)}: expected some of {', '.join(KINDS)}, each once"
        )
    plan_checks(kinds, [])
    if COMPLEXITY in kinds and ladder is None:
        raise SettingsError(
            f"checks={shown(value)}: {COMPLEXITY} needs a ladder, and ladder='none'"
        )
    for kind in kinds:
        if kind not in possible:
            raise SettingsError(
                f"checks={shown(value)}: {kind} needs scale='log'; on a linear scale only "
                f"{', '.join(LINEAR_KINDS)} can be checked"
            )
    return kinds


def _folder(value: Any) -> Path | None:
    if value is not None and not isinstance(value, str | Path):
        raise SettingsError(f"cache_dir={shown(value)}: expected a path, or None to keep nothing")
    if isinstance(value, str) and ("\0" in value or not value):
        raise SettingsError(
            f"cache_dir={shown(value)}: expected the name of a folder, without null characters"
        )
    return None if value is None else Path(value)


def _device(value: Any) -> str:
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise SettingsError(f"device={shown(value)}: expected auto, cpu, cuda or cuda:<number>")
    return value


def _axes(value: Any, recipe: Recipe) -> tuple[str, ...]:
    """Return the axes to walk along: True stands for those that cost little."""
    usable = [
        name
        for name, axis in AXES.items()
        if any(changes_recipe(change, recipe) for change in axis.perturbations)
    ]
    if isinstance(value, bool):
        return tuple(name for name in LOCATED_AXES if name in usable) if value else ()
    names = [value] if isinstance(value, str) else _listed("locate", value)
    for name in names:
        if name not in usable:
            raise SettingsError(
                f"locate={shown(value)}{nearest(name, usable)}: expected True, or some of "
                f"{', '.join(usable)}"
            )
    return tuple(dict.fromkeys(names))


def _budget(value: Any) -> int:
    if not is_whole(value, 0, MOST):
        raise SettingsError(f"budget={shown(value)}: expected a number of networks, zero or more")
    return int(value)


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise SettingsError(f"measure_timeout={value!r}: expected seconds, more than zero")
    return float(value)


def _number(option: str, value: Any) -> float:
    if not is_number(value) or value < 0:
        raise SettingsError(
            f"{option}={shown(value)}: expected a number, zero or more, not infinite"
        )
    return float(value)


def _alpha(value: Any) -> float:
    if not is_number(value) or not LEAST_ALPHA <= value < 1:
        raise SettingsError(
            f"alpha={shown(value)}: expected a number between 0 and 1, such as 0.05, and at least "
            f"{LEAST_ALPHA:g}"
        )
    return float(value)
