"""Strategies for trained networks and learning curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from hypothesis import strategies as st

from pytest_fragility._util.text import shown
from pytest_fragility.auditing.growing_families import FamilySource, GrowingFamily
from pytest_fragility.curves import LearningCurves
from pytest_fragility.errors import SettingsError
from pytest_fragility.measures.measure import Measure, measure_name
from pytest_fragility.networks.trained_network import TrainedNetwork
from pytest_fragility.perturbations import Perturbation
from pytest_fragility.settings import SOURCES, require_known_options
from pytest_fragility.settings.idle import SERVES, asks
from pytest_fragility.strategies.drawn_changes import lattice_of

# what is about certain checks, or about what exists already
WITHOUT_USE = (*SOURCES, *SERVES, "locate")
DEFAULTS: Mapping[str, Any] = {"profile": "quick"}
# what trains the networks that a strategy can draw; both are forgotten together
_PREPARATIONS = WeakKeyDictionary[st.SearchStrategy[Any], Callable[[], None]]()


class _Session:
    """What all strategies of a process share."""

    source = FamilySource(DEFAULTS)


def use_source(source: FamilySource) -> None:
    """Train where, and with the settings that, a pytest session says."""
    _Session.source = source


def trained_networks(
    changes: st.SearchStrategy[Perturbation] | None = None, **options: Any
) -> st.SearchStrategy[TrainedNetwork]:
    """Draw trained networks, from the store where they are in it.

    Shrinks to the baseline, the smallest size and the first seed.

    Parameters
    ----------
    changes
        Draws perturbations beside the baseline; those of the settings by default.
    **options
        Settings as `pytest_fragility.audit` takes them; the profile is ``quick`` where nothing
        else says.

    Raises
    ------
    SettingsError
        If an option is unknown or has no use here, or, when a network is drawn, cannot be used.
    BudgetError
        When a network is drawn and more would be trained than the budget has left.
    """

    def draw_from(family: GrowingFamily) -> st.SearchStrategy[TrainedNetwork]:
        settings = family.settings
        return st.builds(
            family.network,
            st.one_of(st.none(), _changes(changes, family)),
            st.sampled_from(settings.sizes),
            st.sampled_from(settings.seeds),
        )

    return _drawn_from_family(draw_from, changes, options)


def learning_curves(
    measure: Measure,
    changes: st.SearchStrategy[Perturbation] | None = None,
    *,
    name: str | None = None,
    **options: Any,
) -> st.SearchStrategy[LearningCurves]:
    """Draw a measure's learning curves under the baseline and one perturbation.

    Shrinks as the perturbations do.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    changes
        Draws perturbations; those of the settings by default.
    name
        What reports call the measure; its ``__name__`` by default.
    **options
        Settings as `pytest_fragility.audit` takes them; the profile is ``quick`` where nothing
        else says.

    Raises
    ------
    SettingsError
        If the measure has no usable name, an option is unknown or has no use here, or, when curves
        are drawn, one cannot be used.
    BudgetError
        When curves are drawn and more would be trained than the budget has left.
    """
    called = measure_name(measure, name)

    def draw_from(family: GrowingFamily) -> st.SearchStrategy[LearningCurves]:
        def curves(change: Perturbation) -> LearningCurves:
            found = family.curves(measure, change, name=name)
            return replace(found, code=f"curves_under({called}, {change!r}{_written(options)})")

        return _changes(changes, family).map(curves)

    return _drawn_from_family(draw_from, changes, options)


def curves_under(measure: Measure, *changes: Perturbation, **options: Any) -> LearningCurves:
    """Return the learning curves that `learning_curves` has drawn, as its repr says.

    Parameters
    ----------
    measure
        A function of one `TrainedNetwork`.
    *changes
        Perturbations.
    **options
        Settings as `pytest_fragility.audit` takes them.
    """
    _require_use(changes or None, options)
    return _Session.source.family(options).curves(measure, *changes)


def _require_use(changes: object, options: Mapping[str, Any]) -> None:
    """Raise a SettingsError where an option says nothing about the networks that are drawn."""
    require_known_options(options)
    for name, value in options.items():
        if name in WITHOUT_USE and asks(name, value):
            raise SettingsError(
                f"{name}={shown(value)} would change nothing: it is about some of an audit's "
                "checks, or about what exists already, and networks are drawn here; leave it out"
            )
    if changes is not None and options.get("perturbations") is not None:
        raise SettingsError(
            f"perturbations={shown(options['perturbations'])} would change nothing: the changes "
            "that are given are drawn; leave one of the two out"
        )


def _drawn_from_family(
    draw_from: Callable[[GrowingFamily], st.SearchStrategy[Any]],
    changes: st.SearchStrategy[Perturbation] | None,
    options: dict[str, Any],
) -> st.SearchStrategy[Any]:
    """Return a strategy whose settings are read, and networks trained, when they are needed."""
    _require_use(changes, options)
    strategy = st.deferred(lambda: draw_from(_Session.source.family(options)))

    def train() -> None:
        family = _Session.source.family(options)
        ahead = lattice_of(changes) if changes else family.settings.perturbations.values()
        family.grow(ahead)

    _PREPARATIONS[strategy] = train
    return strategy


def prepare(strategy: object) -> None:
    """Train the networks that a strategy can draw, where it draws networks."""
    if isinstance(strategy, st.SearchStrategy) and strategy in _PREPARATIONS:
        _PREPARATIONS[strategy]()


def _changes(
    changes: st.SearchStrategy[Perturbation] | None, family: GrowingFamily
) -> st.SearchStrategy[Perturbation]:
    if changes is not None:
        return changes
    own = sorted(family.settings.perturbations.values(), key=lambda each: each.size)
    return st.sampled_from(own)


def _written(options: Mapping[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in options.items())
