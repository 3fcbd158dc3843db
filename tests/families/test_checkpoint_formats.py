"""A checkpoint's format is told by its content, and what is none is called what it is."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import pickle
import sys
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pytest_fragility import TableError
from tests.families.saved_networks import assert_read, saved, small, states
from tests.in_turn import in_turn

Save = Callable[[nn.Module, Path], object]


def legacy(network: nn.Module, path: Path) -> None:
    """Save a state dict as releases of torch before 1.6 did."""
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)


def tensors_alone(network: nn.Module, path: Path) -> None:
    """Save as safetensors."""
    save_file(dict(network.state_dict()), path)


def archive(network: nn.Module, path: Path) -> None:
    """Save a state dict as torch does today."""
    torch.save(network.state_dict(), path)


def rewritten(
    path: Path, change: Callable[[str, bytes], bytes], how: int = zipfile.ZIP_STORED
) -> None:
    """Write an archive again, its members changed."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", how) as new:
        for name, content in members.items():
            new.writestr(name, change(name, content))


def replacing(save: Save, old: bytes, new: bytes, most: int = -1) -> Save:
    """Return a function that saves, and replaces bytes of what it has saved."""

    def change(network: nn.Module, path: Path) -> None:
        save(network, path)
        if save is legacy:
            path.write_bytes(path.read_bytes().replace(old, new, most))
        else:
            rewritten(path, lambda _, content: content.replace(old, new, most))

    return change


ENDINGS = (".bin", ".pt", ".safetensors", ".SAFETENSORS", ".json", ".npz", ".gz", "", ".ckpt.1")


@pytest.mark.parametrize("save", [legacy, tensors_alone, archive])
def test_a_name_says_nothing(save: Save, tmp_path: Path) -> None:
    """Whichever of the formats is in the file, and however it is called."""
    for ending in ENDINGS:
        assert_read(tmp_path, save, ending=ending)


@pytest.mark.parametrize("save", [legacy, archive])
def test_files_from_any_device(save: Save, tmp_path: Path) -> None:
    """They open on the CPU."""
    old = b"X\x03\0\0\0cpu"
    for device in (b"cuda:0", b"cuda:7", b"mps", b"xla:0", b"hpu"):
        new = b"X" + len(device).to_bytes(4, "little") + device
        assert_read(tmp_path, replacing(save, old, new))


@pytest.mark.parametrize("is_zip", [True, False])
def test_other_protocols_of_pickle(is_zip: bool, tmp_path: Path) -> None:
    """As `torch.save` writes them where it is told to."""
    for protocol in (3, 4, 5):
        options = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": is_zip}
        assert_read(tmp_path, lambda net, path, o=options: torch.save(net.state_dict(), path, **o))


def test_an_archive_without_checksums(tmp_path: Path) -> None:
    """As torch writes it where it is told not to count them."""
    torch.serialization.set_crc32_options(False)
    try:
        assert_read(tmp_path, archive)
    finally:
        torch.serialization.set_crc32_options(True)


def test_an_archive_of_a_machine_with_the_other_byte_order(tmp_path: Path) -> None:
    """Has the numbers that it has there."""

    def turned(name: str, content: bytes) -> bytes:
        if name.endswith("byteorder"):
            return b"big" if sys.byteorder == "little" else b"little"
        return np.frombuffer(content, "<f4").byteswap().tobytes() if "/data/" in name else content

    def save(network: nn.Module, path: Path) -> None:
        archive(network, path)
        rewritten(path, turned)

    assert_read(tmp_path, save)


def sharded(network: nn.Module, path: Path, **changes: Any) -> None:
    """Save each layer in a file of its own, with an index."""
    state, where = network.state_dict(), {}
    for number, layer in enumerate(("1", "3")):
        shard = path.with_name(f"{path.name.partition('.')[0]}-{number}-of-2.bin")
        part = {name: value for name, value in state.items() if name.startswith(layer)}
        (archive_of, tensors_of) = (torch.save, save_file)
        (archive_of if number else tensors_of)(part, shard)
        where |= dict.fromkeys(part, shard.name)
    index = {"metadata": {"total_size": 1}, "weight_map": where | changes}
    path.write_text(json.dumps(index), encoding="utf-8")


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    """Each in its own format."""
    assert_read(tmp_path, sharded, ending=".safetensors.index.json")


SHARDS: list[tuple[dict[str, Any], str]] = [
    ({"1.weight": "gone.bin"}, "names the file 'gone.bin', which is not beside it"),
    ({"1.weight": "../x.bin"}, "names the file '../x.bin'; expected one in the index's own"),
    ({"1.weight": "/etc/passwd"}, "names the file '/etc/passwd'; expected one in"),
    ({"1.weight": "a/../../x.bin"}, "expected one in the index's own folder"),
    ({"1.weight": "..\\x.bin"}, "expected one in the index's own folder"),
    ({"1.weight": "C:x.bin"}, "expected one in the index's own folder"),
    ({"1.weight": "a\0b"}, "expected one in the index's own folder"),
    ({"1.weight": "x" * 5000}, "File name too long"),
    ({"1.weight": 3}, "is text, and no index of a checkpoint in several files"),
    ({"1.weight": "same.json"}, "same.json is text, and no part of a checkpoint"),
    ({"5.weight": "10-0-0-of-2.bin"}, "names the tensor '5.weight', which '10-0-0-of-2.bin'"),
]


def test_an_index_names_files_beside_it(tmp_path: Path) -> None:
    """And nothing else is ever opened."""
    (tmp_path / "same.json").write_text("{}", encoding="utf-8")
    torch.save(small().state_dict(), tmp_path.parent / "x.bin")
    for changes, message in SHARDS:
        save = partial(sharded, **changes)
        _, rows = saved(tmp_path, save, ending=".index.json")
        with pytest.raises(TableError) as caught:
            states(rows)
        assert message in str(caught.value)


def packed(names: dict[str, bytes]) -> bytes:
    """Return a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name, content in names.items():
            out.writestr(name, content)
    return file.getvalue()


def arrays() -> bytes:
    """Return NumPy's archive of arrays."""
    file = io.BytesIO()
    np.savez(file, np.ones(3))
    return file.getvalue()


def tarred() -> bytes:
    """Return a tar archive of one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as out:
        out.addfile(tarfile.TarInfo("storages"), io.BytesIO())
    return file.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n"
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "pointer": (POINTER, "is a Git LFS pointer, not the file that it stands for; run git lfs pull"),
    "pointer of git-annex": (
        b"/annex/objects/SHA256E-s12--ab.pt\n",
        "is a git-annex pointer, not the file that it stands for; run git annex get",
    ),
    "web page": (
        b"\n <!DOCTYPE html><title>404</title>",
        "is a web page; download the file itself",
    ),
    "gzip": (gzip.compress(b"x" * 600), "is packed by gzip (unpack it first); expected"),
    "tar": (tarred(), "is a tar archive"),
    "empty": (b"", "is empty; copy or download it again"),
    "hdf5": (
        b"\x89HDF\r\n\x1a\n" + bytes(90),
        "is an HDF5 file; expected safetensors, or a state dict",
    ),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x032.6" + bytes(90), "is an ONNX model"),
    "array": (b"\x93NUMPY\x01\0" + bytes(90), "is a NumPy array; expected safetensors"),
    "arrays": (arrays(), "is NumPy's .npz archive"),
    "script": (
        packed({"m/data.pkl": b"\x80\x02}.", "m/constants.pkl": b"", "m/code/x.py": b""}),
        "is a TorchScript archive, which holds code; save its state dict alone",
    ),
    "keras": (packed({"config.json": b"{}", "model.weights.h5": b""}), "is a Keras archive"),
    "zip": (packed({"notes.txt": b"x"}), "is a zip archive of notes.txt; expected one of torch"),
    "pickle": (pickle.dumps({"w": 3}), "is a pickle that torch.save has not written"),
    "pickle of tensors": (
        pickle.dumps(nn.Linear(2, 2).state_dict()),
        "is a pickle that torch.save has not written; save the state dict with",
    ),
    "beginning of a pickle": (b"\x80", "is a pickle; expected safetensors, or a state dict"),
    "json": (b'{"error": "not found"}', "is text, and no index of a checkpoint in several"),
    "text": (b"0.3 0.2\n0.1 0.7\n", "is text, and no checkpoint"),
    "zeros": (bytes(90), "is damaged, or no safetensors, and no file of torch.save either"),
    "long header": (
        (7 << 40).to_bytes(8, "little") + b"{" + bytes(190),
        "is damaged, or was not loaded to its end: its header of safetensors is said to have "
        "7,696,581,394,432 bytes, and the file has 199",
    ),
    "long tensor": (
        (lambda h: len(h).to_bytes(8, "little") + h)(
            b'{"1.weight":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
        ),
        "is damaged, or of a kind that is not read",
    ),
}


@in_turn("name", UNREADABLE)
def test_what_cannot_be_read_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    """Once for all files alike, with the name of the first."""
    content, message = UNREADABLE[name]
    for ending in (".pt", ".safetensors"):
        _, rows = saved(tmp_path, lambda _, path: path.write_bytes(content), ending=ending)
        with pytest.raises(TableError) as caught:
            states(rows)
        assert f"the list, row 0 and 3 more: 10-0{ending} {message}" in str(caught.value)


def test_numbers_of_numpy_are_left_out(tmp_path: Path) -> None:
    """And nothing of NumPy's is called, or allowed for others to load."""
    before = torch.serialization.get_safe_globals()

    def save(network: nn.Module, path: Path) -> None:
        beside = {"best": np.float64(0.9), "curve": np.arange(3.0), "n": np.int32(3)}
        torch.save({**beside, "state_dict": network.state_dict()}, path)

    assert_read(tmp_path, save)
    assert torch.serialization.get_safe_globals() == before


class Mine:
    """A class of the training script."""

    def __init__(self) -> None:
        self.rate = 0.1


class Running:
    """Pickled, it makes a folder where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class Resized:
    """Pickled, it asks for as much memory as it says."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, (1 << 42,)


@pytest.mark.parametrize("is_zip", [True, False])
@in_turn(
    ("value", "named"),
    [
        (argparse.Namespace(lr=0.1), "argparse.Namespace (under config.args)"),
        (Path("data"), "Path (under config.args)"),
        (Mine(), "test_checkpoint_formats.Mine (under config.args)"),
        (small(), "torch.nn.modules.container.Sequential (under config.args)"),
        ({"a": Mine(), "b": argparse.Namespace()}, "Mine (under config.args.a), argparse"),
    ],
)
def test_what_is_refused_is_named_once(
    value: Any, named: str, is_zip: bool, tmp_path: Path
) -> None:
    """With the place where it stands, and without what only a terminal understands."""

    def save(network: nn.Module, path: Path) -> None:
        content = {"state_dict": network.state_dict(), "config": {"args": value}}
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)

    _, rows = saved(tmp_path, save)
    with pytest.raises(TableError) as caught:
        states(rows)
    text = str(caught.value)
    assert "row 0 and 3 more: 10-0.pt is refused: it holds more than tensors" in text
    assert named in text
    assert "x1b" not in text and len(text.splitlines()) == 1


@pytest.mark.parametrize("is_zip", [True, False])
def test_nothing_in_a_file_runs(is_zip: bool, tmp_path: Path) -> None:
    """What would run is named."""

    def save(network: nn.Module, path: Path) -> None:
        content = {"state_dict": network.state_dict(), "x": Running(tmp_path / "ran")}
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)

    _, rows = saved(tmp_path, save)
    with pytest.raises(TableError, match=r"(posix|nt)\.mkdir \(under x\)"):
        states(rows)
    assert not (tmp_path / "ran").exists()


def test_a_file_asks_for_no_memory_of_its_own(tmp_path: Path) -> None:
    """Not by what makes bytes of any number either; beside the weights it is left out."""

    def save(network: nn.Module, path: Path) -> None:
        torch.save({"state_dict": network.state_dict(), "x": Resized(bytearray)}, path)

    assert_read(tmp_path, save)
    _, rows = saved(
        tmp_path, lambda _, path: torch.save({"1.weight": Resized(torch.FloatTensor)}, path)
    )
    with pytest.raises(TableError, match=r"torch\.FloatTensor \(under 1\.weight\)"):
        states(rows)


def peak(rows: list[dict[str, Any]]) -> tuple[int, str]:
    """Return how many bytes of memory reading took at most, and what was said."""
    tracemalloc.start()
    try:
        with pytest.raises(TableError) as caught:
            states(rows)
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


def test_a_packed_archive_is_not_unpacked(tmp_path: Path) -> None:
    """It could be a thousand times as large."""

    def save(_: nn.Module, path: Path) -> None:
        torch.save({"1.weight": torch.zeros(1 << 23)}, path)
        rewritten(path, lambda _, content: content, zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 1 << 16

    _, rows = saved(tmp_path, save)
    used, text = peak(rows)
    assert "10-0.pt was compressed, which torch.save never does, and is not unpacked" in text
    assert used < 1 << 24


@pytest.mark.parametrize("save", [legacy, archive])
def test_storages_are_as_large_as_they_are_said_to_be(save: Save, tmp_path: Path) -> None:
    """In both forms."""
    longest = b"\x8a\x06" + (7 << 38).to_bytes(6, "little")
    _, rows = saved(tmp_path, replacing(save, b"K\x28", longest, 1))
    used, text = peak(rows)
    assert "row 0 and 3 more: 10-0.pt is damaged" in text
    assert used < 1 << 24


@in_turn("hostile", [b"r\xff\xff\xff\x7f", b"\x84\xff\xff\xff\x7f", b"\x82\x01"])
def test_opcodes_ask_for_no_table_and_no_registered_object(hostile: bytes, tmp_path: Path) -> None:
    """An object of a huge number, and one by a number that another library has given it."""
    save = replacing(archive, b"\x80\x02", b"\x80\x02" + hostile, 1)
    _, rows = saved(tmp_path, save)
    used, text = peak(rows)
    assert "row 0 and 3 more: 10-0.pt is damaged: its pickle cannot be read" in text
    assert used < 1 << 24


def test_tensors_do_not_reach_beyond_their_storages(tmp_path: Path) -> None:
    """A shape that is larger than what is there is no view of it."""
    # the first weight's strides of 4 and 1
    save = replacing(archive, b"K\x04K\x01\x86", b"K\xffK\xff\x86", 1)
    _, rows = saved(tmp_path, save)
    with pytest.raises(TableError, match=r"is damaged: a tensor reaches beyond its storage"):
        states(rows)


@pytest.mark.parametrize("save", [legacy, tensors_alone, archive])
def test_files_that_were_cut_short(save: Save, tmp_path: Path) -> None:
    """At any place: each is said to be damaged, and by what name."""
    _, rows = saved(tmp_path, save)
    path = Path(rows[0]["checkpoint"])
    whole = path.read_bytes()
    for length in range(1, len(whole), len(whole) // 15):
        path.write_bytes(whole[:length])
        with pytest.raises(TableError, match=r"row 0: 10-0\.pt (is|was)"):
            states(rows)


def test_a_bit_that_turned_is_noticed(tmp_path: Path) -> None:
    """Where torch, which compares no checksums, reads another weight."""
    _, rows = saved(tmp_path, archive)
    path = Path(rows[0]["checkpoint"])
    content = path.read_bytes()
    weights = small().load_state_dict(torch.load(path)) and torch.load(path)["1.weight"]
    place = content.index(weights.numpy().tobytes())
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(TableError, match=r"10-0\.pt is damaged: .* has another checksum"):
        states(rows)
