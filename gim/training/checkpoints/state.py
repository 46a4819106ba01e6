"""Nested state as tensors by name and a JSON document, and back: no pickles, so reading it can run nothing.

State is what `state_dict()` of networks, optimisers and averages returns, and what readers say of where they are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gim.errors import CorruptObject, InvalidInput
from gim.weights.checkpoint import StateDict

# Documents hold these in place of what JSON has not. A mapping of one's own with such a key is written as items.
_TENSOR, _TUPLE, _ITEMS = "$tensor", "$tuple", "$items"
_MARKS = {_TENSOR, _TUPLE, _ITEMS}


@dataclass(frozen=True, slots=True)
class FlatState:
    """A nested state taken apart."""

    tensors: StateDict  # by the path that leads to them
    document: bytes  # canonical JSON: all the rest, and where the tensors belong

    def copied(self) -> "FlatState":
        """The same on the CPU, sharing memory with nothing, so that training may go on while it is written."""
        return FlatState(copy_tensors(self.tensors), self.document)


def copy_tensors(tensors: Mapping[str, torch.Tensor]) -> StateDict:
    """Tensors on the CPU that share memory with nothing."""
    kind = torch.contiguous_format
    return {name: value.detach().to("cpu", copy=True, memory_format=kind) for name, value in tensors.items()}


def flatten_state(state: Mapping[str, Any]) -> FlatState:
    """Take a nested state apart; its tensors are not copied.

    Args:
        state: mappings (keys: str or int), lists and tuples of tensors, numbers, texts, booleans and None.

    Raises:
        InvalidInput: something else is in it; the message names its place.
    """
    tensors: StateDict = {}
    document = _described(state, "", tensors)
    return FlatState(tensors, json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def rebuild_state(flat: FlatState) -> dict[str, Any]:
    """The nested state that `flatten_state` took apart.

    Raises:
        CorruptObject: the document is none, or speaks of a tensor that is not there.
    """
    try:
        state = _rebuilt(json.loads(flat.document), flat.tensors)
    except (ValueError, TypeError) as error:
        raise CorruptObject(f"not the document of a training state ({error})") from error
    except KeyError as error:
        raise CorruptObject(f"the training state has no tensor {error}") from error
    if not isinstance(state, dict):
        raise CorruptObject("not the document of a training state")
    return state


def _described(value: Any, path: str, tensors: StateDict) -> Any:
    if isinstance(value, torch.Tensor):
        if path in tensors:  # keys with dots in them can lead to one path in two ways
            raise InvalidInput(f"state: two tensors are called {path}")
        tensors[path] = value
        return {_TENSOR: path}
    if isinstance(value, Mapping):
        return _described_mapping(value, path, tensors)
    if isinstance(value, (list, tuple)):
        items = _described_items(value, path, tensors)
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise InvalidInput(f"state: {path} is a {type(value).__name__}, which a checkpoint cannot hold")


def _described_mapping(value: Mapping[Any, Any], path: str, tensors: StateDict) -> Any:
    for key in value:
        if type(key) not in (str, int):
            raise InvalidInput(f"state: {path} has the key {key!r}; a checkpoint holds keys that are text or integers")
    described = [(key, _described(item, f"{path}.{key}" if path else str(key), tensors)) for key, item in value.items()]
    if all(isinstance(key, str) and key not in _MARKS for key in value):
        return dict(described)
    return {_ITEMS: [list(item) for item in described]}


def _described_items(values: Sequence[Any], path: str, tensors: StateDict) -> list[Any]:
    return [_described(item, f"{path}.{number}", tensors) for number, item in enumerate(values)]


def _rebuilt(document: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(document, list):
        return [_rebuilt(item, tensors) for item in document]
    if not isinstance(document, dict):
        return document
    if _TENSOR in document:
        return tensors[document[_TENSOR]]
    if _TUPLE in document:
        return tuple(_rebuilt(document[_TUPLE], tensors))
    if _ITEMS in document:
        return {key: _rebuilt(item, tensors) for key, item in document[_ITEMS]}
    return {key: _rebuilt(item, tensors) for key, item in document.items()}
