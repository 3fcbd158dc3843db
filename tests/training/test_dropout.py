"""Dropout masks that are a function of run, step and place."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch.nn import functional

from pytest_fragility.training.dropout import ALPHA, GOLDEN, mix, seeded_dropout

SEED, STEP = torch.tensor(12345), torch.tensor(7)
MASK = (1 << 64) - 1


def splitmix(state: int) -> int:
    """Return the hash of a counter in Python's own whole numbers."""
    state &= MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def expected_mask(seed: int, step: int, call: int, count: int, chance: float) -> np.ndarray:
    """Return which values stay, value by value."""
    key = splitmix(splitmix(seed + step * GOLDEN) + call * GOLDEN)
    bits = np.array([splitmix(key + place * GOLDEN) >> 40 for place in range(1, count + 1)])
    return bits >= round(chance * 2**24)


def test_the_hash_is_splitmix64() -> None:
    """The first numbers of the published generator, seeded with zero."""
    counters = torch.tensor([1, 2, 3]) * GOLDEN
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [value & MASK for value in mix(counters).tolist()] == published


@pytest.mark.parametrize("chance", [0.1, 0.5, 0.97])
def test_values_are_dropped_by_the_hash(chance: float) -> None:
    """Call after call; what stays is divided by the chance to stay."""
    values = torch.arange(1.0, 61.0).view(3, 20)
    with seeded_dropout(SEED, STEP):
        found = [functional.dropout(values, chance), functional.dropout(values, chance)]
    for call, dropped in enumerate(found, start=1):
        mask = expected_mask(12345, 7, call, 60, chance).reshape(3, 20)
        expected = np.where(mask, values.numpy() / (1 - chance), 0.0)
        np.testing.assert_allclose(dropped.numpy(), expected, rtol=1e-6)
    assert not torch.equal(*found)


def test_as_many_are_dropped_as_asked() -> None:
    """Shares over seeds, steps and places are those of independent draws, to five deviations."""
    ones = torch.ones(200, 300)
    with seeded_dropout(SEED, STEP):
        kept = functional.dropout(ones, 0.3) > 0
    for dim, count in ((0, 200), (1, 300)):
        shares = kept.float().mean(dim=dim)
        assert shares.sub(0.7).abs().max() < 5 * (0.21 / count) ** 0.5
    masks = []
    for seed in range(40):
        for step in range(40):
            with seeded_dropout(torch.tensor(seed), torch.tensor(step)):
                masks.append(functional.dropout(torch.ones(10), 0.3) > 0)
    found = torch.stack(masks).view(40, 40, 10).float()
    assert abs(float(found.mean()) - 0.7) < 5 * (0.21 / 16_000) ** 0.5
    # neighbouring seeds, steps and places have nothing to do with each other
    centred = (found - 0.7) / 0.21**0.5
    for dim in range(3):
        length = found.shape[dim]
        pairs = centred.narrow(dim, 0, length - 1) * centred.narrow(dim, 1, length - 1)
        assert abs(float(pairs.mean())) < 5 / pairs.numel() ** 0.5


def test_masks_are_the_same_in_a_stack() -> None:
    """Under vmap each network has those that it has alone."""
    values = torch.arange(1.0, 25.0).view(2, 3, 4)
    seeds = torch.tensor([3, 9])

    def drop(values: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
        with seeded_dropout(seed, STEP):
            return functional.dropout(values, 0.5)

    together = torch.func.vmap(drop)(values, seeds)
    alone = [drop(each, seed) for each, seed in zip(values, seeds, strict=True)]
    assert torch.equal(together, torch.stack(alone))
    assert not torch.equal(together[0] > 0, together[1] > 0)


@pytest.mark.parametrize("name", ["dropout1d", "dropout2d", "dropout3d"])
def test_channels_are_dropped_whole(name: str) -> None:
    """Every channel of every sample by itself."""
    values = torch.ones(40, 10, *[3] * int(name[-2]))
    with seeded_dropout(SEED, STEP):
        dropped = getattr(functional, name)(values, 0.4).flatten(2)
    assert torch.equal(dropped.amax(dim=2), dropped.amin(dim=2))
    mask = expected_mask(12345, 7, 1, 400, 0.4).reshape(40, 10)
    np.testing.assert_array_equal(dropped[:, :, 0].numpy() > 0, mask)


@pytest.mark.parametrize("name", ["alpha_dropout", "feature_alpha_dropout"])
def test_alpha_dropout_keeps_mean_and_variance(name: str) -> None:
    """Of standard normal values, to a hundredth; what is dropped has one value."""
    values = torch.randn(400, 500, generator=torch.Generator().manual_seed(0))
    with seeded_dropout(SEED, STEP):
        dropped = getattr(functional, name)(values, 0.2, True)
    assert float(dropped.mean()) == pytest.approx(0, abs=0.02)
    assert float(dropped.var()) == pytest.approx(1, abs=0.02)
    scale = (0.8 * (1 + 0.2 * ALPHA**2)) ** -0.5
    lowest = dropped[~torch.from_numpy(expected_mask(12345, 7, 1, 200_000, 0.2)).view(400, 500)]
    torch.testing.assert_close(lowest, torch.full_like(lowest, scale * ALPHA * 0.8))


@pytest.mark.parametrize("kind", ["plain", "boolean", "added", "causal"])
def test_attention_drops_its_weights(kind: str) -> None:
    """As torch's own does, but by the hash; without dropout it is torch's own."""
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(2, 3, 5, 4, generator=generator) for _ in range(3))
    masks = {
        "boolean": torch.rand(5, 5, generator=generator).fill_diagonal_(1) > 0.4,
        "added": torch.randn(5, 5, generator=generator),
    }
    settings = {"attn_mask": masks.get(kind), "is_causal": kind == "causal"}
    plain = functional.scaled_dot_product_attention(queries, keys, values, **settings)
    with seeded_dropout(SEED, STEP):
        same = functional.scaled_dot_product_attention(queries, keys, values, **settings)
        dropped = functional.scaled_dot_product_attention(
            queries, keys, values, dropout_p=0.3, **settings
        )
        tiny = functional.scaled_dot_product_attention(
            queries, keys, values, dropout_p=1e-12, **settings
        )
    assert torch.equal(plain, same)
    torch.testing.assert_close(tiny, plain)
    identity = torch.eye(5).expand(2, 3, 5, 5)
    weights = functional.scaled_dot_product_attention(queries, keys, identity, **settings)
    mask = torch.from_numpy(expected_mask(12345, 7, 1, 150, 0.3)).view(2, 3, 5, 5)
    torch.testing.assert_close(dropped, (weights * mask / 0.7) @ values)


def test_evaluation_and_other_threads_are_left_alone() -> None:
    """Torch's functions are put back, and mean what they did to everybody else."""
    before = functional.dropout
    state = torch.get_rng_state()
    found: list[torch.Tensor] = []

    def elsewhere() -> None:
        torch.manual_seed(1)
        found.append(functional.dropout(torch.ones(50), 0.5))

    with seeded_dropout(SEED, STEP):
        ours = functional.dropout(torch.ones(50), 0.5)
        assert torch.equal(functional.dropout(torch.ones(50), 0.5, training=False), torch.ones(50))
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert functional.dropout is before
    torch.manual_seed(1)
    assert torch.equal(found[0], functional.dropout(torch.ones(50), 0.5))
    assert not torch.equal(found[0], ours)
    torch.set_rng_state(state)


def test_values_can_be_dropped_in_place() -> None:
    """As torch's own; a pass within another has masks of its own, and the outer one goes on."""
    before = functional.dropout
    values, inner, rest = torch.ones(30), torch.ones(30), torch.ones(30)
    with seeded_dropout(SEED, STEP):
        functional.dropout(values, 0.5, inplace=True)
        with seeded_dropout(SEED, STEP + 1):
            functional.dropout(inner, 0.5, inplace=True)
        functional.dropout(rest, 0.5, inplace=True)
    assert functional.dropout is before
    for found, step, call in ((values, 7, 1), (inner, 8, 1), (rest, 7, 2)):
        np.testing.assert_array_equal(found.numpy() > 0, expected_mask(12345, step, call, 30, 0.5))
