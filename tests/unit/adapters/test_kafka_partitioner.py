"""Where messages go: the segments of a video in turn, everything else where Kafka would send it."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from gim import keys
from gim.adapters.kafka.partitioner import choose_partition


@given(st.text(), st.integers(1, 48))
def test_keys_without_a_number_go_where_kafka_sends_them(name, num_partitions) -> None:
    key = f"{name}/x".encode()
    assert choose_partition(key, num_partitions) == (murmur2(key) & 0x7FFFFFFF) % num_partitions


@given(st.text("abc_-"), st.integers(1, 200), st.integers(1, 48))
def test_the_segments_of_a_video_are_spread_as_evenly_as_can_be(video, num_segments, num_partitions) -> None:
    chosen = [
        choose_partition(keys.segment_id(f"v{video}", "5a5a", number).encode(), num_partitions)
        for number in range(num_segments)
    ]
    assert all(0 <= partition < num_partitions for partition in chosen)
    counts = Counter(chosen)
    assert max(counts.values()) == -(-num_segments // num_partitions)
    assert {(b - a) % num_partitions for a, b in pairwise(chosen)} <= {1 % num_partitions}


@given(st.binary(), st.integers(1, 48))
def test_any_bytes_have_a_partition_and_always_the_same(key, num_partitions) -> None:
    first = choose_partition(key, num_partitions)
    assert 0 <= first < num_partitions
    assert choose_partition(key, num_partitions) == first


def test_videos_begin_in_different_partitions() -> None:
    first = {choose_partition(f"video{number}/5a5a/00000".encode(), 24) for number in range(200)}
    assert len(first) == 24
