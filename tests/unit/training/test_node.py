"""Who this machine is among those of a run, from torchrun's variables."""

import pytest

from gim.errors import ConfigError
from gim.training.node import Node, node_of

SECOND = {
    "PET_NNODES": "5",
    "PET_NPROC_PER_NODE": "8",
    "PET_NODE_RANK": "1",
    "PET_MASTER_ADDR": "train-0.trainer-ranks",
    "PET_MASTER_PORT": "29500",
}


def test_the_variables_say_who_it_is():
    node = node_of(SECOND)

    assert node == Node(5, 1, 8, "train-0.trainer-ranks", 29500)
    assert not node.is_first
    assert node_of({**SECOND, "PET_NODE_RANK": "0"}).is_first


@pytest.mark.parametrize(
    "environment",
    [{}, {"PET_NNODES": "1", "PET_NPROC_PER_NODE": "1", "PET_NODE_RANK": "0"}, {**SECOND, "RANK": "9"}],
)
def test_a_process_by_itself_and_a_rank_start_no_others(environment):
    assert node_of(environment) is None


@pytest.mark.parametrize("word", ["gpu", "auto"])
def test_a_rank_for_each_gpu_is_counted_where_the_gpus_are(word):
    assert node_of({"PET_NPROC_PER_NODE": word}) == Node(num_ranks=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PET_NNODES": "1:5"}, "PET_NNODES '1:5': expected a whole number"),
        ({"PET_NNODES": "0"}, "PET_NNODES '0': expected a whole number"),
        ({"PET_NPROC_PER_NODE": "cpu"}, "PET_NPROC_PER_NODE 'cpu': expected a whole number, or gpu or auto"),
        ({"PET_NODE_RANK": "-1"}, "PET_NODE_RANK '-1': expected a whole number"),
        ({"PET_NODE_RANK": "5"}, "PET_NODE_RANK 5 is not below PET_NNODES 5"),
        ({"PET_MASTER_ADDR": ""}, "PET_NNODES is 5, but PET_MASTER_ADDR does not say where the first node is"),
        ({"PET_MASTER_PORT": "http"}, "PET_MASTER_PORT 'http': expected a whole number"),
    ],
)
def test_what_makes_no_sense_is_named(changes, message):
    with pytest.raises(ConfigError) as refused:
        node_of({**SECOND, **changes})
    assert str(refused.value) == message
