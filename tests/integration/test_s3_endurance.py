"""The store through minutes of trouble: requests refused at random, a server that hangs or dies, files without end."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gim.adapters.s3.store import MinioStore
from gim.runtime.retry import Patience, RetryPolicy
from infra import minio
from tests.fault_proxy import SLOW_DOWN, Fault, FaultProxy
from tests.s3_buckets import bucket_on, config_of, program_of
from tests.servers import S3Server

pytestmark = pytest.mark.slow
NUM_THREADS = 8


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[str]:
    with bucket_on(s3_server) as name:
        yield name


def run_child(program: str, *arguments: str, seconds: float = 1200.0) -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert not done.stderr, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


# Of this program alone: what `getrusage` says may be the peak of the one that started it.
PEAK = """
import re
def peak_bytes():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
"""

# Each object says of which version it is, and the rest of it follows from that, so that a mixture would be seen.
WORK = """
import json, os, random, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
from gim.errors import KeyMissing, Unavailable

def content(key, version):
    size = random.Random(f"{key} {version}").choice((1, 2000, 100_000, 400_000))
    return version.to_bytes(8, "big") + random.Random(f"{key} {version} bytes").randbytes(size)

def work(thread):
    dice = random.Random(thread)
    known = {}  # key -> versions that may be there; None: nothing
    counts = {"right": 0, "unavailable": 0}
    for step in range(int(sys.argv[1])):
        key = f"work/{thread}/{dice.randrange(20)}"
        may = known.setdefault(key, {None})
        action = dice.choice(("put", "put", "first", "file", "get", "get", "fetch", "exists", "delete", "list"))
        data = content(key, step)
        try:
            if action == "put":
                may |= {step}
                store.put(key, data)
                known[key] = {step}
            elif action == "file":
                may |= {step}
                with tempfile.NamedTemporaryFile() as file:
                    file.write(data)
                    file.flush()
                    store.put_file(key, Path(file.name))
                known[key] = {step}
            elif action == "first":
                before = set(may)
                may |= {step}
                if store.put(key, data, if_absent=True):
                    assert None in before, "it won, and something was there"
                    known[key] = {step}
                else:
                    assert before != {None}, "it lost, and nothing was there"
                    may.discard(None)
            elif action == "delete":
                may |= {None}
                store.delete(key)
                known[key] = {None}
            elif action == "exists":
                assert store.exists(key) in {version is not None for version in may}
            elif action == "list":
                listed = list(store.list(f"work/{thread}/"))
                assert listed == sorted(listed)
                assert {k for k, v in known.items() if None not in v} <= set(listed)
                assert set(listed) <= {k for k, v in known.items() if v != {None}}
            else:
                try:
                    if action == "get":
                        found = store.get(key)
                    else:
                        with store.fetch(key) as path:
                            found = path.read_bytes()
                    version = int.from_bytes(found[:8], "big")
                    assert version in may, (key, version, may)
                    assert found == content(key, version)
                except KeyMissing:
                    assert None in may, (key, may)
            counts["right"] += 1
        except Unavailable:
            counts["unavailable"] += 1
    return known, counts

with ThreadPoolExecutor(8) as threads:
    list(threads.map(lambda index: store.put(f"warm/{index}", bytes(400_000)), range(200)))
    list(threads.map(lambda index: store.get(f"warm/{index}"), range(200)))
    before = peak_bytes()
    results = list(threads.map(work, range(8)))
store.close()
known = {key: sorted(-1 if v is None else v for v in may) for each, _ in results for key, may in each.items()}
counts = [count for _, count in results]
print(json.dumps({"known": known, "counts": counts, "grown_bytes": peak_bytes() - before}))
"""


def content_of(key: str, version: int) -> bytes:
    namespace: dict = {}
    exec(WORK[: WORK.index("def work")], namespace)
    return namespace["content"](key, version)


def test_a_tenth_of_the_requests_refused_loses_nothing(s3_server: S3Server, bucket: str) -> None:
    steps = 500
    with FaultProxy(s3_server.endpoint, seed=5) as proxy:
        proxy.set(SLOW_DOWN, Fault.RESET, Fault.TRUNCATE, Fault.LOSE_ANSWER, share=0.1)
        through_proxy = S3Server(**{**vars(s3_server), "endpoint": proxy.url})
        told = run_child(program_of(through_proxy, bucket) + PEAK + WORK, str(steps))
        struck = proxy.fates.total() - proxy.fates["passed"]
        assert struck > 0.05 * proxy.fates.total()
        assert proxy.most_connections <= 40  # 16, and those that broke and have not heard of it
    right = sum(count["right"] for count in told["counts"])
    unavailable = sum(count["unavailable"] for count in told["counts"])
    assert right + unavailable == NUM_THREADS * steps
    assert unavailable <= 0.01 * right  # five attempts against one in ten
    assert told["grown_bytes"] < 24 * 2**20, told["grown_bytes"] / 2**20
    with closing(MinioStore(config_of(s3_server), bucket)) as store:
        there = set(store.list("work/"))
        for key, versions in told["known"].items():
            assert key in there or -1 in versions, key
            if key in there:
                data = store.get(key)
                version = int.from_bytes(data[:8], "big")
                assert version in versions, key
                assert data == content_of(key, version)
        assert there <= set(told["known"])


STREAM = """
import hashlib, json, sys
before = peak_bytes()
store.put_file("large", Path(sys.argv[1]))
with store.fetch("large") as path:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
store.close()
print(json.dumps({"digest": digest, "grown_bytes": peak_bytes() - before}))
"""


def test_file_larger_than_the_memory_it_may_take_goes_up_and_down(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    size = 300 * 2**20
    path, digest = tmp_path / "large", hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // 2**20):
            block = os.urandom(2**20)
            file.write(block)
            digest.update(block)
    told = run_child(program_of(s3_server, bucket) + PEAK + STREAM, str(path))
    assert told["digest"] == digest.hexdigest()
    assert told["grown_bytes"] < 24 * 2**20, told["grown_bytes"] / 2**20


def test_server_that_hangs_and_dies_in_the_middle_of_work_loses_nothing(tmp_path: Path) -> None:
    num_objects, large = 400, tmp_path / "large"
    large.write_bytes(os.urandom(20 * 2**20))
    policy = RetryPolicy(first_pause_seconds=0.2, longest_pause_seconds=1.0)
    arrived = threading.Semaphore(0)
    with minio.start(tmp_path / "minio") as server:
        config = config_of(S3Server(name="minio", **server.state()), read_timeout_seconds=1.0, max_attempts=2)
        with closing(MinioStore(config, "bucket", create=True)) as store, ThreadPoolExecutor(4) as threads:

            def work(thread: int) -> int:
                patience = Patience(policy, lambda: False)
                for index in range(thread, num_objects, 4):
                    data = str(index).encode() * 20_000
                    patience.call("work", lambda: store.put(f"k/{index:04d}", data, if_absent=True))  # noqa: B023
                    assert patience.call("work", lambda: store.get(f"k/{index:04d}")) == data  # noqa: B023
                    if index % 80 == thread:
                        patience.call("work", lambda: store.put_file(f"large/{index:04d}", large))  # noqa: B023
                    arrived.release()
                return thread

            working = [threads.submit(work, thread) for thread in range(4)]
            for disturb, settle in (
                (server.pause, server.resume),
                (server.kill, server.restart),
                (server.pause, server.resume),
                (server.kill, server.restart),
            ):
                for _ in range(num_objects // 6):
                    assert arrived.acquire(timeout=300)
                disturb()
                time.sleep(4.0)  # the trouble itself: nothing can be waited for
                settle()
            assert [one.result(300) for one in working] == list(range(4))
            assert list(store.list("k/")) == [f"k/{index:04d}" for index in range(num_objects)]
            for index in range(num_objects):
                assert store.get(f"k/{index:04d}") == str(index).encode() * 20_000
            for key in store.list("large/"):
                with store.fetch(key) as path:
                    assert path.read_bytes() == large.read_bytes()
            assert len(list(store.list("large/"))) == 20
