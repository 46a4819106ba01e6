"""What is pickled beside the weights is read without running it; what tries to run something is refused."""

import argparse
import builtins
import collections
import copyreg
import datetime
import enum
import functools
import importlib
import io
import os
import pathlib
import pickle
import runpy
import shutil
import struct
import subprocess
import sys
import types
import uuid
import zipfile

import pytest
import torch

from gim.errors import InvalidInput, UnsafeInput
from gim.weights import pickles
from gim.weights.checkpoint import read_checkpoint

STATE = {"layer.weight": torch.arange(6.0).reshape(2, 3)}
FORMATS = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}
RUN: list[str] = []  # what the foreign module below did while it was read


@pytest.fixture
def foreign():
    """Classes of a training framework, in a module that is gone when the file is read."""
    module = types.ModuleType("some_framework")
    source = """
import enum

def note(what):
    __import__("tests.unit.weights.test_pickles", fromlist=["RUN"]).RUN.append(what)
    return what

class CfgNode(dict):
    def __setstate__(self, state):
        note("setstate")

class Callback:
    def __init__(self):
        self.best = {"path": "x"}

class Slotted:
    __slots__ = ("a",)
    def __init__(self):
        self.a = 1

class Mode(enum.Enum):
    fast = 1

class Remade:
    def __reduce__(self):
        return (Remade, (), {"state": 1}, iter([1, 2]), iter([("k", "v")]))
    def append(self, item): note("append")
    def extend(self, items): note("extend")
    def __setitem__(self, key, value): note("setitem")

class lower:
    pass

class Calls:
    def __reduce__(self):
        return (note, ("called",))
"""
    exec(source, module.__dict__)
    for item in vars(module).copy().values():
        if isinstance(item, type):
            item.__module__ = "some_framework"
    module.note.__module__ = "some_framework"
    sys.modules["some_framework"] = module
    yield module
    sys.modules.pop("some_framework", None)


def save(path, content, options):
    torch.save(content, path, **options)
    sys.modules.pop("some_framework", None)
    RUN.clear()


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_lightning_checkpoint_with_objects_of_an_absent_framework_is_read(tmp_path, foreign, options):
    config = foreign.CfgNode(lr=1)
    config.frozen = True
    beside = {
        "epoch": 3,
        "state_dict": collections.OrderedDict(STATE),
        "callbacks": {foreign.Callback: {"best_model_score": torch.tensor(0.5), "dirpath": pathlib.Path("x")}},
        "hyper_parameters": {
            "config": config,
            "callback": foreign.Callback(),
            "slotted": foreign.Slotted(),
            "mode": foreign.Mode.fast,
            "remade": foreign.Remade(),
            "lower": foreign.lower(),
            "args": argparse.Namespace(lr=1),
            "when": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
            "default": collections.defaultdict(list, {1: [2]}),
            "id": uuid.UUID(int=5),
            "simple": types.SimpleNamespace(),
            "mention": os.system,
            "partial": functools.partial(print, 1),
            "type": int,
            "dtype": torch.float16,
            "bytes": b"x",
            "set": {1},
            "frozen": frozenset((1,)),
            "deque": collections.deque([1]),
            "complex": 1j,
        },
    }
    save(tmp_path / "a.ckpt", beside, options)

    found = read_checkpoint(tmp_path / "a.ckpt")

    assert list(found) == list(STATE)
    assert torch.equal(found["layer.weight"], STATE["layer.weight"])
    assert RUN == []
    assert "some_framework" not in sys.modules


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_a_function_of_an_absent_package_is_not_called_but_refused(tmp_path, foreign, options):
    save(tmp_path / "a.ckpt", {"state_dict": STATE, "x": foreign.Calls()}, options)
    with pytest.raises(
        UnsafeInput, match=r"a\.ckpt: it tries to run code: it calls some_framework\.note; it was not read"
    ):
        read_checkpoint(tmp_path / "a.ckpt")
    assert RUN == []


class Attack:
    """Pickled as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def attacks(target):
    shell = f"touch {target}"
    return {
        "posix.system": Attack(os.system, shell),
        "os.popen": Attack(os.popen, shell),
        "subprocess.Popen": Attack(subprocess.Popen, ["touch", str(target)]),
        "subprocess.check_output": Attack(subprocess.check_output, ["touch", str(target)]),
        "builtins.eval": Attack(eval, f"open({str(target)!r}, 'w')"),
        "builtins.exec": Attack(exec, f"open({str(target)!r}, 'w')"),
        "builtins.getattr": Attack(getattr, "x", "upper"),
        "builtins.__import__": Attack(builtins.__import__, "antigravity"),
        "builtins.map": Attack(map, os.system, [shell]),
        "io.open": Attack(open, str(target), "w"),
        "importlib.import_module": Attack(importlib.import_module, "antigravity"),
        "runpy.run_path": Attack(runpy.run_path, "x.py"),
        "shutil.copyfile": Attack(shutil.copyfile, __file__, str(target)),
        "pickle.loads": Attack(pickle.loads, pickle.dumps(Attack(os.system, shell))),
        "torch.hub.load": Attack(torch.hub.load, "owner/name", "model"),
        "torch.serialization.load": Attack(torch.load, str(target)),
        "torch.storage._load_from_bytes": Attack(torch.storage._load_from_bytes, b"x"),
        "functools.reduce": Attack(functools.reduce, os.system, [shell]),
        "operator": Attack(__import__("operator").methodcaller("lower"), "X"),
    }


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("where", ["beside", "inside", "key"])
@pytest.mark.parametrize("name", attacks("x"))
def test_a_pickle_that_tries_to_run_code_is_refused_and_named(tmp_path, name, where, options):
    target = tmp_path / "ran"
    attack = attacks(target)[name]
    content = {
        "beside": {"state_dict": STATE, "x": attack},
        "inside": {"state_dict": {**STATE, "layer.bias": attack}},
        "key": {"state_dict": STATE, "x": [{(1, 2): [attack]}]},
    }[where]
    torch.save(content, tmp_path / "a.pth", **options)
    with pytest.raises(UnsafeInput) as caught:
        read_checkpoint(tmp_path / "a.pth")
    assert f"a.pth: it tries to run code: it calls {name}" in str(caught.value)
    assert not target.exists()


def archive_of(path, pickled, **records):
    """A file of torch's format around a pickle of one's own."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {"data.pkl": pickled, "version": b"3\n", "byteorder": b"little", **records}.items():
            archive.writestr(f"archive/{name}", data)
    return path


HAND_MADE = {
    "as text": (b"cposix\nsystem\n(S'touch ran'\ntR.", r"calls posix\.system"),
    "by its name in Python 2": (b"\x80\x02c__builtin__\neval\nX\x01\0\0\x001\x85R.", r"calls builtins\.eval"),
    "moved since Python 2": (b"\x80\x02ccommands\ngetoutput\nX\x01\0\0\x00x\x85R.", r"calls subprocess\.getoutput"),
    "an instance, the old way": (b"\x80\x02(S'touch ran'\niposix\nsystem\n.", r"calls posix\.system"),
    "an object, the old way": (b"\x80\x02(cposix\nsystem\nS'touch ran'\no.", r"calls posix\.system"),
    "a new object": (b"\x80\x02csubprocess\nPopen\n)\x81.", r"calls subprocess\.Popen"),
    "a new object with names": (b"\x80\x04csubprocess\nPopen\n)}\x92.", r"calls subprocess\.Popen"),
    "by a dotted name": (
        b"\x80\x04\x8c\x05torch\x8c\x10serialization.os\x93\x8c\x01x\x85R.",
        r"calls torch\.serialization\.os",
    ),
    "by what a stub gives": (b"\x80\x02cfoo\nBar\n)R)R.", "calls _Stub"),
    "by an extension's number": (b"\x80\x02\x82\x01.", "extension code 1"),
    "by a persistent name": (b"\x80\x02X\x01\0\0\x00xQ.", "."),
    "by what it set on a type": (
        b"\x80\x02cfoo\nBar\nN}X\x08\0\0\x00__call__cposix\nsystem\ns\x86b)R.",
        "no tensors|holds",
    ),
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_hand_made_pickle_cannot_call_anything(tmp_path, monkeypatch, name):
    pickled, said = HAND_MADE[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=said):
        read_checkpoint(archive_of(tmp_path / "a.pth", pickled))
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_names_given_to_this_process_by_number_are_not_the_files(tmp_path):
    copyreg.add_extension("posix", "system", 240)
    try:
        with pytest.raises(UnsafeInput, match="extension code 240"):
            read_checkpoint(archive_of(tmp_path / "a.pth", b"\x80\x02\x82\xf0X\x01\0\0\x00x\x85R."))
    finally:
        copyreg.remove_extension("posix", "system", 240)


def test_state_cannot_be_set_on_what_torch_shares_with_the_file(tmp_path):
    rebuild = torch._utils._rebuild_tensor_v2
    before = rebuild.__defaults__
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\0\0\x00__defaults__N\x85s\x86bcfoo\nBar\n)R0."
    with pytest.raises(InvalidInput):
        read_checkpoint(archive_of(tmp_path / "a.pth", pickled))
    assert rebuild.__defaults__ == before


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b"cfoo\nBar\n)R.",  # a memo place far away
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",  # bytes of 4 EB
        b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x02" + b"(" * 200_000 + b".",  # nesting
        b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b".",  # a frame
        b"",
        b".",
    ],
)
def test_a_pickle_that_asks_for_the_impossible_is_refused_at_once(tmp_path, pickled):
    with pytest.raises(InvalidInput):
        read_checkpoint(archive_of(tmp_path / "a.pth", pickled))


@pytest.mark.parametrize("size", ["(J\xff\xff\xff\x7f", "(M\xff\xff"])
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path, size):
    storage = b"(X\x07\0\0\x00storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\x00cpuK\x01tQ"
    shape = size.encode("latin-1") + b"t"
    pickled = (
        b"\x80\x02}X\x01\0\0\x00actorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + shape + b"(K\x01t\x89"
        b"ccollections\nOrderedDict\n)RtRsX\x01\0\0\x00bcfoo\nBar\n)Rs."
    )
    path = archive_of(tmp_path / "a.pth", pickled, **{"data/0": bytes(4)})
    with pytest.raises(InvalidInput):
        read_checkpoint(path)


def test_what_hides_methods_of_a_dict_does_not_matter(tmp_path):
    state = collections.OrderedDict(STATE)
    state.get = state.values = 3
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    assert list(read_checkpoint(tmp_path / "a.pth")) == list(STATE)


def test_bytes_of_python_2_and_old_style_objects_are_stubs():
    class Old:
        pass

    Old.__module__, Old.__qualname__ = "some_framework", "Old"
    module = types.ModuleType("some_framework")
    module.Old = Old
    sys.modules["some_framework"] = module
    try:
        pickled = [pickle.dumps({"b": b"\xff", "o": Old(), "e": enum.Enum}, protocol) for protocol in range(6)]
    finally:
        del sys.modules["some_framework"]
    for data in pickled:
        found = pickles.load(io.BytesIO(data))
        assert sorted(found) == ["b", "e", "o"]
        assert pickles.is_stub(found["o"])


def _pickled_call(function: str, owner: str, member: str) -> bytes:
    """The opcodes of `function(owner, member)`, as protocol 2 writes them."""
    return (
        b"\x80\x02"
        + f"c{function}\nc{owner}\nX".encode()
        + struct.pack("<I", len(member))
        + member.encode()
        + b"\x86R."
    )


def test_a_member_of_an_enumeration_is_read_as_older_pythons_write_it():
    pickles.Unpickler(io.BytesIO(_pickled_call("__builtin__\ngetattr", "framework.stages\nStage", "FITTING"))).load()


@pytest.mark.parametrize("owner", ["os\npath", "os\nsystem", "framework.tools\nrun", "builtins\neval"])
def test_no_other_member_is_asked_for(owner):
    with pytest.raises(UnsafeInput, match=r"builtins\.getattr"):
        pickles.Unpickler(io.BytesIO(_pickled_call("__builtin__\ngetattr", owner, "system"))).load()
