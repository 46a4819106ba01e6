"""The store in a bucket: the Store contract on each S3 server, and a death in the middle of a large file."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from gim.adapters.s3.store import MinioStore
from tests.contract.processes import program_until_ready
from tests.contract.store_contract import OpenStore, StoreContract, store_machine
from tests.s3_buckets import bucket_on, config_of, empty, program_of
from tests.servers import S3Server


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> Iterator[str]:
    with bucket_on(s3_server) as name:
        yield name


class TestMinioStoreContract(StoreContract):
    @pytest.fixture
    def open_store(self, s3_server: S3Server, bucket: str) -> Iterator[OpenStore]:
        opened: list[MinioStore] = []

        def open_one() -> MinioStore:
            opened.append(MinioStore(config_of(s3_server), bucket))
            return opened[-1]

        empty(open_one())
        yield open_one
        for store in opened:
            store.close()

    @pytest.fixture
    def store_program(self, s3_server: S3Server, bucket: str) -> str:
        return program_of(s3_server, bucket)


def test_whatever_the_order_of_calls_the_bucket_does_as_a_dict(s3_server: S3Server, bucket: str) -> None:
    begun = set[Path]()

    def open_in(root: Path) -> MinioStore:
        store = MinioStore(config_of(s3_server), bucket)
        if root not in begun:
            begun.add(root)
            empty(store)
        return store

    run_state_machine_as_test(store_machine(open_in), settings=settings(max_examples=4, stateful_step_count=15))


WRITE_FOR_EVER = """
import itertools, sys, tempfile
with tempfile.NamedTemporaryFile() as file:
    for byte in itertools.cycle((b"0", b"1")):
        file.seek(0)
        for _ in range(20):
            file.write(byte * 2**20)
        file.flush()
        print("ready", flush=True)
        store.put_file("big", Path(file.name))
"""


def test_kill_in_the_middle_of_a_large_file_leaves_the_old_one_or_the_new_one(s3_server: S3Server, bucket: str) -> None:
    with closing(MinioStore(config_of(s3_server), bucket)) as store:
        empty(store)
        for round_ in range(4):
            with program_until_ready(program_of(s3_server, bucket) + WRITE_FOR_EVER) as process:
                assert process.stdout is not None
                if round_:  # the first dies in its first file, the others over one that is there
                    assert process.stdout.readline()
                time.sleep(0.03 * round_)
            keys = list(store.list())
            assert keys == ["big"] or (round_ == 0 and not keys)
            for key in keys:
                data = store.get(key)
                assert len(data) == 20 * 2**20
                assert set(data[:: 2**16]) in ({ord("0")}, {ord("1")})
