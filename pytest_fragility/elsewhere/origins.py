"""What is known of a family of networks that were trained elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pytest_fragility.errors import UndefinedMeasureError

if TYPE_CHECKING:
    from pytest_fragility.families.selection import Asked
    from pytest_fragility.families.trained_family import Family


@dataclass(frozen=True, eq=False)
class Origin:
    """What is known of a family of networks that were trained elsewhere.

    Parameters
    ----------
    source
        What reports say of where they come from, such as ``networks from manifest.csv``.
    descriptions
        Recipes in words, by name.
    seeds
        By recipe name: those with a network of each size.
    test_size
        Test samples; zero where that is not known.
    has_samples
        Whether it is known which samples each network was trained on.
    select
        Returns the family of which something else is audited.
    left_out
        By recipe name: sentences on what is missing.
    incomplete
        By recipe name: why it has no learning curve.
    ladder_notes
        Sentences on what is missing of the tasks of the ladder.
    no_ladder
        Why the tasks of the ladder cannot be compared; empty where they can, or where there are
        none.
    """

    source: str
    descriptions: Mapping[str, str]
    seeds: Mapping[str, tuple[int, ...]]
    test_size: int
    has_samples: bool
    select: Callable[[Asked], Family]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    incomplete: Mapping[str, str] = field(default_factory=dict)
    ladder_notes: tuple[str, ...] = ()
    no_ladder: str = ""

    def without_seeds(self, seeds: Collection[int]) -> Origin:
        """Return the origin of the family without some seeds."""
        kept = {
            recipe: tuple(seed for seed in own if seed not in seeds)
            for recipe, own in self.seeds.items()
        }
        return replace(self, seeds=kept)

    def refuse_oracles(self) -> None:
        """Raise where a control measure asks for the test set, which is not known here."""
        raise UndefinedMeasureError(
            f"{self.source}: the test set is not known of networks that were trained elsewhere; "
            "their test error is in the manifest"
        )
