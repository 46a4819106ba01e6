"""Bytes that version 1 of the wire has published are read forever. Never change a line here; add."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from gim.wire import topics
from gim.wire.v1 import events_pb2, matcher_pb2
from gim.wire.v1.events_pb2 import (
    CheckpointReady,
    EvaluationReady,
    EvaluationShardPlanned,
    LabelsReady,
    PairsReady,
    SegmentReady,
    VideoRequested,
)
from gim.wire.v1.matcher_pb2 import (
    FittedModel,
    Image,
    ImageSize,
    ListMatchersResponse,
    MatcherInfo,
    MatchError,
    MatchRequest,
    MatchResponse,
    MatchStreamRequest,
    MatchStreamResponse,
    RobustFit,
    Timings,
    WeightsInfo,
)

_FILE, _YOUTUBE, _SAMPLING = "file-0123456789abcdef", "yt-dQw4w9WgXcQ", "seconds-1a2b3c4d"
_MATCHER, _RECIPE, _RUN = "rootsift-5e6f7a8b", "standard-9c0d1e2f", "loftr-a1b2c3d4"

GOLDEN = [
    (topics.INGEST, VideoRequested(source="dQw4w9WgXcQ"), "0a0b6451773477395767586351"),
    (
        topics.SEGMENTS,
        SegmentReady(video_id=_YOUTUBE, sampling_id=_SAMPLING, segment=7),
        "0a0e79742d645177347739576758635112107365636f6e64732d31613262336334641807",
    ),
    (
        topics.LABELS,
        LabelsReady(
            video_id=_FILE,
            sampling_id=_SAMPLING,
            segment=0,
            matcher_id=_MATCHER,
            num_pairs=93,
            num_correspondences=123456,
        ),
        "0a1566696c652d3031323334353637383961626364656612107365636f6e64732d316132623363346418002211726f6f74736966742d"
        "3565366637613862285d30c0c407",
    ),
    (
        topics.LABELS,
        LabelsReady(video_id=_FILE, sampling_id=_SAMPLING, matcher_id=_MATCHER),
        "0a1566696c652d3031323334353637383961626364656612107365636f6e64732d31613262336334642211726f6f74736966742d3565"
        "366637613862",
    ),
    (
        topics.PAIRS,
        PairsReady(video_id=_FILE, recipe_id=_RECIPE, num_pairs=64, num_shards=2),
        "0a1566696c652d3031323334353637383961626364656612117374616e646172642d396330643165326618402002",
    ),
    (
        topics.PAIRS,
        PairsReady(video_id=_FILE, recipe_id=_RECIPE, rejected="static_camera"),
        "0a1566696c652d3031323334353637383961626364656612117374616e646172642d39633064316532662a0d7374617469635f63616d"
        "657261",
    ),
    (
        topics.INGEST,
        VideoRequested(source="dQw4w9WgXcQ", requested_at_ms=1_795_269_600_000),
        "0a0b64517734773957675863511080c6a0f39f34",
    ),
    (
        topics.LABELS,
        LabelsReady(video_id=_FILE, sampling_id=_SAMPLING, segment=2, matcher_id=_MATCHER, failed=True),
        "0a1566696c652d3031323334353637383961626364656612107365636f6e64732d316132623363346418022211726f6f74736966742d"
        "35653666376138624001",
    ),
    (
        topics.LABELS,
        LabelsReady(video_id=_FILE, sampling_id=_SAMPLING, matcher_id=_MATCHER, final=True),
        "0a1566696c652d3031323334353637383961626364656612107365636f6e64732d31613262336334642211726f6f74736966742d3565"
        "3666376138623801",
    ),
    (
        topics.CHECKPOINTS,
        CheckpointReady(
            run_id=_RUN,
            step=20_000,
            matcher="loftr",
            checkpoint=f"checkpoints/{_RUN}/00020000/weights.safetensors",
            dataset_id="outdoor-11223344",
        ),
        "0a0e6c6f6674722d613162326333643410a09c011a056c6f6674722237636865636b706f696e74732f6c6f6674722d61316232633364"
        "342f30303032303030302f776569676874732e7361666574656e736f72732a106f7574646f6f722d3131323233333434",
    ),
    (
        topics.EVALUATIONS,
        EvaluationReady(run_id=_RUN, step=20_000, benchmark="zeb", report=f"reports/{_RUN}/00020000/zeb/report.json"),
        "0a0e6c6f6674722d613162326333643410a09c011a037a6562222f7265706f7274732f6c6f6674722d61316232633364342f30303032"
        "303030302f7a65622f7265706f72742e6a736f6e",
    ),
    (
        topics.EVALUATION_SHARDS,
        EvaluationShardPlanned(
            run_id=_RUN,
            step=20_000,
            matcher="loftr",
            checkpoint=f"checkpoints/{_RUN}/00020000/weights.safetensors",
            dataset_id="outdoor-11223344",
            benchmark="zeb-kitti-0a1b2c3d",
            shard=7,
            num_shards=8,
            settings_id="99aabbcc",
            predictor_id="loftr-5e6f7a8b",
            scorer_id="strict-1-0c1d2e3f",
        ),
        "0a0e6c6f6674722d613162326333643410a09c011a056c6f6674722237636865636b706f696e74732f6c6f6674722d6131623263"
        "3364342f30303032303030302f776569676874732e7361666574656e736f72732a106f7574646f6f722d31313232333334343212"
        "7a65622d6b697474692d3061316232633364380740084a083939616162626363520e6c6f6674722d35653666376138625a117374"
        "726963742d312d3063316432653366",
    ),
]

_INFO = MatcherInfo(
    name="loftr",
    identity="loftr-55667788",
    licence="Apache-2.0",
    weights=[WeightsInfo(name="loftr_outdoor", sha256="ab" * 32, licence="Apache-2.0")],
    is_dense=True,
)
MATCHER_GOLDEN = [
    (
        MatchRequest(
            image0=Image(store_key=f"frames/{_FILE}/{_SAMPLING}/00000000.jpg"),
            image1=Image(encoded=b"\xff\xd8\xff", mask=b"\x89PNG"),
            matcher="loftr",
            fit=RobustFit(model=matcher_pb2.ROBUST_MODEL_HOMOGRAPHY, threshold_px=1.5, seed=7),
            max_correspondences=2048,
        ),
        "0a3c0a3a6672616d65732f66696c652d303132333435363738396162636465662f7365636f6e64732d31613262336334642f30303030"
        "303030302e6a7067120b1203ffd8ff1a0489504e471a056c6f667472220d080211000000000000f83f1807288010",
    ),
    (
        MatchResponse(
            matcher=_INFO,
            size0=ImageSize(width=640, height=480),
            size1=ImageSize(width=1920, height=1080),
            num_correspondences=1,
            correspondences=bytes.fromhex("0000803f000000400000404000008040"),  # 1, 2, 3, 4
            confidence=bytes.fromhex("0000003f"),  # 0.5
            fitted=FittedModel(
                model=matcher_pb2.ROBUST_MODEL_FUNDAMENTAL, matrix=8 * bytes(8) + b"\0\0\0\0\0\0\xf0?", inliers=b"\x01"
            ),
            timings=Timings(queued_seconds=0.5, decoded_seconds=0.25, computed_seconds=2.0, batch_size=8),
        ),
        "0a84010a056c6f667472120e6c6f6674722d35353636373738381a0a4170616368652d322e30225d0a0d6c6f6674725f6f7574646f6f"
        "721240616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261"
        "626162616261626162616261621a0a4170616368652d322e302801120608800510e0031a0608800f10b80820012a100000803f000000"
        "40000040400000804032040000003f3a4f08011248000000000000000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000000000000000000000f03f1a0101421d09000000000000e03f11"
        "000000000000d03f1900000000000000402008",
    ),
    (
        MatchStreamRequest(id=300, request=MatchRequest(image0=Image(encoded=b"a")), timeout_seconds=1.5),
        "08ac0212050a0312016119000000000000f83f",
    ),
    (
        MatchStreamResponse(id=300, response=MatchResponse(num_correspondences=0, matcher=_INFO)),
        "08ac021287010a84010a056c6f667472120e6c6f6674722d35353636373738381a0a4170616368652d322e30225d0a0d6c6f6674725f"
        "6f7574646f6f721240616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261"
        "626162616261626162616261626162616261621a0a4170616368652d322e302801",
    ),
    (
        MatchStreamResponse(id=1, error=MatchError(code=3, kind="InvalidInput", message="image0: not an image")),
        "08011a260803120c496e76616c6964496e7075741a14696d616765303a206e6f7420616e20696d616765",
    ),
    (
        ListMatchersResponse(matchers=[_INFO, MatcherInfo(name="rootsift", is_exact=True)]),
        (
            "0a84010a056c6f667472120e6c6f6674722d35353636373738381a0a4170616368652d322e30225d0a0d6c6f6674725f6f7574646f6f"
            "721240616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261"
            "626162616261626162616261621a0a4170616368652d322e3028010a0c0a08726f6f74736966743001"
        ),
    ),
]


@pytest.mark.parametrize(("topic", "event", "stored"), GOLDEN)
def test_stored_bytes_are_read_as_what_they_meant(topic, event, stored):
    assert topics.parse_event(topic, bytes.fromhex(stored)) == event


@pytest.mark.parametrize(("topic", "event", "stored"), GOLDEN)
def test_what_is_published_today_is_what_was_stored(topic, event, stored):
    assert event.SerializeToString(deterministic=True).hex() == stored
    assert topics.topic_of(event) == topic


def test_a_video_without_segments_is_told_from_one_whose_segment_is_the_first():
    _, first, _ = GOLDEN[2]
    _, without, _ = GOLDEN[3]
    assert first.HasField("segment")
    assert not without.HasField("segment")


@pytest.mark.parametrize(("message", "stored"), MATCHER_GOLDEN)
def test_stored_calls_are_read_and_written_as_they_were(message, stored):
    assert type(message).FromString(bytes.fromhex(stored)) == message
    assert message.SerializeToString(deterministic=True).hex() == stored


def test_every_message_of_the_wire_has_stored_bytes():
    """As itself, or inside another."""
    seen = set()

    def note(message):
        seen.add(message.DESCRIPTOR.name)
        for _, value in message.ListFields():
            for item in value if isinstance(value, (list, tuple)) or hasattr(value, "add") else [value]:
                if hasattr(item, "DESCRIPTOR"):
                    note(item)

    for message in (*(event for _, event, _ in GOLDEN), *(message for message, _ in MATCHER_GOLDEN)):
        note(message)
    declared = {name for file in (events_pb2, matcher_pb2) for name in file.DESCRIPTOR.message_types_by_name}
    assert declared - seen == {"ListMatchersRequest"}  # it says nothing


# --- other versions ---------------------------------------------------------------------------------------------------

_FUTURE = bytes.fromhex("fa3f06667574757265" + "d03f2a" + "f50700000040")  # 1023: "future", 1018: 42, 126: a float


@pytest.mark.parametrize(
    ("kind", "stored"),
    [(type(event), stored) for _, event, stored in GOLDEN] + [(type(item), stored) for item, stored in MATCHER_GOLDEN],
)
def test_what_a_later_version_adds_is_kept_when_we_pass_it_on(kind, stored):
    from_later = bytes.fromhex(stored) + _FUTURE
    read = kind.FromString(from_later)
    assert read == kind.FromString(read.SerializeToString())
    assert sorted(read.SerializeToString(deterministic=True)) == sorted(from_later)
    assert read != kind.FromString(bytes.fromhex(stored))
    read.DiscardUnknownFields()
    assert read.SerializeToString(deterministic=True).hex() == stored  # and what we know of it is what it was


def _message_of_a_later_version():
    """SegmentReady as a later v1 may have it: a field more; made without our protos."""
    file = descriptor_pb2.FileDescriptorProto(name="later.proto", package="later", syntax="proto3")
    message = file.message_type.add(name="SegmentReady")
    text, number = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_UINT32
    for index, (name, kind) in enumerate(
        [("video_id", text), ("sampling_id", text), ("segment", number), ("reason", text)], start=1
    ):
        message.field.add(name=name, number=index, type=kind, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("later.SegmentReady"))


def test_old_and_new_read_each_others_messages():
    later = _message_of_a_later_version()
    sent = later(video_id=_YOUTUBE, sampling_id=_SAMPLING, segment=7, reason="relabel")
    here = topics.parse_event(topics.SEGMENTS, sent.SerializeToString())
    assert (here.video_id, here.sampling_id, here.segment) == (_YOUTUBE, _SAMPLING, 7)
    assert later.FromString(here.SerializeToString()) == sent  # through us, nothing is lost
    _, ours, stored = GOLDEN[1]
    there = later.FromString(bytes.fromhex(stored))
    assert (there.video_id, there.segment, there.reason) == (ours.video_id, 7, "")
