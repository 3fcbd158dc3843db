"""The published list against a second implementation, one network at a time in plain torch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from pytest_fragility.families.family import Family
from pytest_fragility.measures import reference_measures
from tests.benchmarks.published_way import margin_of, norm_values, path_values
from tests.in_turn import in_turn
from tests.sample_networks import labelled_by


@in_turn("recipe", ["baseline", "adam"])
def test_norms_and_paths_are_those_of_plain_code(small_family: Family, recipe: str) -> None:
    """Trained networks, float32 against float64: equal to five digits."""
    measures = reference_measures()
    for seed in small_family.seeds:
        trained = small_family["blobs", recipe, 64, seed]
        # labels that the network gives itself, so that there is a margin
        network = replace(trained, labels=labelled_by(trained.model, trained.inputs))
        loader = DataLoader(TensorDataset(network.inputs, network.labels), batch_size=16)
        with torch.no_grad():
            margin = margin_of(network.model, loader)
            values = {"inverse_margin": margin**-2}
            values |= norm_values(network, margin) | path_values(network, margin)
        assert len(values) == 26
        for name, value in values.items():
            assert measures[name](network) == pytest.approx(value, rel=1e-4), name
