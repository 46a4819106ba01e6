"""Checkpoints of every layout give the same state dict; what is no checkpoint, or of another model, is told apart."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gim.errors import InvalidInput, UnsafeInput
from gim.weights.checkpoint import load_into, read_checkpoint, select
from gim.weights.kinds import kind_of
from tests.golden_weights import manifest

STATE = OrderedDict(
    {
        "layer.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4),
        "layer.bias": torch.ones(3, dtype=torch.float16),
        "norm.num_batches_tracked": torch.tensor(7),
        "norm.scale": torch.linspace(0, 1, 5, dtype=torch.bfloat16),
    }
)
LEGACY = {"_use_new_zipfile_serialization": False}
WRAPPERS = {
    "plain": lambda state: state,
    "lightning": lambda state: {"epoch": 3, "state_dict": state, "optimizer_states": [{"step": torch.tensor(1.0)}]},
    "training script": lambda state: {"model": state, "optimizer": {"state": {0: torch.ones(3)}}, "lr": 1e-3},
    "disk": lambda state: {"extractor": state, "matcher": {}},
    "nested": lambda state: {"model": {"state_dict": state}},
    "own word": lambda state: {"generator": state, "config": {"width": 3}},
    "a tensor beside it": lambda state: {"state_dict": state, "best_score": torch.tensor(0.5)},
    "parameters": lambda state: {
        key: torch.nn.Parameter(value) if value.is_floating_point() else value for key, value in state.items()
    },
    "other things between": lambda state: {**state, "version": 2, "names": ["a"]},
    "data parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
}


def assert_state(found):
    assert list(found) == list(STATE)
    for key, value in STATE.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)
        assert not found[key].requires_grad


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_layout_gives_the_same_state_dict(tmp_path, wrapper, options):
    torch.save(WRAPPERS[wrapper](STATE), tmp_path / "a.pth", **options)
    assert_state(read_checkpoint(tmp_path / "a.pth"))


def test_safetensors_are_read(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    found = read_checkpoint(str(tmp_path / "a.safetensors"))
    assert_state({key: found[key] for key in STATE})


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.ckpt", "a.pt", "a"])
def test_what_a_file_is_goes_by_its_bytes_and_not_by_its_name(tmp_path, name):
    torch.save(STATE, tmp_path / name)
    assert_state(read_checkpoint(tmp_path / name))
    save_file(STATE, tmp_path / name)
    found = read_checkpoint(tmp_path / name)
    assert_state({key: found[key] for key in STATE})


def test_views_and_tied_tensors_are_read_as_they_were(tmp_path):
    base = torch.arange(20.0)
    torch.save({"a": base[3:9].reshape(2, 3).T, "b": base[::2], "c": base, "d": base}, tmp_path / "a.pth")
    found = read_checkpoint(tmp_path / "a.pth")
    assert torch.equal(found["a"], base[3:9].reshape(2, 3).T)
    assert torch.equal(found["b"], base[::2])


def test_big_tensors_are_mapped_and_not_copied(tmp_path):
    torch.save({"a": torch.zeros(50_000_000)}, tmp_path / "big.pth")  # 200 MB
    before = _anonymous_bytes()
    found = read_checkpoint(tmp_path / "big.pth")
    assert found["a"].sum() == 0
    assert _anonymous_bytes() - before < 50e6


def _anonymous_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def damaged_files():
    """Names and bytes of files that are no checkpoint, and what is said of each."""
    whole = pickle.dumps({"a": 1}, 2)
    return {
        "empty.pth": (b"", "is empty"),
        "page.pth": (b"<html><body>Please sign in", "is a web page"),
        "pointer.ckpt": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        "noise.pt": (bytes(range(7, 200)), "is something else"),
        "pickle.pth": (whole, "no checkpoint"),
        "half-pickle.pth": (whole[:-4], "cut off"),
        "header.safetensors": ((90).to_bytes(8, "little") + b'{"a":', "cut off in its header"),
        "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(50), "TFLite"),
    }


@pytest.mark.parametrize("name", damaged_files())
def test_what_is_no_checkpoint_is_told_in_one_line(tmp_path, name):
    data, said = damaged_files()[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidInput, match=said) as caught:
        read_checkpoint(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, kind, share):
    path = tmp_path / "a.pth"
    state = {f"layer{index}.weight": torch.randn(50, 50) for index in range(20)}
    save_file(state, path) if kind == "safetensors" else torch.save(state, path, **(LEGACY if kind == "legacy" else {}))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InvalidInput, match=r"a\.pth: cut off"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "no tensors by name"),
        ({"a": 1, "state_dict": {}}, "no tensors by name"),
        ({}, "no tensors by name"),
        (torch.zeros(3), "no tensors by name"),
        ({1: torch.zeros(3)}, "no tensors by name"),
        ({"a": {"w": torch.zeros(1)}, "b": {"w": torch.zeros(1)}}, "no tensors by name"),
        (torch.nn.Linear(2, 2), r"a pickled model instead of its state_dict\(\)"),
    ],
)
def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InvalidInput, match=rf"a\.pth: holds {said}"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_checkpoint_that_holds_itself_ends(tmp_path):
    loop: dict = {"epoch": 1}
    loop["model"] = loop
    torch.save(loop, tmp_path / "a.pth")
    with pytest.raises(InvalidInput, match="no tensors"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("entries", "compression", "said"),
    [
        ({"readme.txt": b"hello"}, zipfile.ZIP_STORED, "not one that torch.save writes"),
        ({"a/code/x.py": b"", "a/constants.pkl": b"", "a/data.pkl": b""}, zipfile.ZIP_STORED, "TorchScript"),
        ({"a/data.pkl": bytes(50_000_000)}, zipfile.ZIP_DEFLATED, "unpacks to 50000000 bytes"),
        ({"a/data.pkl": b"\x80\x02}.", "b/data.pkl": b"\x80\x02}."}, zipfile.ZIP_STORED, "cut off, damaged"),
    ],
)
def test_an_archive_that_is_not_torchs_is_refused(tmp_path, entries, compression, said):
    with zipfile.ZipFile(tmp_path / "a.pth", "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(InvalidInput, match=said):
        read_checkpoint(tmp_path / "a.pth")


def test_a_small_file_that_claims_huge_tensors_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).as_strided((1 << 40,), (0,))}, tmp_path / "a.pth")
    with pytest.raises(UnsafeInput, match="claims 4398046511104 bytes"):
        read_checkpoint(tmp_path / "a.pth")


def test_select_takes_the_part_of_the_first_prefix_that_is_there():
    state = {"superpoint.a": 1, "model.b": 2, "model.net.fc.w": 3}
    assert select(state, "model.", "matcher.", drop=[".fc."]) == {"b": 2}
    assert select(state, "matcher.", "superpoint.") == {"a": 1}
    assert select({"a": 1, "b": 2}, "model.") == {"a": 1, "b": 2}
    assert select(state, "model.", drop=iter(["fc", "b"])) == {"superpoint.a": 1}


def small_network():
    return torch.nn.Sequential(OrderedDict(conv=torch.nn.Conv2d(2, 3, 3), norm=torch.nn.BatchNorm2d(3)))


def test_load_into_makes_a_network_ready_and_casts_half_precision(tmp_path):
    network, other = small_network(), small_network()
    state = {key: value.half() if value.is_floating_point() else value for key, value in other.state_dict().items()}
    load_into(network, state, source="a.pth")
    assert all(torch.equal(value, state[key].to(value.dtype)) for key, value in network.state_dict().items())
    assert network.conv.weight.dtype == torch.float32
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_load_into_names_what_does_not_fit_and_changes_nothing():
    network = small_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = dict(network.state_dict())
    state["conv.weight"] = torch.zeros(3, 2, 5, 5)
    del state["conv.bias"], state["norm.running_mean"]
    state |= {f"head.{index}": torch.zeros(1) for index in range(8)}
    with pytest.raises(InvalidInput) as caught:
        load_into(network, state, source="a.pth", may_miss=["norm.running_mean"])
    message = str(caught.value)
    assert "a.pth: do not fit: 1 missing: conv.bias;" in message
    assert "8 not known: head.0, head.1, head.2, head.3, head.4 and 3 more;" in message
    assert "1 of another shape: conv.weight ([3, 2, 5, 5], the network has [3, 2, 3, 3])" in message
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("golden", "drop", "name"),
    [
        ("lightglue", "", "SuperPoint and LightGlue in one file"),
        ("lightglue", "model.", "SuperPoint"),
        ("lightglue", "superpoint.", "LightGlue"),
        ("superglue", "superpoint.", "SuperGlue"),
        ("loftr", "", "GIM's LoFTR"),
        ("loftr_official", "", "LoFTR"),
        ("dkm", "", "DKM"),
        ("roma", "dinov2.", "RoMa"),
        ("roma", "encoder.", "DINOv2"),
        ("semseg", "encoder.", "the ADE20K segmenter's decoder"),
        ("semseg", "decoder.", "the ADE20K segmenter's encoder"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_published_files_are_known_by_the_names_of_their_tensors(shared_data, golden, drop, name, prefix):
    names = [name for name, *_ in manifest(shared_data / "golden" / golden)["tensors"]]
    kept = [prefix + key for key in names if not (drop and key.startswith(drop))]
    found = kind_of(kept)
    assert found is not None
    assert found.name == name


@pytest.mark.shared
def test_real_weights_are_known(shared_data):
    folder = shared_data / "weights" / "permissive"
    known = {"aliked-n16.pth": "ALIKED", "xfeat_folded.pt": "XFeat", "xfeat_lighterglue_L3.pt": "LightGlue"}
    assert {file: kind_of(read_checkpoint(folder / file)).name for file in known} == known
    assert kind_of(read_checkpoint(folder / "AffNet.pth")) is None


@pytest.mark.shared
def test_weights_of_another_model_are_called_by_their_name(shared_data):
    names = [name for name, *_ in manifest(shared_data / "golden" / "dkm")["tensors"]]
    with pytest.raises(InvalidInput, match=r"811 not known: .*; these are weights of DKM"):
        load_into(small_network(), dict.fromkeys(names, torch.zeros(1)), source="gim_dkm_100h")


def test_numpy_numbers_beside_the_weights_do_not_matter(tmp_path):
    torch.save({"state_dict": STATE, "score": np.float64(3), "curve": np.zeros(3)}, tmp_path / "a.pth")
    assert_state(read_checkpoint(tmp_path / "a.pth"))
