"""What a cluster has lost is made again by its services, once the bells are rung that its store lacks."""

import shutil
from contextlib import closing

import pytest

from gim import keys
from gim.errors import Unavailable
from gim.runtime.reconcile_cluster import reconcile_cluster
from gim.wire import topics
from gim.wire.v1 import events_pb2
from tests.integration.small_cluster import folder_cluster, server_cluster
from tests.synthetic import small_clip

KEPT = ("videos/", "frames/", "labels/", "pairs/")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    small_clip(path)
    return path


@pytest.fixture(scope="module")
def finished(clip, tmp_path_factory):
    """The folder of a cluster that has worked a video off."""
    folder = tmp_path_factory.mktemp("finished")
    with folder_cluster(folder) as cluster, cluster.working():
        cluster.publish(clip)
        cluster.wait_until_done()
    return folder


@pytest.fixture
def small(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "c")
    with folder_cluster(tmp_path / "c") as cluster:
        yield cluster


@pytest.fixture
def real(tmp_path, kafka_servers, minio_server, unique):
    with server_cluster(tmp_path, kafka_servers, minio_server, unique) as cluster:
        yield cluster


def _reconcile(cluster, **options):
    with closing(cluster.open_bus()) as bus:
        return reconcile_cluster(cluster.store, bus, cluster.settings, **options)


def _lose(cluster, *prefixes, ending=""):
    for prefix in prefixes:
        lost = [key for key in cluster.store.list(prefix) if key.endswith(ending)]
        assert lost, prefix
        for key in lost:
            cluster.store.delete(key)


def _states(result):
    return [(video.status, video.lacks) for video in result.videos]


def _lose_and_mend(cluster, losses):
    with cluster.working():
        before = cluster.objects(*KEPT)
        assert _reconcile(cluster).videos == []
        for lacks, *lost in losses:
            for prefix, ending in lost:
                _lose(cluster, prefix, ending=ending)
            assert _states(_reconcile(cluster, dry_run=True)) == [("stopped", lacks)]
            assert _states(_reconcile(cluster)) == [("rung", lacks)]
            cluster.wait_until_done()
            assert cluster.objects(*KEPT) == before, lacks
            assert _reconcile(cluster).videos == []


@pytest.mark.parametrize(
    "loss",
    [
        ("pairs", ("pairs/", "manifest.json")),
        ("labels", ("pairs/", ""), ("labels/", "")),
        ("labels", ("pairs/", ""), ("labels/", "1.npz")),
        ("frames", ("pairs/", ""), ("labels/", ""), ("frames/", "")),
    ],
    ids=lambda loss: "+".join(prefix + ending for prefix, ending in loss[1:]),
)
def test_whatever_was_lost_is_made_again_to_the_same_bytes(small, loss):
    _lose_and_mend(small, [loss])


def test_whatever_was_lost_is_made_again_to_the_same_bytes_on_the_servers(real, clip):
    with real.working():
        real.publish(clip)
        real.wait_until_done()
    _lose_and_mend(
        real, [("labels", ("pairs/", ""), ("labels/", "1.npz")), ("frames", ("pairs/", ""), ("frames/", ""))]
    )


def test_what_is_in_the_queue_is_left_alone_and_nothing_is_removed_under_it(small):
    video_id = small.video_id()
    _lose(small, "pairs/")
    small.store.put(keys.segment_labels("file-0123456789abcdef", "s-00000000", "m-00000000", 0), b"left over")
    (sampling_id,) = {key.split("/")[2] for key in small.store.list("labels/" + video_id)}
    with closing(small.open_bus()) as bus:
        bell = events_pb2.LabelsReady(video_id=video_id, sampling_id=sampling_id)
        bus.publish(topics.LABELS, video_id, bell.SerializeToString())
        bus.flush()
    found = _reconcile(small)
    assert _states(found) == [("queued", "pairs")]
    assert [item.prefix for item in found.orphans] == ["labels/file-0123456789abcdef/"]
    with pytest.raises(Unavailable, match="propagate 1"):
        _reconcile(small, prune=True)
    with small.working():
        small.wait_until_done()
    assert _reconcile(small, prune=True).removed == ["labels/file-0123456789abcdef/"]
    assert _states(_reconcile(small)) == []


def test_a_straggler_of_a_lost_bus_does_not_hold_up_what_is_lacking(small):
    video_id = small.video_id()
    before = small.objects(*KEPT)
    _lose(small, "pairs/")
    _lose(small, "labels/", ending="1.npz")
    (sampling_id,) = {key.split("/")[2] for key in small.store.list("labels/" + video_id)}
    with closing(small.open_bus()) as bus:
        bell = events_pb2.LabelsReady(video_id=video_id, sampling_id=sampling_id, segment=0)
        bus.publish(topics.LABELS, video_id, bell.SerializeToString())
        bus.flush()
    assert _states(_reconcile(small)) == [("rung", "labels")]
    assert _states(_reconcile(small)) == [("queued", "labels")]
    with small.working():
        small.wait_until_done()
    assert small.objects(*KEPT) == before


def test_a_video_with_a_dead_letter_waits_for_a_person(small):
    video_id = small.video_id()
    _lose(small, "pairs/")
    with closing(small.open_bus()) as bus:
        bell = events_pb2.LabelsReady(video_id=video_id)
        bus.publish(f"{topics.LABELS}.dead", video_id, bell.SerializeToString(), {"error": "Bug"})
        bus.flush()
        (video,) = _reconcile(small).videos
        assert (video.status, video.exit_code) == ("dead", 2)
        assert "gim dead ls" in video.error
        assert bus.lag(topics.LABELS, "propagate") == 0
