"""What the child says last, and how messages travel."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import ConfigError, CorruptObject, InvalidInput, UnsafeInput
from gim.records import Segment, Shot
from gim.video.child import explain_failure
from gim.video.config import SamplingConfig, ShotConfig, VideoConfig
from gim.video.decoding import cut_segments, dominant_reason
from gim.video.lane import Call, Lane
from gim.video.messages import (
    Alive,
    DecodeProgress,
    Failure,
    FrameSampled,
    Job,
    Message,
    MessageBuffer,
    OverlayFound,
    pack_job,
    pack_message,
    unpack_job,
)

_JOB = Job("/films/a.mp4", "a.mp4", 0, VideoConfig())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InvalidInput("a.mp4: no\nfilm"), Failure("invalid", "a.mp4: no film")),
        (UnsafeInput("a.mp4: a bomb"), Failure("unsafe", "a.mp4: a bomb")),
        (ConfigError("sampling: wrong"), Failure("config", "sampling: wrong")),
        (
            MemoryError(),
            Failure("unsafe", "a.mp4: decoding needs more memory than limits.max_memory_bytes=2147483648"),
        ),
    ],
)
def test_explain_failure_of_an_expected_error_is_one_line(error: Exception, expected: Failure) -> None:
    assert explain_failure(error, _JOB) == expected


def test_explain_failure_of_a_bug_carries_the_traceback() -> None:
    try:
        cv2.resize(np.zeros((0, 0)), (3, 3))
    except cv2.error as error:
        failure = explain_failure(error, _JOB)
    assert failure.kind == "bug"
    assert "Traceback" in failure.message


def test_a_job_comes_out_as_it_went_in() -> None:
    config = VideoConfig(sampling=SamplingConfig(interval_frames=3), shots=ShotConfig(dissolve_dip=(0.1, 0.9)))
    job = Job("/films/ä\n.mp4", "ä.mp4", 2, config)
    assert unpack_job(pack_job(job)) == job
    assert pack_job(job).index(b"\n") == len(pack_job(job)) - 1


def test_the_child_starts_without_what_only_its_parent_needs() -> None:
    program = "import gim.video.child, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert {"pydantic", "scipy", "poselib", "typer"}.isdisjoint(done.stdout.decode().split())


_MESSAGES = st.one_of(
    st.builds(FrameSampled, st.integers(0, 9), st.integers(0, 99), st.floats(0, 9e9), st.binary(max_size=99)),
    st.builds(OverlayFound, st.integers(0, 9), st.binary(max_size=99)),
    st.builds(DecodeProgress, st.integers(0, 99), st.floats(0, 9e9)),
    st.builds(Failure, st.sampled_from(["invalid", "unsafe", "config", "bug"]), st.text()),
    st.just(Alive()),
)


@given(st.lists(_MESSAGES, max_size=8), st.integers(1, 40))
def test_messages_come_out_as_they_went_in_however_the_pipe_cuts_them(messages: list[Message], chunk: int) -> None:
    data = b"".join(pack_message(message) for message in messages)
    buffer = MessageBuffer()
    received = [message for at in range(0, len(data), chunk) for message in buffer.feed(data[at : at + chunk])]
    assert received == messages


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 20,
        pack_message(DecodeProgress(1, 2.0)).replace(b"1", b"x"),
        pack_message(DecodeProgress(1, 2.0)).replace(b"2.0", b'"t"'),
        b"\x00\x02\x00\x00\x00\x00\x00\x00\x00{}",
        b"\x01\x02\x00\x00\x00\x00\x00\x00\x00[]",
    ],
)
def test_messages_that_are_malformed_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptObject):
        list(MessageBuffer().feed(data))


def shot(index: int, first_sample: int, num_samples: int, rejected: str = "") -> Shot:
    return Shot(index, 0, 0, 0.0, 0.0, first_sample, num_samples, rejected)


def test_cut_segments_numbers_used_shots_only() -> None:
    shots = [shot(0, 0, 5), shot(1, 5, 40, "static_camera"), shot(2, 45, 10)]
    assert cut_segments(shots, 4) == [
        Segment(0, 0, 0, 4),
        Segment(1, 0, 4, 1),
        Segment(2, 2, 45, 4),
        Segment(3, 2, 49, 4),
        Segment(4, 2, 53, 2),
    ]


def test_dominant_reason_is_that_of_the_most_samples() -> None:
    shots = [shot(0, 0, 5, "slides"), shot(1, 5, 3, "short_shot"), shot(2, 8, 3, "short_shot")]
    assert dominant_reason(shots) == "short_shot"
    assert dominant_reason([]) == "no_samples"


def put_often(lane: Lane, call: Call) -> None:
    for _ in range(50):
        lane.put(call)


@pytest.mark.parametrize("is_threaded", [False, True])
def test_lane_keeps_the_order_and_hands_back_the_first_error(is_threaded: bool) -> None:
    lane, seen = Lane(is_threaded=is_threaded, max_waiting=2), []
    for number in range(50):
        lane.put(lambda number=number: seen.append(number))  # type: ignore[misc]
    lane.close()
    assert seen == list(range(50))

    def fail() -> None:
        raise InvalidInput("no")

    lane = Lane(is_threaded=is_threaded, max_waiting=2)
    with pytest.raises(InvalidInput, match="no"):
        put_often(lane, fail)
    if is_threaded:
        with pytest.raises(InvalidInput, match="no"):
            lane.close()
