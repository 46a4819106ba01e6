"""A video is purged while the services work on it: nothing of it is left, and it stays away until asked for again."""

from contextlib import closing

import pytest

from gim import codecs, keys
from gim.runtime.dead import read_letters
from gim.runtime.purge import PurgeRecord
from gim.runtime.purge_cluster import purge_from_cluster
from gim.stages.purged import is_purged
from gim.wire import topics
from gim.wire.v1 import events_pb2
from tests.integration.small_cluster import folder_cluster, server_cluster
from tests.synthetic import small_clip

GRACE_SECONDS = 1.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    small_clip(path)
    return path


@pytest.fixture
def small(tmp_path):
    with folder_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def real(tmp_path, kafka_servers, minio_server, unique):
    with server_cluster(tmp_path, kafka_servers, minio_server, unique) as cluster:
        yield cluster


def _purge(cluster, video_id):
    with closing(cluster.open_bus()) as bus:
        return purge_from_cluster(cluster.store, bus, video_id, grace_seconds=GRACE_SECONDS)


def _purge_in_mid_work(cluster, clip, seen):
    with cluster.working():
        cluster.publish(clip)
        video_id = cluster.wait_for(seen).split("/")[1]
        result = _purge(cluster, video_id)
        cluster.wait_until_done()
    left = set(cluster.store.list()) - {keys.deployed_matcher("rootsift")}
    assert left == {result.record, keys.purge_mark(video_id), keys.purged_source(str(clip))}
    assert not any(clip.name.encode() in cluster.store.get(key) for key in left)
    record = codecs.from_json(PurgeRecord, cluster.store.get(result.record))
    assert record.finished_at
    with closing(cluster.open_bus()) as bus:
        assert read_letters(bus, with_settled=True) == []
    assert {outcome.status for outcome in cluster.outcomes} <= {"done", "purged"}
    return video_id


@pytest.mark.parametrize("seen", ["videos/", "frames/", "labels/", "pairs/"])
def test_a_purge_in_mid_work_leaves_only_its_record(small, clip, seen):
    _purge_in_mid_work(small, clip, seen)


@pytest.mark.parametrize("seen", ["frames/", "labels/"])
def test_a_purge_in_mid_work_leaves_only_its_record_on_the_servers(real, clip, seen):
    _purge_in_mid_work(real, clip, seen)


def test_a_purged_video_stays_away_until_it_is_asked_for_again(small, clip):
    with small.working():
        small.publish(clip)
        small.wait_until_done()
        before = small.objects("pairs/", "labels/")
        assert before
        video_id = small.video_id()
        (sampling_id,) = {key.split("/")[2] for key in small.store.list("labels/")}
        _purge(small, video_id)
        with closing(small.open_bus()) as bus:
            late = [
                (f"{video_id}/x", events_pb2.SegmentReady(video_id=video_id, sampling_id=sampling_id, segment=0)),
                (video_id, events_pb2.LabelsReady(video_id=video_id, sampling_id=sampling_id)),
                (str(clip), events_pb2.VideoRequested(source=str(clip), requested_at_ms=1)),
                (str(clip), events_pb2.VideoRequested(source=str(clip))),
            ]
            for key, event in late:
                bus.publish(topics.topic_of(event), key, event.SerializeToString())
            bus.flush()
        small.outcomes.clear()
        small.wait_until_done()
        small.wait_until(lambda: len(small.outcomes) == len(late))
        assert {outcome.status for outcome in small.outcomes} == {"purged"}
        assert small.objects("pairs/", "labels/", "frames/", "videos/", "sources/") == {}
        small.publish(clip)
        small.wait_until_done()
    assert small.objects("pairs/", "labels/") == before
    assert not is_purged(small.store, video_id)


def test_dead_letters_about_the_video_are_settled(small, clip):
    small.publish(clip)
    with small.working():
        small.wait_until_done()
    video_id = small.video_id()
    other = "file-0123456789abcdef"
    with closing(small.open_bus()) as bus:
        dead = {
            "file": events_pb2.VideoRequested(source=str(clip)),
            "video": events_pb2.LabelsReady(video_id=video_id),
            "other": events_pb2.LabelsReady(video_id=other),
        }
        for key, event in dead.items():
            bus.publish(f"{topics.topic_of(event)}.dead", key, event.SerializeToString(), {"error": "Bug"})
        bus.flush()
        assert _purge(small, video_id).num_letters == 2
        assert [letter.subject for letter in read_letters(bus)] == [other]
        assert _purge(small, video_id).purged_before
