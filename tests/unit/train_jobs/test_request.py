"""What can be asked of a cluster, and what is refused before it is."""

import pytest

from gim.errors import ConfigError
from gim.train_jobs.request import TrainJobRequest


def test_ranks_are_one_for_each_gpu_or_one_for_each_node_without():
    assert TrainJobRequest(name="a", recipe="tiny", nodes=5, gpus=8).ranks == 40
    assert TrainJobRequest(name="a", recipe="tiny", nodes=2).ranks == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": 0}, "0 nodes of 0 GPUs"),
        ({"gpus": -1}, "1 nodes of -1 GPUs"),
        ({"name": "Train"}, "name 'Train': at most 54 small letters"),
        ({"name": "train-"}, "small letters"),
        ({"name": "a" * 55}, "at most 54"),
        ({"name": "a" * 54, "nodes": 11}, "at most 53"),
        ({"memory": "64GB"}, "memory '64GB': expected a number of Mi, Gi or Ti"),
        ({"environment": {"GIM_STORE": "x"}}, "GIM_STORE: settings go by --set"),
        ({"environment": {"PET_NNODES": "2"}}, "PET_NNODES: who a rank is follows from --nodes and --gpus"),
        ({"environment": {"MASTER_ADDR": "x"}}, "MASTER_ADDR: who a rank is"),
        ({"claims": {"data": "here"}}, "volume data:here: expected CLAIM:/FOLDER"),
    ],
)
def test_what_no_cluster_would_take_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TrainJobRequest(**{"name": "train", "recipe": "tiny", **changes}).check()


def test_the_longest_name_is_taken():
    TrainJobRequest(name="a" * 54, recipe="tiny").check()
