"""The clips' work: asked for, asked for once more, and waited for."""

from tests.cluster.bucket import num_results, opened_bucket
from tests.cluster.kube import Kube, wait_for
from tests.e2e.undisturbed import Undisturbed

_SECONDS = 840  # pytest ends a test after 900


def publish(kube: Kube, clips: Undisturbed) -> None:
    """Ask for the clips, by the addresses that a pod serves them under."""
    kube.gim("publish", *(f"http://clips/{clip.name}" for clip in clips.clips))


def begin_again(kube: Kube, clips: Undisturbed) -> None:
    """Purge what there is, and ask for the clips anew: the same work once more."""
    with opened_bucket(kube) as store:
        videos = sorted({key.split("/")[1] for key in store.list("videos/")})
    for video in videos:
        kube.gim("purge", video, "--yes", "--grace", "2")
    publish(kube, clips)


def wait_done(kube: Kube, clips: Undisturbed) -> None:
    """Wait until the training pairs of all clips are there."""
    wait_for(lambda: num_results(kube) == len(clips.clips), "pairs of both videos", _SECONDS)


def assert_same_bytes(kube: Kube, clips: Undisturbed) -> None:
    """Wait for the results, which are those of one machine to the last byte."""
    wait_done(kube, clips)
    with opened_bucket(kube) as store:
        clips.assert_in(store)
