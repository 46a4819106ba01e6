import pytest
import torch

from gim.errors import ConfigError
from gim.training.distributed import Ranks, connected

PLACE = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize("environment", [{}, {**PLACE, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}])
def test_one_process_needs_nothing_of_torch_distributed(environment):
    with connected(environment) as ranks:
        assert not torch.distributed.is_initialized()
        assert ranks == Ranks()
        ranks.barrier()
        assert ranks.is_first
        assert ranks.all_sum([1, 2.5]) == [1.0, 2.5]
        assert (ranks.any(True), ranks.any(False)) == (True, False)
        assert ranks.from_first("this") == "this"
        assert ranks.gather(3) == [3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MASTER_ADDR": ""}, "has LOCAL_RANK but no MASTER_ADDR"),
        ({"WORLD_SIZE": ""}, "no WORLD_SIZE: start several processes by torchrun"),
        ({"RANK": "first"}, "RANK, WORLD_SIZE and LOCAL_RANK are not all numbers"),
        ({"RANK": "2"}, "RANK 2 is not below WORLD_SIZE 2"),
    ],
)
def test_half_an_environment_is_refused_by_name(changes, message):
    with pytest.raises(ConfigError, match=message), connected({**PLACE, **changes}):
        pass


def test_a_process_without_a_gpu_of_its_own_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="process 1 of this machine has no GPU, there are 1"):
        with connected(PLACE, device="cuda"):
            pass


def test_an_error_of_the_program_stays_what_it_is():
    with pytest.raises(RuntimeError, match="size of tensor"), connected({}):
        torch.ones(2) + torch.ones(3)
