from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from gim.errors import CorruptObject, DiskFull
from gim.training.checkpoints.storage import SafetensorsReader, SafetensorsWriter, read_tensors, write_tensors
from tests.unit.training.checkpoints.toy import same

TENSORS = {
    "matrix": torch.randn(3, 4).T,
    "scalar": torch.tensor(3.5, dtype=torch.float64),
    "nothing": torch.zeros(0, 3),
    "bytes": torch.arange(256, dtype=torch.uint8),
    "half": torch.randn(5).bfloat16(),
    "dots.in.it": torch.tensor([True, False]),
    "channels last": torch.randn(1, 3, 4, 5).to(memory_format=torch.channels_last),
}
ALONE = "ignore:torch.distributed is disabled:UserWarning"


def put_into(folder: Path):
    return lambda name, data: (folder / name).write_bytes(data)


def test_tensors_of_every_kind_come_back_bit_for_bit(tmp_path):
    write_tensors(TENSORS, put_into(tmp_path))
    assert same(read_tensors(sorted(tmp_path.iterdir())), TENSORS)


def test_no_file_is_larger_than_it_may_be_but_of_one_large_tensor(tmp_path):
    tensors = {f"{number}": torch.full((size,), number) for number, size in enumerate([10, 10, 100, 10, 10, 10])}
    write = SafetensorsWriter(put_into(tmp_path), max_file_bytes=160)
    with pytest.warns(UserWarning, match=r"torch\.distributed is disabled"):
        dcp.save(dict(tensors), storage_writer=write, no_dist=True)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"{number:05d}.safetensors" for number in range(4)]
    assert [len(SafetensorsReader([file]).tensors) for file in files] == [2, 1, 2, 1]
    assert same(read_tensors(files), tensors)


@pytest.mark.filterwarnings(ALONE)
def test_dcp_loads_into_the_tensors_of_a_network(tmp_path):
    stored, network = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    write_tensors({"network.weight": stored.weight, "network.bias": stored.bias}, put_into(tmp_path))
    state = {"network": network.state_dict()}
    dcp.load(state, storage_reader=SafetensorsReader(list(tmp_path.iterdir())), no_dist=True)
    assert torch.equal(network.weight, stored.weight)


def test_what_a_store_raises_is_raised_as_it_is():
    error = DiskFull("the disk is full")

    def put(name: str, data: bytes) -> None:
        raise error

    with pytest.raises(DiskFull) as caught:  # DCP would make a BaseException of it, which no handler catches
        write_tensors(TENSORS, put)
    assert caught.value is error


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\x80\x04K\x01."])
def test_a_file_of_something_else_is_corrupt(tmp_path, data):
    (tmp_path / "00000.safetensors").write_bytes(data)
    with pytest.raises(CorruptObject, match=r"00000\.safetensors: not a file of tensors"):
        read_tensors([tmp_path / "00000.safetensors"])
