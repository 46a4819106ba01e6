"""Matchers that announce themselves and give segments up, and a propagator that goes by it."""

from pathlib import Path

import pytest

from gim import keys
from gim.errors import Unavailable
from gim.stages.deployed import deployed_labels_id, given_up
from gim.wire.v1 import events_pb2
from tests.synthetic import small_clip
from tests.unit.stages.pipeline import Pipeline, quick_rootsift


def test_an_announced_matcher_is_found_by_the_name_of_the_settings(tmp_path: Path) -> None:
    with Pipeline(tmp_path) as pipeline:
        with pytest.raises(Unavailable, match="rootsift has not started"):
            deployed_labels_id(pipeline.store, "rootsift")
        pipeline.label["rootsift"].announce("rootsift")
        assert deployed_labels_id(pipeline.store, "rootsift") == pipeline.matcher_ids["rootsift"]


class _Broken(type(quick_rootsift())):  # type: ignore[misc]
    name = "broken"

    def __init__(self) -> None:
        super().__init__(quick_rootsift().config)


def test_a_video_goes_on_without_the_matcher_that_gave_a_segment_up(tmp_path: Path) -> None:
    small_clip(tmp_path / "clip.mp4", kind="terrain", duration_seconds=3.0, fps=10)
    with Pipeline(tmp_path / "store", matchers=[quick_rootsift(), _Broken()]) as pipeline:
        events = list(pipeline.ingest.handle(events_pb2.VideoRequested(source=str(tmp_path / "clip.mp4"))))
        segments = [event for _, event in events]
        bells = [bell for event in segments for _, bell in pipeline.label["rootsift"].handle(event)]
        assert [list(pipeline.propagate.handle(bell)) for bell in bells] == [[]] * len(bells)

        (_, failed) = next(iter(pipeline.label["broken"].give_up(segments[0], "ZeroDivisionError", "oh")))
        assert (failed.failed, failed.matcher_id) == (True, pipeline.matcher_ids["broken"])
        ((_, ready),) = pipeline.propagate.handle(failed)
        assert ready.num_pairs > 0
        manifest = pipeline.store.get(keys.pairs_manifest(ready.video_id, ready.recipe_id)).decode()
        assert pipeline.matcher_ids["rootsift"] in manifest
        assert pipeline.matcher_ids["broken"] not in manifest

        # The dead letters are replayed, and this time the labels come: the failure is forgotten, and both are used.
        again = [bell for event in segments for _, bell in pipeline.label["broken"].handle(event)]
        video = pipeline.propagate._reader.manifest(ready.video_id, failed.sampling_id)
        assert list(given_up(pipeline.store, video, pipeline.matcher_ids.values())) == []
        ((_, both),) = pipeline.propagate.handle(again[-1])
        assert both.recipe_id != ready.recipe_id
