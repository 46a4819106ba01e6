"""Weight files as state dicts: read without running anything in them, unwrapped, fitted to a network."""

import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from gim.errors import InvalidInput, Unavailable, UnsafeInput
from gim.weights import pickles
from gim.weights.formats import FileFormat, file_format
from gim.weights.kinds import kind_of

StateDict = dict[str, torch.Tensor]

# Under what published files keep the weights, beside other things.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "extractor", "weights", "params")
_MAX_DEPTH = 4
_MAX_PICKLE_BYTES = 64 * 2**20  # of names and shapes; the largest published one is 1 MB
_NUM_SHOWN = 5


def read_checkpoint(path: str | Path) -> StateDict:
    """The tensors of a .pth, .pt, .ckpt or .safetensors file on the CPU, `state_dict` unwrapped.

    What the file is goes by its bytes. They are mapped, not copied, where the format allows it.

    Raises:
        InvalidInput: truncated, not a checkpoint, or it tries to run code (`UnsafeInput`); the message names the file.
        Unavailable: it cannot be read.
    """
    path = Path(path)
    match file_format(path):
        case FileFormat.safetensors:
            return _read_safetensors(path)
        case FileFormat.tflite:
            raise InvalidInput(f"weights {path}: is a network of TFLite, not a checkpoint of torch or safetensors")
        case FileFormat.zipped:
            _check_archive(path)
    found = _read_torch(path)
    state = _state_dict_in(found, _MAX_DEPTH)
    if not state:
        instead = "a pickled model instead of its state_dict()" if pickles.is_stub(found) else "no tensors by name"
        raise InvalidInput(f"weights {path}: holds {instead}")
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if claimed > 4 * path.stat().st_size + 2**20:  # tied weights lie in it once
        raise UnsafeInput(f"weights {path}: claims {claimed} bytes of tensors, many times what it holds")
    return _without_common_prefix(state, "module.")  # of DataParallel


def select(state: Mapping[str, torch.Tensor], *prefixes: str, drop: Iterable[str] = ()) -> StateDict:
    """The part of a state dict for one network: of the given prefixes the first that any key has is stripped.

    Keys without that prefix are left out when some key has it, so that a file of several networks can be read for each;
    no key has any: all are taken as they are. Keys that contain one of `drop` are left out.
    """
    words = tuple(drop)
    kept = {key: tensor for key, tensor in state.items() if not any(word in key for word in words)}
    for prefix in prefixes:
        if any(key.startswith(prefix) for key in kept):
            return {key.removeprefix(prefix): tensor for key, tensor in kept.items() if key.startswith(prefix)}
    return kept


def load_into(
    network: torch.nn.Module, state: Mapping[str, torch.Tensor], *, source: str, may_miss: Iterable[str] = ()
) -> None:
    """Put a state dict into a network, which is left in evaluation mode and without gradients.

    Values are copied, so that the file may go, and become of the network's dtype: half precision fits too.

    Args:
        network: changed in place, or not at all.
        state: its tensors.
        source: what the messages call the file.
        may_miss: keys of the network that the file need not have (derived buffers).

    Raises:
        InvalidInput: keys are missing, there are others, or shapes differ; the message names them, and the model that
            the file seems to belong to.
    """
    own = network.state_dict()
    missing = sorted(set(own) - set(state) - set(may_miss))
    unknown = sorted(set(state) - set(own))
    shapes = sorted(
        f"{key} ({list(state[key].shape)}, the network has {list(own[key].shape)})"
        for key in set(own) & set(state)
        if own[key].shape != state[key].shape
    )
    faults = [
        _listed(keys, what)
        for keys, what in ((missing, "missing"), (unknown, "not known"), (shapes, "of another shape"))
        if keys
    ]
    if faults:
        kind, wanted = kind_of(state), kind_of(own)
        guess = f"; these are weights of {kind.name}" if kind and kind != wanted else ""
        raise InvalidInput(f"weights {source}: do not fit: {'; '.join(faults)}{guess}")
    network.load_state_dict(dict(state), strict=False)
    network.eval().requires_grad_(requires_grad=False)


def _listed(keys: Sequence[str], what: str) -> str:
    more = f" and {len(keys) - _NUM_SHOWN} more" if len(keys) > _NUM_SHOWN else ""
    return f"{len(keys)} {what}: {', '.join(keys[:_NUM_SHOWN])}{more}"


def _read_safetensors(path: Path) -> StateDict:
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise InvalidInput(f"weights {path}: cut off or damaged ({_one_line(error)})") from error
    except OSError as error:
        raise Unavailable(f"weights {path}: cannot be read ({error.strerror})") from error


def _check_archive(path: Path) -> None:
    """Return when a zip archive is one that torch.save writes, and no bomb."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry.file_size for entry in archive.infolist()}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise InvalidInput(f"weights {path}: cut off or damaged ({_one_line(error)})") from error
    parts = {name.partition("/")[2] for name in entries}
    if "constants.pkl" in parts:
        raise InvalidInput(f"weights {path}: is a TorchScript program, not weights; save its state_dict()")
    if "data.pkl" not in parts:
        raise InvalidInput(f"weights {path}: is a zip archive, but not one that torch.save writes")
    pickled = max(size for name, size in entries.items() if name.endswith("data.pkl"))
    if sum(entries.values()) > path.stat().st_size or pickled > _MAX_PICKLE_BYTES:  # torch.save compresses nothing
        raise UnsafeInput(f"weights {path}: unpacks to {sum(entries.values())} bytes, more than it has")


def _read_torch(path: Path) -> Any:
    """What torch.load makes of a file; where it refuses names it does not know, those become stubs."""
    mapped = file_format(path) is FileFormat.zipped and path.suffix != ".safetensors"  # torch goes by that suffix
    with path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on formats of former times: they are what is published
        source = path if mapped else stream
        try:
            return torch.load(source, map_location="cpu", weights_only=True, mmap=mapped)
        except pickle.UnpicklingError:
            stream.seek(0)
        except Exception as error:  # whatever damaged bytes do to a decoder
            raise _damaged(path, error) from error
        try:
            # torch's own refusal is off because ours is stricter: nothing is imported, and only tensors are built.
            return torch.load(source, map_location="cpu", weights_only=False, mmap=mapped, pickle_module=pickles)
        except UnsafeInput as error:
            raise UnsafeInput(f"weights {path}: {error}; it was not read") from error
        except Exception as error:
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InvalidInput:
    return InvalidInput(f"weights {path}: cut off, damaged or no checkpoint ({_one_line(error)})")


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:120]


def _state_dict_in(found: Any, depth: int) -> StateDict:
    """The tensors by name that a checkpoint holds, wherever it keeps them; empty when there are none.

    Methods of `dict` are called as such: an OrderedDict of the file may carry attributes that hide its own.
    """
    if not isinstance(found, dict) or depth == 0:
        return {}
    for wrapper in _WRAPPERS:
        if state := _state_dict_in(dict.get(found, wrapper), depth - 1):
            return state
    tensors = {
        key: value.detach()
        for key, value in dict.items(found)
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }
    if tensors:
        return tensors
    inner = [state for value in dict.values(found) if (state := _state_dict_in(value, depth - 1))]
    return inner[0] if len(inner) == 1 else {}


def _without_common_prefix(state: StateDict, prefix: str) -> StateDict:
    if not all(key.startswith(prefix) for key in state):
        return state
    return {key.removeprefix(prefix): tensor for key, tensor in state.items()}
