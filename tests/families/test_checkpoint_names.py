"""A network's tensors are found by the one renaming under which names and shapes fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from pytest_fragility import TableError
from tests.families.saved_networks import assert_read, normalized, saved, small, states
from tests.in_turn import in_turn

Change = Callable[[dict[str, Any]], Any]
ANOTHER = "it is of another architecture"


class Parts(nn.Module):
    """A network in two parts, one of which is called as wrappers call theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU())
        self.module = nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.module(self.features(inputs))  # type: ignore[no-any-return]


class Within(nn.Module):
    """A network that is all within one attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.net(inputs)  # type: ignore[no-any-return]


def saving(change: Change) -> Callable[[nn.Module, Path], None]:
    """Return a function that saves a state dict, changed so."""
    return lambda network, path: torch.save(change(dict(network.state_dict())), path)


def prefixed(prefix: str) -> Change:
    """Return a change that puts a prefix before all names."""
    return lambda state: {f"{prefix}{name}": value for name, value in state.items()}


PREFIXES = (
    "_orig_mod.module.",
    "module._orig_mod.",
    "model._orig_mod.",
    "_orig_mod.model.module.",
    "net.",
    "state_dict.model.encoder.",
    "1.0.",
)


@pytest.mark.parametrize("make", [small, normalized, Parts, Within])
def test_prefixes_of_any_order_and_depth(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    """Whatever the network's own children are called."""
    for prefix in PREFIXES:
        assert_read(tmp_path, saving(prefixed(prefix)), make)


def test_wrapped_parts(tmp_path: Path) -> None:
    """A part of a network may be compiled, or spread, by itself."""
    for wrapper in ("_orig_mod.", "module.", "_fsdp_wrapped_module.module."):

        def change(state: dict[str, Any], wrapped: str = f"features.{wrapper}") -> Any:
            return {name.replace("features.", wrapped): value for name, value in state.items()}

        assert_read(tmp_path, saving(change), Parts)


@pytest.mark.parametrize("wrap", [nn.DataParallel, AveragedModel])
def test_wrappers_of_torch(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    """One of them counts what it averages."""
    for make in (small, Parts):
        assert_read(tmp_path, lambda net, path: torch.save(wrap(net).state_dict(), path), make)


def test_the_network_may_have_the_prefix_and_the_file_not(tmp_path: Path) -> None:
    """Or another."""
    assert_read(tmp_path, lambda net, path: torch.save(net.net.state_dict(), path), Within)
    change = prefixed("")
    renamed: Change = lambda state: {  # noqa: E731
        name.replace("net.", "model.backbone."): each for name, each in change(state).items()
    }
    assert_read(tmp_path, saving(renamed), Within)


def with_optimizer(state: dict[str, Any]) -> dict[str, Any]:
    """Return a training loop's checkpoint, with an optimizer that has moments."""
    parameters = [nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(3))]
    optimizer = torch.optim.Adam(parameters)
    parameters[0].sum().backward()
    optimizer.step()
    return {"epoch": 3, "net": state, "optimizer": optimizer.state_dict(), "lr": [0.1]}


CONTAINERS: dict[str, Change] = {
    "model": lambda state: {"model": state},
    "any": lambda state: {"best of all": {"weights": state}, "history": {"loss": [0.3, 0.2]}},
    "optimizer": with_optimizer,
    "list": lambda state: [3, (state, {"epoch": 3})],
    "deep": lambda state: {"a": {"b": {"module": prefixed("_orig_mod.")(state)}}},
    "parameters": lambda state: {name: nn.Parameter(each, False) for name, each in state.items()},
    "lightning": lambda state: {
        "state_dict": {
            **prefixed("model.")(state),
            "criterion.weight": torch.ones(10),
            "criterion.centers": torch.ones(10, 5),
            "train_acc.tp": torch.tensor(4),
            "confusion.confmat": torch.zeros(10, 10, dtype=torch.int64),
            "average.mean_value": torch.tensor(0.3),
            "average.weight": torch.tensor(1.0),
        },
        "optimizer_states": [with_optimizer({})["optimizer"]],
        "hyper_parameters": {"lr": 0.1},
    },
    "metrics within": lambda state: {
        **state,
        "train_acc.correct": torch.tensor(0.5),
        "loss_fn.pos_weight": torch.ones(3),
        "total_ops": torch.zeros(1, dtype=torch.float64),
        "1.total_params": torch.zeros(1, dtype=torch.float64),
    },
    "an equal copy": lambda state: {"model": state, "ema": {k: v + 0 for k, v in state.items()}},
}


@in_turn("name", CONTAINERS)
def test_containers_and_what_stands_beside(name: str, tmp_path: Path) -> None:
    """Under whatever key; states of losses, metrics, optimizers and profilers are left out."""
    assert_read(tmp_path, saving(CONTAINERS[name]))


def test_parts_that_were_saved_apart(tmp_path: Path) -> None:
    """Are one network's."""

    def save(network: Any, path: Path) -> None:
        parts = {"features": network.features.state_dict(), "module": network.module.state_dict()}
        torch.save({**parts, "optimizer": with_optimizer({})["optimizer"]}, path)

    assert_read(tmp_path, save, Parts)


def test_a_counter_that_was_left_out_is_zero(tmp_path: Path) -> None:
    """As old releases of torch, and other writers, leave it out."""

    def change(state: dict[str, Any]) -> Any:
        return {name: value for name, value in state.items() if "num_batches" not in name}

    networks, rows = saved(tmp_path, saving(change), normalized)
    for network, found in zip(networks, states(rows, normalized), strict=True):
        assert int(found["1.num_batches_tracked"]) == 0
        assert torch.equal(found["1.running_var"], network.state_dict()["1.running_var"])


def test_both_forms_of_weight_normalization(tmp_path: Path) -> None:
    """As torch itself reads the older one."""

    def make() -> nn.Module:
        return nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 3)))

    def change(state: dict[str, Any]) -> Any:
        names = {"original0": "weight_g", "original1": "weight_v", "bias": "bias"}
        return {f"0.{names[name.rpartition('.')[2]]}": value for name, value in state.items()}

    assert_read(tmp_path, saving(change), make)
    assert_read(tmp_path, saving(lambda state: state), make)


REFUSED: dict[str, tuple[Change, str]] = {
    "a deeper network": (
        lambda state: {**state, "5.weight": torch.ones(10, 10), "5.bias": torch.ones(10)},
        f"{ANOTHER}, which has 5.weight too",
    ),
    "a head": (
        lambda state: {**prefixed("backbone.")(state), "head.weight": torch.ones(2, 10)},
        f"{ANOTHER}, which has head.weight too",
    ),
    "a normalization": (
        lambda state: {**state, "4.weight": torch.ones(10)},
        f"{ANOTHER}, which has 4.weight too",
    ),
    "a learned slope": (
        lambda state: {**state, "2.weight": torch.ones(1)},
        f"{ANOTHER}, which has 2.weight too",
    ),
    "whole numbers in a layer": (
        lambda state: {**state, "1.order": torch.arange(10)},
        f"{ANOTHER}, which has 1.order too",
    ),
    "a layer less": (
        lambda state: {"1.weight": state["1.weight"], "1.bias": state["1.bias"]},
        f"{ANOTHER}: no 3.weight and 1 more; it holds 1.weight, 1.bias",
    ),
    "another width": (
        lambda state: prefixed("net.")({**state, "1.weight": torch.ones(10, 2, 2)}),
        rf"{ANOTHER}: net.1.weight has shape \(10, 2, 2\), expected \(10, 4\)",
    ),
    "nothing of it": (lambda state: {"w": torch.ones(2)}, f"{ANOTHER}: no 1.weight and 3 more"),
    "student and teacher": (
        lambda state: {
            **prefixed("student.")(state),
            **prefixed("teacher.")({name: value + 1 for name, value in state.items()}),
        },
        "more than once, and they differ: student.1.weight and teacher.1.weight. Save those",
    ),
    "an average beside": (
        lambda state: {
            "model": state,
            "ema": prefixed("module.")({name: value + 1 for name, value in state.items()}),
        },
        "more than once, and they differ: model.1.weight and ema.module.1.weight. Save those",
    ),
    "quantized": (
        lambda state: {**state, "1.weight": torch.ones(10, 4, dtype=torch.int8)},
        "1.weight is torch.int8; expected plain numbers, torch.float32",
    ),
    "complex": (
        lambda state: {**state, "1.weight": torch.ones(10, 4, dtype=torch.complex64)},
        "1.weight is torch.complex64; expected plain numbers",
    ),
}


@in_turn("name", REFUSED)
def test_another_network_is_refused_once(name: str, tmp_path: Path) -> None:
    """What is left out is never a layer, nor one of two networks."""
    change, message = REFUSED[name]
    _, rows = saved(tmp_path, saving(change))
    with pytest.raises(TableError, match=f"row 0 and 3 more: .*{message}"):
        states(rows)


def test_a_linear_network_is_not_the_last_layer_of_a_deeper_one(tmp_path: Path) -> None:
    """Though its two names, and shapes, are there."""
    _, rows = saved(tmp_path, saving(lambda state: state))

    def linear() -> nn.Module:
        return nn.Linear(4, 10)

    with pytest.raises(TableError, match=f"{ANOTHER}, which has 3.weight too"):
        states(rows, linear)


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.second(self.first(inputs))  # type: ignore[no-any-return]


def test_a_shared_parameter_has_one_value(tmp_path: Path) -> None:
    """Under either of its names, or both; two values are another network's."""
    assert_read(tmp_path, saving(lambda state: state), Tied)
    for name in ("first.weight", "second.weight"):
        assert_read(
            tmp_path,
            saving(lambda state, name=name: {k: state[k] for k in state if k != name}),
            Tied,
        )
    untied = saving(lambda state: {**state, "second.weight": state["second.weight"] + 1})
    _, rows = saved(tmp_path, untied, Tied)
    with pytest.raises(TableError, match=r"they differ: first.weight and second.weight"):
        states(rows, Tied)


DTYPES = (torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def test_other_precisions_are_read_as_the_recipe_has_them(tmp_path: Path) -> None:
    """With the values that they have in the file."""
    for dtype in DTYPES:

        def change(state: dict[str, Any], dtype: torch.dtype = dtype) -> Any:
            return {name: value.to(dtype) for name, value in state.items()}

        networks, rows = saved(tmp_path, saving(change))
        for network, found in zip(networks, states(rows), strict=True):
            for name, value in network.state_dict().items():
                assert torch.equal(found[name], value.to(dtype).to(torch.float32))


def test_views_of_shared_and_turned_memory(tmp_path: Path) -> None:
    """Each tensor has its own part of it."""

    def change(state: dict[str, Any]) -> Any:
        whole = torch.cat([torch.zeros(7), state["1.bias"], state["3.bias"]])
        turned = state["1.weight"].t().contiguous().t()
        assert not turned.is_contiguous()
        return {**state, "1.bias": whole[7:17], "3.bias": whole[17:], "1.weight": turned}

    assert_read(tmp_path, saving(change))
