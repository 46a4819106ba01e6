"""The committed protobuf stubs are those that protos/ makes."""

import subprocess
import sys

import pytest

from tests.architecture.tree import ROOT


def test_stubs_are_fresh(tmp_path):
    sources = sorted(path.relative_to(ROOT / "protos") for path in (ROOT / "protos").rglob("*.proto"))
    assert sources
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'protos'}"]
    command += [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *map(str, sources)]
    subprocess.run(command, check=True, capture_output=True)
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*_pb2.py*")}
    stale = [str(path) for path, text in made.items() if (ROOT / path).read_text() != text]
    assert not stale, f"run `make protos`: {stale}"


@pytest.mark.parametrize("suffix", ["_pb2.py", "_pb2.pyi"])
def test_no_stub_is_left_without_its_source(suffix):
    wire = ROOT / "gim" / "wire" / "v1"
    names = {path.name.removesuffix(suffix) for path in wire.glob(f"*{suffix}")}
    assert names == {path.stem for path in (ROOT / "protos" / "gim" / "wire" / "v1").glob("*.proto")}
