"""A limit on how many networks are trained on demand."""

from __future__ import annotations

from pytest_fragility.errors import BudgetError


class TrainingBudget:
    """Counts the networks that are trained on demand, and stops before a limit is passed.

    Parameters
    ----------
    networks
        How many may be trained in all; what a store has is free.
    within
        Another limit, which counts them too.
    """

    def __init__(self, networks: int, within: TrainingBudget | None = None) -> None:
        self.networks = networks
        self._within = within
        self.spent = 0

    def spend(self, networks: int) -> None:
        """Count networks that are about to be trained.

        Raises
        ------
        BudgetError
            If more would be trained than the budget has left; none of them is.
        """
        enough = max(2 * self.networks, self.spent + networks)
        if self.spent + networks > self.networks:
            raise BudgetError(
                f"training on demand has used {self.spent} of its budget of {self.networks} "
                f"networks, and {networks} more are needed; raise the budget "
                f"(--fragility-budget={enough}), ask for fewer examples, sizes or "
                "seeds, or run again: what is trained already comes from the store"
            )
        if self._within:
            self._within.spend(networks)
        self.spent += networks
