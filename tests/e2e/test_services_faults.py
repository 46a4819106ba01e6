"""Services while what they depend on fails: nothing is lost, nothing is half-written, and they live on."""

import time
from contextlib import closing
from pathlib import Path

import pytest

from gim import codecs
from gim.records import PairsManifest
from gim.wire import topics
from infra.kafka.cluster import KafkaCluster
from infra.kafka.settings import BrokerOptions
from tests.e2e.cluster import cluster, wait_for
from tests.e2e.undisturbed import SERVICES, SETS, Undisturbed, undisturbed_run
from tests.fault_proxy import SLOW_DOWN, Fault, FaultProxy
from tests.servers import S3Server

pytestmark = pytest.mark.slow

_GONE_SECONDS = 60.0
_MOST_BYTES = 2**30  # of a service that labels pictures of 320 x 180: what it holds back must not grow


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed_run(tmp_path_factory.mktemp("clips"), 3, 5.0)


def test_a_store_that_refuses_a_tenth_and_is_gone_for_a_minute_loses_nothing(
    clips: Undisturbed, tmp_path: Path, kafka_servers: tuple[str, ...], minio_server: S3Server, unique: str
) -> None:
    with (
        FaultProxy(minio_server.endpoint, seed=11095) as proxy,
        cluster(tmp_path, kafka_servers, minio_server, unique, **SETS) as system,
    ):
        system.sets["GIM_S3__ENDPOINT"] = proxy.url
        bad_weather = (SLOW_DOWN, Fault.RESET, Fault.TRUNCATE, Fault.LOSE_ANSWER)
        proxy.set(*bad_weather, share=0.1)
        services = system.start_all(*SERVICES)
        system.publish(*clips.clips)
        with closing(system.store()) as store:
            wait_for(lambda: next(store.list("labels/"), None), "the first labels")
        proxy.set(Fault.REFUSE)
        before = len(system.finished())
        time.sleep(_GONE_SECONDS)
        assert len(system.finished()) == before < len(clips.clips)
        assert any(service.events("waiting") for service in services)
        proxy.set(*bad_weather, share=0.1)
        system.wait_finished(len(clips.clips))
        system.wait_idle()
        assert sum(proxy.fates[fate] for fate in ("503", *(fault.value for fault in bad_weather[1:]))) > 20
        clips.assert_equal(system)
        for service in services:
            assert service.peak_bytes() < _MOST_BYTES
        with closing(system.bus()) as bus:
            assert [letter for topic in topics.ALL for letter in bus.read(f"{topic}.dead")] == []


def test_a_broker_that_is_killed_and_comes_back_loses_nothing(
    clips: Undisturbed, tmp_path: Path, minio_server: S3Server, unique: str
) -> None:
    own = KafkaCluster(tmp_path / "kafka", brokers=1, options=BrokerOptions())
    try:
        own.bring_up()
        with cluster(tmp_path, own.bootstrap_servers, minio_server, unique, **SETS) as system:
            services = system.start_all(*SERVICES)
            system.publish(*clips.clips)
            for stage in ("frames/", "labels/"):
                with closing(system.store()) as store:
                    wait_for(lambda: next(store.list(stage), None), f"the first {stage}")  # noqa: B023 - asked at once
                own.kill()
                time.sleep(5.0)
                own.restart()
            system.wait_finished(len(clips.clips))
            system.wait_idle()
            clips.assert_equal(system)
            assert all(service.ask("/healthz")[0] == 200 for service in services)
            with closing(system.bus()) as bus:
                assert [letter for topic in topics.ALL for letter in bus.read(f"{topic}.dead")] == []
    finally:
        own.kill()


def test_one_matcher_of_two_that_always_fails_does_not_stop_the_videos(
    clips: Undisturbed, tmp_path: Path, kafka_servers: tuple[str, ...], minio_server: S3Server, unique: str
) -> None:
    sets = {**SETS, "GIM_MATCHERS": "rootsift,xfeat"}
    with cluster(tmp_path, kafka_servers, minio_server, unique, **sets) as system:
        system.start_all("downloader", "propagator")
        system.start("matcher", GIM_MATCHERS="rootsift")
        system.start("matcher", program=Path(__file__).with_name("broken_matcher.py"), GIM_MATCHERS="xfeat")
        system.publish(clips.clips[0])
        (key,) = system.wait_finished(1)
        system.wait_idle()
        with closing(system.store()) as store, closing(system.bus()) as bus:
            manifest = codecs.from_json(PairsManifest, store.get(key))
            failures = list(store.list("failures/"))
            letters = list(bus.read(f"{topics.SEGMENTS}.dead"))
    assert [matcher_id.rpartition("-")[0] for matcher_id in manifest.matcher_ids] == ["rootsift"]
    assert manifest.num_pairs > 0
    assert len(failures) == len(letters) > 1
    assert {(letter.headers["error"], letter.headers["attempts"]) for letter in letters} == {("ZeroDivisionError", "3")}
    assert all("broken_matcher.py" in letter.headers["stack"] for letter in letters)
