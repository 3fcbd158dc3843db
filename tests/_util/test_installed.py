"""Whose code a module holds, in the layouts that packages are installed in."""

from __future__ import annotations

import hashlib
import importlib
import os
import site
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import pytest_fragility
from pytest_fragility._util.installed import is_compiled_module, is_installed_module, owner_of
from pytest_fragility.recipes import Factory

OWN = Path(pytest_fragility.__file__).parents[1]
BASE = getattr(sys, "_base_executable", sys.executable)
CODE = "def build():\n    return None\n"
PURE = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
BUILT = "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n"


def written(root: Path, **files: str) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def installed(
    root: Path, name: str, code: str = CODE, *, wheel: str = BUILT, **further: str
) -> None:
    """Install a package as installers do: with metadata that list its files."""
    info = f"{name}-1.0.dist-info"
    digest = f"sha256={hash_of(code)},{len(code)}"
    files = {
        f"{name}/__init__.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/RECORD": f"{name}/__init__.py,{digest}\n{info}/METADATA,,\n{info}/RECORD,,\n",
        f"{info}/WHEEL": wheel,
        **{f"{info}/{file}": text for file, text in further.items()},
    }
    written(root, **{file: text for file, text in files.items() if text})


def hash_of(code: str) -> str:
    """Return what stands for a file's content."""
    return code.encode().hex()


def owner(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Return whom a module belongs to that is imported from a folder."""
    monkeypatch.syspath_prepend(str(root))
    importlib.import_module(name)
    return owner_of(name)


def printed(*arguments: str, path: Sequence[Path | str] = (), **environment: str) -> str:
    """Return what an interpreter prints that has nothing else installed."""
    paths = {"PYTHONPATH": os.pathsep.join(map(str, [*path, OWN]))}
    found = subprocess.run(
        [BASE, *arguments],
        env={**os.environ, **paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def user_folder(root: Path) -> Path:
    """Return where an interpreter looks for a user's own packages, below a folder."""
    home = root / Path(site.USER_SITE or "").relative_to(site.USER_BASE or "")
    home.mkdir(parents=True)
    return home


def test_a_package_lies_wherever_its_metadata_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any folder; what lies beside it and nobody lists is one's own."""
    installed(tmp_path, "lib_anywhere")
    written(tmp_path, **{"lib_own_beside.py": CODE, "lib_anywhere/added.py": CODE})
    assert owner(tmp_path, "lib_anywhere", monkeypatch) == "lib_anywhere 1.0"
    assert owner(tmp_path, "lib_own_beside", monkeypatch) is None
    assert owner(tmp_path, "lib_anywhere.added", monkeypatch) is None


def test_a_name_alone_makes_nothing_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many a distribution leaves a package ``tests`` behind, which is not one's own."""
    installed(tmp_path / "site", "lib_same_name")
    written(tmp_path / "mine", **{"lib_same_name/__init__.py": CODE})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert owner(tmp_path / "mine", "lib_same_name", monkeypatch) is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # as Debian has it: nothing is listed
        ({"dist-info/METADATA": "", "dist-info/top_level.txt": "{name}\n"}, True),
        ({"dist-info/METADATA": ""}, True),
        ({"egg-info/PKG-INFO": "", "egg-info/top_level.txt": "{name}\n"}, True),
        ({"egg-info": ""}, True),
        ({"egg-info/PKG-INFO": "", "egg-info/top_level.txt": "another\n"}, False),
        # as older installers have it
        (
            {
                "egg-info/PKG-INFO": "",
                "egg-info/SOURCES.txt": "setup.py\n",
                "egg-info/installed-files.txt": "../{name}/__init__.py\nPKG-INFO\n",
            },
            True,
        ),
    ],
)
def test_package_managers_need_not_list_files(
    files: dict[str, str],
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Then names have to do."""
    name = "lib_managed_" + hashlib.sha256(request.node.name.encode()).hexdigest()
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    written(tmp_path, **{f"{name}/__init__.py": CODE})
    written(
        tmp_path,
        **{f"{name}-1.0.{f}": t.format(name=name) if t else head for f, t in files.items()},
    )
    assert owner(tmp_path, name, monkeypatch) == (f"{name} 1.0" if expected else None)


def test_what_is_edited_is_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources beside the notes of setuptools, and whatever was installed to be edited."""
    head = "Metadata-Version: 2.1\nName: lib-developed\nVersion: 1.0\n"
    written(
        tmp_path,
        **{
            "lib_developed/__init__.py": CODE,
            "lib_developed.egg-info/PKG-INFO": head,
            "lib_developed.egg-info/top_level.txt": "lib_developed\n",
        },
    )
    assert owner(tmp_path, "lib_developed", monkeypatch) is None
    for name, said in {"lib_edited": '"editable":   true', "lib_brief": '"editable":true'}.items():
        editable = f'{{"url": "file:///src", "dir_info": {{{said}}}}}'
        installed(tmp_path, name, **{"direct_url.json": editable})
        assert owner(tmp_path, name, monkeypatch) is None


def test_damaged_metadata_take_nothing_else_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no readable ones is one's own, and what lies beside it belongs where it did."""
    for name in ("lib_beside", "lib_latin", "lib_nameless", "lib_record"):
        installed(tmp_path, name)
    head = "Metadata-Version: 2.1\nName: lib_latin\nVersion: 1.0\nAuthor: M\xfcller\n"
    (tmp_path / "lib_latin-1.0.dist-info" / "METADATA").write_bytes(head.encode("latin-1"))
    (tmp_path / "lib_record-1.0.dist-info" / "RECORD").write_bytes(b"\xff\n")
    written(tmp_path, **{"lib_nameless-1.0.dist-info/METADATA": "", "lib.dist-info": ""})
    (tmp_path / "lib_empty-1.0.dist-info").mkdir()
    found = [owner(tmp_path, f"lib_{name}", monkeypatch) for name in ("latin", "nameless")]
    assert found == [None, None]
    assert owner(tmp_path, "lib_beside", monkeypatch) == "lib_beside 1.0"
    assert owner(tmp_path, "lib_record", monkeypatch) == "lib_record 1.0"


def test_a_list_of_files_may_be_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is CSV, with any line ends."""
    for name, record in {"lib_quoted": '"{}","",""\r\n', "lib_ends": "{},,\r\n"}.items():
        root = tmp_path / name
        installed(root, name)
        file = root / f"{name}-1.0.dist-info" / "RECORD"
        file.write_bytes(record.format(f"{name}/__init__.py").encode())
        assert owner(root, name, monkeypatch) == f"{name} 1.0"


def test_code_counts_where_the_version_may_stay(tmp_path: Path) -> None:
    """Of Python files alone, and of what comes from no index: both may be one's own."""
    kinds: dict[str, dict[str, str]] = {
        "pure": {"wheel": PURE},
        "folder": {"direct_url.json": '{"url": "file:///src", "dir_info": {}}'},
        "index": {},
    }
    found = []
    for place, code in enumerate([CODE, CODE, CODE.replace("None", "1")]):
        root = tmp_path / str(place)
        for kind, files in kinds.items():
            installed(root, f"lib_{kind}", code, **files)
        shown = printed("-c", SHOW_OWNER, *(f"lib_{kind}" for kind in kinds), path=[root])
        found.append(shown.splitlines())
    assert found[0] == found[1]
    same = [one == other for one, other in zip(found[0], found[2], strict=True)]
    assert same == [False, False, True]


SHOW_OWNER = """
import importlib, sys
from pytest_fragility._util.installed import owner_of
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(owner_of(name))
"""


@pytest.mark.parametrize("layout", ["PYTHONPATH", "user site", ".pth", "link"])
def test_layouts_of_a_package(layout: str, tmp_path: Path) -> None:
    """Whatever Python found it by, with the interpreter that has nothing else installed."""
    libraries, home = tmp_path / "libraries", user_folder(tmp_path / "user")
    installed(home if layout == "user site" else libraries, "lib_layout")
    if layout == ".pth":
        (home / "libraries.pth").write_text(f"{libraries}\n")
    if layout == "link":
        (home / "lib_layout").symlink_to(libraries / "lib_layout")
    path = [libraries] if layout == "PYTHONPATH" else []
    user = str(tmp_path / "user")
    found = printed("-c", SHOW_OWNER, "lib_layout", path=path, PYTHONUSERBASE=user)
    assert found == "lib_layout 1.0\n"


def test_an_archive_may_be_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel on the path."""
    installed(tmp_path / "files", "lib_zipped")
    wheel = tmp_path / "lib_zipped-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in (tmp_path / "files").rglob("*.*"):
            if file.is_file():
                archive.write(file, file.relative_to(tmp_path / "files").as_posix())
        info = tmp_path / "files" / "lib_zipped-1.0.dist-info"
        for name in ("METADATA", "RECORD", "WHEEL"):
            archive.write(info / name, f"{info.name}/{name}")
    assert owner(wheel, "lib_zipped", monkeypatch) == "lib_zipped 1.0"


def test_a_namespace_has_several_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part has its own; what nobody lists is one's own."""
    for part in ("one", "two"):
        info = f"lib_{part}_of_space-1.0.dist-info"
        written(
            tmp_path,
            **{
                f"lib_space/{part}/__init__.py": CODE,
                f"{info}/METADATA": f"Metadata-Version: 2.1\nName: lib-{part}\nVersion: 1.0\n",
                f"{info}/RECORD": f"lib_space/{part}/__init__.py,,\n",
            },
        )
    written(tmp_path, **{"lib_space/mine/__init__.py": CODE})
    found = [owner(tmp_path, f"lib_space.{part}", monkeypatch) for part in ("one", "two", "mine")]
    assert found == ["lib-one 1.0", "lib-two 1.0", None]
    assert owner_of("lib_space") is None


def test_modules_of_python_are_its_own_wherever_they_stand(tmp_path: Path) -> None:
    """Built in, frozen, in C or in Python; a file of one's own of the same name is not."""
    for name in ("sys", "builtins", "zipimport", "_json", "json.decoder", "os", "collections"):
        importlib.import_module(name)
        assert owner_of(name) == "Python", name
    written(tmp_path, **{"statistics.py": CODE})
    assert printed("-c", SHOW_OWNER, "statistics", path=[tmp_path]) == "None\n"


def test_what_has_no_file_belongs_to_its_package() -> None:
    """As modules that a library makes while it is imported; one that nobody has is one's own."""
    import torch

    assert torch._C._nn.__name__ == "torch._C._nn" and not hasattr(torch._C._nn, "__file__")
    assert is_installed_module("torch._C._nn") and is_installed_module("torch.ops")
    assert is_compiled_module("torch._C") and not is_compiled_module("torch.nn")
    assert not is_installed_module("made_up") and not is_installed_module("__main__")


NETWORK = """
import torch
from torch import nn
from torch.nn.functional import gelu, max_pool2d

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2))
        self.start()
    @torch.no_grad()
    def start(self):
        nn.init.normal_(self.layers[0].weight)
    def forward(self, inputs):
        return self.layers[1](gelu(self.layers[0](torch.relu(inputs))))
"""
TRAIN = """
import sys, warnings
from pathlib import Path
import numpy as np
import torch
from own_network_of_a_layout import Net
from pytest_fragility import Recipe, Task, TaskData, fixed_steps
from pytest_fragility.parallel.local_processes import Worker
from pytest_fragility.families.plan import FamilyPlan
from pytest_fragility.families.train import train_families
from pytest_fragility.networks.transport import pack_runs
from pytest_fragility.training.distribution import train_order

warnings.simplefilter("error")
torch.set_num_threads(2)
# Python takes no notice of it
sys.path.append(Path("somewhere"))
inputs, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
task = Task("blobs", lambda: TaskData(inputs, labels, inputs, labels))
recipe = Recipe(architecture=Net, stopping=fixed_steps(2))
plan = FamilyPlan(task, {"baseline": recipe}, (8, 16), (0, 1))
(family,) = train_families([plan], device=torch.device("cpu"))
worker = Worker()
run = plan.runs["baseline", 8, 0]
((parcel,),) = worker.perform(train_order, "cpu", pack_runs([[run]]))
sent = parcel.unpack(run)
worker.kill()
here = family.trained_run("baseline", 8, 0)
same = all(torch.equal(here.weights[name], each) for name, each in sent.weights.items())
print(len(family), same, recipe.architecture.fingerprint)
"""
SHOW_FINGERPRINT = """
from own_network_of_a_layout import Net
from pytest_fragility.recipes import Factory
print(4, True, Factory(Net).fingerprint)
"""


@pytest.mark.parametrize("layout", ["PYTHONPATH", ".pth"])
def test_layouts_of_torch(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of one's own are known by one fingerprint, and train in other processes too."""
    written(tmp_path, **{"own_network_of_a_layout.py": NETWORK})
    libraries, home = sysconfig.get_path("purelib"), user_folder(tmp_path)
    path: list[Path | str] = [tmp_path]
    if layout == "PYTHONPATH":
        path.append(libraries)
        code = ["-S", "-c", TRAIN]
    else:
        (home / "libraries.pth").write_text(f"{libraries}\n")
        code = ["-c", SHOW_FINGERPRINT]
    found = printed(*code, path=path, PYTHONUSERBASE=str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    network = importlib.import_module("own_network_of_a_layout").Net
    assert found.split() == ["4", "True", Factory(network).fingerprint]
