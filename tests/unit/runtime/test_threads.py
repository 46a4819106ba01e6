import importlib.util
import json
import os
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info

from gim.runtime.threads import network_threads, one_thread_each

_PROGRAM = """
import json, os, sys
{before}
from gim.runtime.threads import network_threads, one_thread_each
told = {{"loaded": "torch" in sys.modules}}
with one_thread_each(), network_threads({threads}):
    told["still_loaded"] = "torch" in sys.modules
    import torch
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(1) as pool:
        told["inside"] = [torch.get_num_threads(), pool.submit(torch.get_num_threads).result()]
told["after"] = [torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")]
print(json.dumps(told))
"""


def told_by(threads, before="", **environment):
    """What a fresh process says of torch's threads."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch")
    program = _PROGRAM.format(threads=threads, before=before)
    plain = {"PYTHONPATH": ":".join(sys.path), **environment}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=plain)
    return json.loads(done.stdout)


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_that_is_loaded_later_uses_no_more_than_its_share(threads):
    told = told_by(threads)
    assert not told["still_loaded"]
    assert told["inside"] == [min(threads, os.cpu_count())] * 2
    assert told["after"][1] is None


def test_torch_that_is_loaded_already_is_told_and_gets_its_number_back():
    told = told_by(1, before="import torch; torch.set_num_threads(3)")
    assert told["loaded"]
    assert told["inside"] == [1, 1]
    assert told["after"] == [3, None]


@pytest.mark.parametrize(("given", "used"), [("1", 1), ("8", 2), ("4,2", 2), ("nonsense", 2)])
def test_a_smaller_number_of_the_users_stands(given, used):
    told = told_by(2, OMP_NUM_THREADS=given)
    assert told["inside"] == [min(used, os.cpu_count())] * 2
    assert told["after"][1] == given


def test_blas_stays_at_one_thread_beside_networks():
    before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"]
    with one_thread_each(), network_threads(2):
        inside = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert set(inside) == {1}
    assert before == [
        (pool["filepath"], pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"
    ]
