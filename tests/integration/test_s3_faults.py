"""The store over a network that misbehaves, fault by fault: nothing wrong is handed on, nothing is counted twice."""

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gim.adapters.s3.store import MinioStore
from gim.errors import CorruptObject, InvalidInput, KeyMissing, Unavailable
from tests.contract.processes import program_until_ready
from tests.fault_proxy import SLOW_DOWN, Answer, Fault, FaultProxy
from tests.s3_buckets import bucket_on, config_of, empty, program_of
from tests.servers import S3Server

DATA = bytes(range(256)) * 1000
PART_BYTES = 5 * 2**20
LARGE = os.urandom(2**20) * 12  # three parts


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> Iterator[str]:
    with bucket_on(s3_server) as name:
        yield name


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def store(s3_server: S3Server, bucket: str, proxy: FaultProxy) -> Iterator[MinioStore]:
    """An empty one behind the proxy."""
    with closing(MinioStore(config_of(s3_server), bucket)) as direct:
        empty(direct)
    config = config_of(s3_server, endpoint=proxy.url, part_bytes=PART_BYTES)
    with closing(MinioStore(config, bucket)) as store:
        yield store


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.mp4"
    path.write_bytes(LARGE)
    return path


def fetched(store: MinioStore, key: str) -> bytes:
    with store.fetch(key) as path:
        return path.read_bytes()


def asks(*beginnings: str) -> Callable[[str], bool]:
    return lambda head: head.startswith(beginnings)


def name_of(fault: Fault | Answer) -> str:
    return fault if isinstance(fault, Fault) else str(fault.status)


REFUSALS = [
    SLOW_DOWN,
    Answer.s3(429, "TooManyRequests"),
    Answer.s3(500, "InternalError"),
    Answer.s3(400, "RequestTimeout"),
    Answer(502, b"<html>Bad Gateway</html>", (("Content-Type", "text/html"),)),
    Answer(503),
]


def test_refusals_that_pass_are_asked_again(store: MinioStore, proxy: FaultProxy) -> None:
    for refusal in REFUSALS:
        for call in (lambda: store.put("k", DATA), lambda: store.get("k"), store.usage):
            proxy.set(refusal, times=1)
            assert call() in {True, DATA, len(DATA)}
    assert proxy.fates.total() - proxy.fates["passed"] == 3 * len(REFUSALS)


@pytest.mark.parametrize("fault", [SLOW_DOWN, Fault.RESET, Fault.LOSE_ANSWER, Fault.TRUNCATE], ids=name_of)
def test_what_passes_is_tried_again(store: MinioStore, proxy: FaultProxy, fault: Fault | Answer, large: Path) -> None:
    def struck(call: Callable[[], object]) -> object:
        proxy.set(fault, times=1)
        result = call()
        assert proxy.fates.total() - proxy.fates["passed"] == 1, "the fault did not strike"
        proxy.fates.clear()
        return result

    assert struck(lambda: store.put("k", DATA)) is True
    assert struck(lambda: store.get("k")) == DATA
    assert struck(lambda: store.exists("k")) is True
    assert struck(lambda: store.exists("nothing")) is False
    assert struck(lambda: store.size("k")) == len(DATA)
    assert struck(lambda: list(store.list())) == ["k"]
    assert struck(store.usage) == len(DATA)
    struck(lambda: store.put_file("large", large))
    assert struck(lambda: fetched(store, "large")) == LARGE
    struck(lambda: store.delete("k"))
    assert list(store.list()) == ["large"]


@pytest.mark.parametrize("fault", [SLOW_DOWN, Fault.RESET, Fault.TRUNCATE, Fault.REFUSE], ids=name_of)
def test_what_does_not_pass_is_unavailable_after_a_few_attempts(
    store: MinioStore, proxy: FaultProxy, s3_server: S3Server, bucket: str, fault: Fault | Answer, large: Path
) -> None:
    store.put("k", DATA)
    store.put_file("large", large)
    calls: dict[str, Callable[[MinioStore], object]] = {
        "get": lambda store: store.get("k"),
        "fetch": lambda store: fetched(store, "large"),
        "list": lambda store: list(store.list()),
        "put": lambda store: store.put("k", b"new"),
        "put_file": lambda store: store.put_file("large", large),
    }
    config = config_of(s3_server, endpoint=proxy.url, part_bytes=PART_BYTES, max_attempts=2)
    with closing(MinioStore(config, bucket)) as impatient:
        proxy.fates.clear()
        proxy.set(fault)
        for call in calls.values():
            with pytest.raises(Unavailable, match=r"s3://.* at http://127\.0\.0\.1"):
                call(impatient)
        assert proxy.fates["passed"] == 0
        assert proxy.fates.total() <= 2 * len(calls) + 1  # and one to abort the upload
    proxy.set()
    assert fetched(store, "large") == LARGE


def test_first_writer_whose_answer_was_lost_is_told_that_it_won(store: MinioStore, proxy: FaultProxy) -> None:
    proxy.set(Fault.LOSE_ANSWER, times=2, only=asks("PUT"))
    assert store.put("k", b"mine", if_absent=True) is True
    assert proxy.fates["lose answer"] == 2
    assert store.get("k") == b"mine"
    assert store.put("k", b"mine", if_absent=True) is False


def test_first_writer_is_told_that_it_won_though_the_answer_that_says_so_is_torn(
    store: MinioStore, proxy: FaultProxy, s3_server: S3Server, bucket: str
) -> None:
    asked = []

    def head_after_a_put(head: str) -> bool:
        asked.append(head.partition(" ")[0])
        return asked[-1] == "HEAD" and "PUT" in asked

    proxy.set(Fault.LOSE_ANSWER, times=1, only=asks("PUT"))
    with FaultProxy(proxy.address) as tearing:
        tearing.set(Fault.TRUNCATE, times=1, only=head_after_a_put)  # what is left of it names no writer
        with closing(MinioStore(config_of(s3_server, endpoint=tearing.url), bucket)) as twice_unlucky:
            assert twice_unlucky.put("k", DATA, if_absent=True) is True
        assert tearing.fates["truncate"] == proxy.fates["lose answer"] == 1


def test_second_writer_whose_upload_broke_is_told_that_it_lost(
    store: MinioStore, proxy: FaultProxy, s3_server: S3Server, bucket: str
) -> None:
    # The other one writes while the first attempt of ours is on its way.
    with closing(MinioStore(config_of(s3_server), bucket)) as other:

        def overtake(head: str) -> bool:
            return head.startswith("PUT") and (other.exists("k") or other.put("k", DATA))

        proxy.set(Fault.RESET, times=1, only=overtake)
        assert store.put("k", DATA, if_absent=True) is False
    assert proxy.fates["reset"] == 1


def test_object_that_is_there_is_not_uploaded_again(store: MinioStore, proxy: FaultProxy) -> None:
    # So a server that knows no conditions, and does not say so, overwrites nothing that was there.
    store.put("k", b"first")
    proxy.set(Fault.RESET, only=asks("PUT"))
    assert store.put("k", b"second", if_absent=True) is False
    assert proxy.fates["reset"] == 0


def test_server_that_says_it_has_no_conditions_is_looked_at_first(store: MinioStore, proxy: FaultProxy) -> None:
    proxy.set(Answer.s3(501, "NotImplemented"), only=lambda head: "if-none-match" in head.lower())
    assert store.put("k", b"first", if_absent=True) is True
    assert store.put("k", b"second", if_absent=True) is False
    assert store.put("other", b"first", if_absent=True) is True
    assert store.get("k") == b"first"
    assert proxy.fates["501"] == 1  # it is asked once


@pytest.mark.parametrize("key", ["k", "large"])
def test_bytes_spoilt_on_their_way_up_are_refused_and_sent_again(
    store: MinioStore, proxy: FaultProxy, large: Path, key: str
) -> None:
    proxy.set(Fault.SPOIL, times=2, only=lambda head: head.startswith("PUT"))
    if key == "large":
        store.put_file(key, large)
    else:
        store.put(key, LARGE)
    assert proxy.fates["spoil"] == 2
    assert store.get(key) == LARGE


def test_bytes_spoilt_on_their_way_down_are_read_again(store: MinioStore, proxy: FaultProxy, tmp_path: Path) -> None:
    store.put("k", DATA)
    for read in (store.get, lambda key: fetched(store, key)):
        proxy.set(Fault.SPOIL, times=2, only=asks("GET"))
        assert read("k") == DATA
    assert proxy.fates["spoil"] == 4


def test_object_that_is_spoilt_for_good_is_corrupt(store: MinioStore, proxy: FaultProxy) -> None:
    store.put("k", DATA)
    proxy.set(Fault.SPOIL, only=asks("GET"))
    with pytest.raises(CorruptObject, match="k: its bytes are not those"):
        store.get("k")
    with pytest.raises(CorruptObject, match="k: its bytes are not those"):
        fetched(store, "k")


def test_reading_a_large_object_goes_on_where_it_broke_off(store: MinioStore, proxy: FaultProxy, large: Path) -> None:
    store.put_file("large", large)
    proxy.fates.clear()
    proxy.set(Fault.TRUNCATE, times=1, only=lambda head: f"bytes={PART_BYTES}-" in head)
    assert fetched(store, "large") == LARGE
    assert proxy.fates == {"passed": 4, "truncate": 1}  # HEAD, three parts, and one of them again


def test_large_object_overwritten_while_it_is_read_is_never_a_mixture(
    store: MinioStore, proxy: FaultProxy, s3_server: S3Server, bucket: str, large: Path, tmp_path: Path
) -> None:
    store.put_file("large", large)
    other = tmp_path / "other"
    other.write_bytes(LARGE[::-1])

    def overwrite(head: str) -> bool:
        if f"bytes={PART_BYTES}-" in head and not other.with_suffix(".done").exists():
            other.with_suffix(".done").touch()
            with closing(MinioStore(config_of(s3_server), bucket)) as writer:
                writer.put_file("large", other)
        return False

    proxy.set(only=overwrite)
    with pytest.raises(Unavailable, match="overwritten"):
        fetched(store, "large")
    assert fetched(store, "large") == LARGE[::-1]


def unfinished(store: MinioStore, key: str) -> list[object]:
    found = store._client._list_multipart_uploads(bucket_name=store._client.bucket, prefix=key)
    return [upload for upload in found.uploads if upload.object_name == key]


def test_upload_that_fails_leaves_no_parts(store: MinioStore, proxy: FaultProxy, large: Path) -> None:
    proxy.set(SLOW_DOWN, only=lambda head: head.startswith("PUT") and "partNumber=2" in head)
    with pytest.raises(Unavailable):
        store.put_file("fails", large)
    assert proxy.fates["503"] == 5
    proxy.set()
    assert unfinished(store, "fails") == []
    assert list(store.list()) == []


def test_file_that_becomes_shorter_is_refused_and_leaves_no_parts(
    store: MinioStore, proxy: FaultProxy, large: Path
) -> None:
    proxy.set(only=lambda head: "partNumber=2" in head and bool(os.truncate(large, PART_BYTES)))
    with pytest.raises(InvalidInput, match=r"large\.mp4: it became shorter"):
        store.put_file("shorter", large)
    assert unfinished(store, "shorter") == []
    assert not store.exists("shorter")


def test_end_of_an_upload_whose_answer_was_lost_is_found_to_be_done(
    store: MinioStore, proxy: FaultProxy, large: Path
) -> None:
    proxy.set(Fault.LOSE_ANSWER, times=1, only=lambda head: head.startswith("POST") and "uploadId=" in head)
    store.put_file("large", large)
    assert proxy.fates["lose answer"] == 1
    assert fetched(store, "large") == LARGE


def test_upload_whose_parts_the_server_threw_away_is_not_taken_for_done(
    store: MinioStore, proxy: FaultProxy, s3_server: S3Server, bucket: str, large: Path
) -> None:
    with closing(MinioStore(config_of(s3_server), bucket)) as other:

        def throw_away(head: str) -> bool:
            if head.startswith("POST") and (found := re.search(r"uploadId=([^ &]+)", head)):
                other._client.abort_upload("large", found[1])
            return False

        proxy.set(only=throw_away)
        with pytest.raises(Unavailable, match="NoSuchUpload"):
            store.put_file("large", large)
        assert not store.exists("large")


@pytest.mark.parametrize("moment", ["partNumber=1", "partNumber=3", "POST"])
def test_death_in_the_middle_of_an_upload_shows_nothing_of_it(
    store: MinioStore, proxy: FaultProxy, s3_server: S3Server, bucket: str, large: Path, moment: str
) -> None:
    # It dies while a certain request waits for its answer: no chance decides when.
    large.write_bytes(LARGE * 2)  # parts as large as they are by default
    proxy.set(Fault.BLACK_HOLE, only=lambda head: moment in head and "uploadId=" in head)
    through_proxy = S3Server(**{**vars(s3_server), "endpoint": proxy.url})
    program = (
        program_of(through_proxy, bucket) + f"print('ready', flush=True)\nstore.put_file('large', Path({str(large)!r}))"
    )
    with program_until_ready(program):
        proxy.wait_for("black hole")
    proxy.set()
    assert list(store.list()) == []
    with pytest.raises(KeyMissing):
        store.get("large")
    store.put_file("large", large)
    assert fetched(store, "large") == LARGE * 2


@pytest.fixture
def minio_bucket(minio_server: S3Server) -> Iterator[str]:
    """On the server that keeps connections open between requests, as versitygw does not by default."""
    with bucket_on(minio_server) as name:
        yield name


def test_threads_share_the_connections_they_are_given(minio_server: S3Server, minio_bucket: str) -> None:
    with ExitStack() as leaving:
        proxy = leaving.enter_context(FaultProxy(minio_server.endpoint))
        config = config_of(minio_server, endpoint=proxy.url, connections=4)
        store = leaving.enter_context(closing(MinioStore(config, minio_bucket)))
        threads = leaving.enter_context(ThreadPoolExecutor(16))

        def use(index: int) -> bytes:
            store.put(f"many/{index}", DATA)
            assert store.exists(f"many/{index}")
            return fetched(store, f"many/{index}")

        assert list(threads.map(use, range(64))) == [DATA] * 64
        assert 1 < proxy.most_connections <= 4


def test_close_closes_every_connection(minio_server: S3Server, minio_bucket: str) -> None:
    with FaultProxy(minio_server.endpoint) as proxy:
        store = MinioStore(config_of(minio_server, endpoint=proxy.url), minio_bucket)
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda index: store.put(f"k/{index}", DATA), range(20)))
        assert proxy.open_connections > 0
        store.close()
        proxy.wait_until(lambda: proxy.open_connections == 0)


def test_opening_sends_nothing_and_creating_one_request(s3_server: S3Server, bucket: str, proxy: FaultProxy) -> None:
    MinioStore(config_of(s3_server, endpoint=proxy.url), bucket).close()
    assert not proxy.fates
    MinioStore(config_of(s3_server, endpoint=proxy.url), bucket, create=True).close()
    assert proxy.fates == {"passed": 1}


def test_more_than_a_page_of_keys_is_listed_in_order(
    store: MinioStore, proxy: FaultProxy, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gim.adapters.s3.store._PAGE_KEYS", 100)
    names = sorted(f"n/{index % 7}/{index:05d}" for index in range(105))
    with closing(MinioStore(config_of(s3_server), bucket)) as direct, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: direct.put(name, b"xy"), names))
    listing = store.list("n/")
    assert next(listing) == names[0]
    proxy.set(SLOW_DOWN, Fault.TRUNCATE, times=2)
    assert list(listing) == names[1:]
    assert store.usage("n/3/") == 2 * 15


def test_what_is_no_key_is_not_listed(store: MinioStore) -> None:
    for name in ("my holiday.txt", "a/.hidden", "ä", "a/b"):
        store._client.put(name, b"x", {})
    assert list(store.list()) == ["a/b"]
    assert store.usage() == 1


def test_fetched_file_is_private_and_gone_afterwards(store: MinioStore, large: Path) -> None:
    store.put("small.npz", DATA)
    store.put_file("large.mp4", large)
    for key in ("small.npz", "large.mp4"):
        fetching = store.fetch(key)
        path = fetching.__enter__()
        assert path.name == key
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.stat().st_mode & 0o777 == 0o400
        error = RuntimeError("in the middle of work")
        assert not fetching.__exit__(RuntimeError, error, None)
        assert not path.parent.exists()
