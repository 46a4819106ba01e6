"""Services as processes on a real Kafka and a real S3 server: the bytes are those of `gim run`, whatever happens."""

import random
import signal
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from gim.wire import topics
from gim.wire.v1 import events_pb2
from tests.e2e.cluster import Cluster, cluster, count_writes, keep_versions, wait_for
from tests.e2e.undisturbed import SERVICES, SETS, Undisturbed, undisturbed_run
from tests.servers import S3Server, s3_server_of

NUM_KILLS = 20


@pytest.fixture(scope="module")
def one_clip(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed_run(tmp_path_factory.mktemp("one"), 1, 4.0)


@pytest.fixture(scope="module")
def three_clips(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return undisturbed_run(tmp_path_factory.mktemp("three"), 3, 6.0)


@pytest.mark.parametrize("server", ["minio", "versitygw"])
def test_services_make_the_bytes_of_one_machine(
    one_clip: Undisturbed, tmp_path: Path, kafka_servers: tuple[str, ...], server: str, unique: str
) -> None:
    with cluster(tmp_path, kafka_servers, s3_server_of(server), unique, **SETS) as system:
        services = system.start_all(*SERVICES)
        system.publish(*one_clip.clips)
        system.wait_finished(1)
        system.wait_idle()
        one_clip.assert_equal(system)
        for service in services:
            assert service.ask("/healthz")[0] == 200
            assert "gim_messages_total" in service.ask("/metrics")[1]
            assert service.kill(signal.SIGTERM) == 0
            assert service.lines()[-1]["event"] == "service_ended"


@pytest.mark.slow
def test_services_killed_at_random_moments_leave_the_bytes_of_an_undisturbed_run(
    three_clips: Undisturbed, system: Cluster, minio_server: S3Server, unique: str
) -> None:
    keep_versions(minio_server, unique)
    dice = random.Random(2402)
    kills: Counter[str] = Counter()
    running = {name: system.start(name) for name in SERVICES}
    system.publish(*three_clips.clips)
    half_done = 0
    for _ in range(NUM_KILLS):
        running["downloader"].wait_ready()
        time.sleep(dice.uniform(0.0, 2.0))
        victim = dice.choice(SERVICES)
        running[victim].kill()
        kills[victim] += 1
        half_done += len(system.finished()) < len(three_clips.clips)
        running[victim] = system.start(victim)
    assert half_done >= NUM_KILLS // 4, "the work was done before the killing was"
    system.wait_finished(len(three_clips.clips))
    system.wait_idle()
    three_clips.assert_equal(system)
    # Nothing was done twice, but for what was in hand when its worker was killed: one segment, or one video's shards.
    labels = count_writes(minio_server, unique, "labels/")
    assert labels.total() - len(labels) <= kills["matcher"]
    assert max(count_writes(minio_server, unique, "pairs/").values()) <= 1 + kills["propagator"]
    with closing(system.bus()) as bus:
        assert [letter for topic in topics.ALL for letter in bus.read(f"{topic}{topics.DEAD_SUFFIX}")] == []


@pytest.mark.slow
def test_messages_delivered_five_times_out_of_order_to_two_consumers_have_one_effect(
    one_clip: Undisturbed, system: Cluster
) -> None:
    dice = random.Random(11095)
    downloader = system.start("downloader")
    system.publish(*one_clip.clips, times=5)
    system.wait_idle_of("ingest", topics.INGEST)
    downloader.kill(signal.SIGTERM)
    _deliver_again(system, topics.SEGMENTS, dice)
    matchers = system.start_all("matcher", "matcher")
    system.wait_idle_of("label-rootsift", topics.SEGMENTS)
    _deliver_again(system, topics.LABELS, dice)
    system.start_all("propagator", "propagator")
    system.wait_finished(1)
    system.wait_idle()
    one_clip.assert_equal(system)
    assert all(matcher.events("message_done") for matcher in matchers), "one of the two had nothing to do"


def _deliver_again(system: Cluster, topic: str, dice: random.Random) -> None:
    """Everything of a topic four more times, shuffled, under keys that scatter it over all consumers."""
    with closing(system.bus()) as bus:
        again = [message for message in bus.read(topic) for _ in range(4)]
        dice.shuffle(again)
        for number, message in enumerate(again):
            bus.publish(topic, f"{message.key}-{number}", message.value, message.headers)
        bus.flush()


def test_poison_goes_to_the_dead_and_the_partition_flows_on(one_clip: Undisturbed, system: Cluster) -> None:
    poisons = {
        "garbage": b"\xff\xff\xff",
        "nothing-of-it": events_pb2.SegmentReady(
            video_id="file-0123456789abcdef", sampling_id="0.2s-00000000", segment=1
        ).SerializeToString(),
    }
    with closing(system.bus()) as bus:
        for key, value in poisons.items():
            bus.publish(topics.SEGMENTS, key, value)
        bus.flush()
        system.start_all(*SERVICES)
        system.publish(*one_clip.clips)
        system.wait_finished(1)
        system.wait_idle()
        letters = {letter.key: letter for letter in bus.read(f"{topics.SEGMENTS}{topics.DEAD_SUFFIX}")}
    assert {key: letter.value for key, letter in letters.items()} == poisons
    assert letters["garbage"].headers["error"] == "InvalidInput"
    assert letters["garbage"].headers["attempts"] == "1"
    lost = letters["nothing-of-it"].headers
    assert (lost["source-topic"], int(lost["attempts"]) <= 3, bool(lost["source-offset"])) == (
        topics.SEGMENTS,
        True,
        True,
    )


def test_sigterm_hands_the_work_in_hand_back_when_the_grace_is_over(three_clips: Undisturbed, system: Cluster) -> None:
    first = system.start("downloader", GIM_SERVICE__GRACE_SECONDS="0.01")
    system.publish(*three_clips.clips)
    wait_for(lambda: "\ngim_in_hand_seconds 0.0\n" not in first.ask("/metrics")[1], "work in hand")
    assert first.kill(signal.SIGTERM) == 0
    system.start_all(*SERVICES)
    system.wait_finished(len(three_clips.clips))
    system.wait_idle()
    three_clips.assert_equal(system)
