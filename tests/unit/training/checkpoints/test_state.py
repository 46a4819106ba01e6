import math

import numpy as np
import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st

from gim.errors import CorruptObject, InvalidInput
from gim.training.checkpoints.state import FlatState, flatten_state, rebuild_state
from tests.unit.training.checkpoints.toy import same

TENSORS = st.sampled_from(
    [torch.tensor(3), torch.zeros(0, 2), torch.arange(6).reshape(2, 3).T, torch.ones(2, dtype=torch.bfloat16)]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
KEYS = st.text("abc0", min_size=1, max_size=3) | st.integers(-3, 300) | st.sampled_from(["$tensor", "$tuple", "$items"])
STATES = st.recursive(
    SCALARS | TENSORS,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, STATES, max_size=4))
def test_a_state_taken_apart_is_the_same_when_rebuilt(state):
    try:
        flat = flatten_state(state)
    except InvalidInput:
        reject()  # "0" and 0 are two keys, but one path
    assert same(rebuild_state(flat), state)
    assert all(isinstance(value, torch.Tensor) for value in flat.tensors.values())


def test_the_state_of_an_optimiser_survives_with_its_tuples_and_integer_keys():
    layer = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW([{"params": [layer.weight], "lr": 1 / 3}, {"params": [layer.bias]}])
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    rebuilt = rebuild_state(flatten_state({"optimiser": optimiser.state_dict()}))["optimiser"]
    assert same(rebuilt, optimiser.state_dict())
    assert rebuilt["param_groups"][0]["betas"] == (0.9, 0.999)
    assert list(rebuilt["state"]) == [0, 1]


def test_the_same_state_gives_the_same_document():
    assert flatten_state({"b": 1, "a": 0.1}).document == flatten_state({"a": 0.1, "b": 1}).document


def test_a_copy_does_not_follow_what_training_does():
    weights = torch.zeros(3)
    copied = flatten_state({"weights": weights, "view": weights[:2]}).copied()
    weights += 1
    assert not copied.tensors["weights"].any()
    assert not copied.tensors["view"].any()


@pytest.mark.parametrize(
    ("value", "word"),
    [(np.float32(1), "float32"), (np.zeros(2), "ndarray"), ({1}, "set"), (b"x", "bytes"), (lambda: 0, "function")],
)
def test_what_a_checkpoint_cannot_hold_is_refused_by_its_place(value, word):
    with pytest.raises(InvalidInput, match=rf"state: reader\.lanes\.1 is a {word}"):
        flatten_state({"reader": {"lanes": [0, value]}})


def test_two_tensors_of_one_path_are_refused():
    with pytest.raises(InvalidInput, match=r"two tensors are called a\.b"):
        flatten_state({"a": {"b": torch.ones(1)}, "a.b": torch.ones(1)})


def test_a_key_that_is_no_text_is_refused():
    with pytest.raises(InvalidInput, match="reader has the key"):
        flatten_state({"reader": {1.5: 0}})


@pytest.mark.parametrize("document", [b"", b"[1]", b'{"a":{"$tensor":"gone"}}', b'{"a":{"$items":[1]}}', b"\xff"])
def test_a_document_that_is_damaged_is_corrupt(document):
    with pytest.raises(CorruptObject):
        rebuild_state(FlatState({}, document))


def test_infinite_numbers_survive():
    assert rebuild_state(flatten_state({"best": -math.inf}))["best"] == -math.inf
