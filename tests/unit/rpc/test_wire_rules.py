"""The protos keep buf's rules, and break nothing that is published (`protos/base.binpb`)."""

import shutil
import subprocess

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gim.wire.v1 import events_pb2, matcher_pb2
from tests.architecture.tree import ROOT
from tests.requirements import lacks

PROTOS = ROOT / "protos"
BUF = ROOT / ".tools" / "bin" / "buf"


@pytest.fixture(scope="module")
def buf():
    """Runs buf in a folder of protos."""
    if not BUF.exists():
        lacks("servers", "no buf: python -m infra install buf")

    def run(*arguments, folder=PROTOS):
        return subprocess.run([BUF, *arguments], cwd=folder, capture_output=True, text=True, check=False)

    return run


def test_lint_finds_nothing(buf):
    done = buf("lint")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_what_is_published_is_not_broken(buf):
    done = buf("breaking", "--against", "base.binpb")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("bytes confidence = 6", "string confidence = 6"),
        ("uint32 segment = 3;", "uint32 segment = 9;"),
        ("  ROBUST_MODEL_HOMOGRAPHY = 2;", ""),
        ("rpc ListMatchers(ListMatchersRequest) returns (ListMatchersResponse);", ""),
    ],
)
def test_a_breaking_change_is_seen(buf, tmp_path, before, after):
    shutil.copytree(PROTOS, tmp_path / "protos")
    changed = 0
    for path in (tmp_path / "protos").rglob("*.proto"):
        text = path.read_text()
        changed += text.count(before)
        path.write_text(text.replace(before, after))
    assert changed
    done = buf("breaking", "--against", "base.binpb", folder=tmp_path / "protos")
    assert done.returncode == 100, done.stdout + done.stderr


def test_whatever_is_declared_counts_as_published():
    """Else a later change of it would not be seen. Made so by `scripts/proto-check --publish`."""
    stored = FileDescriptorSet.FromString((PROTOS / "base.binpb").read_bytes())
    published = {
        (message.name, field.name, field.number)
        for file in stored.file
        for message in file.message_type
        for field in message.field
    }
    declared = {
        (message.name, field.name, field.number)
        for module in (events_pb2, matcher_pb2)
        for message in module.DESCRIPTOR.message_types_by_name.values()
        for field in message.fields
    }
    assert published == declared
