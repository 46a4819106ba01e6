"""Every metric there is: its name, what it means, its labels. Imports no client.

What a stage tells the Telemetry port of as `labelled_pairs` is the metric `gim_labelled_pairs_total`. docs/metrics.md
shows this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

_STAGES = ("ingest", "label", "propagate", "evaluate", "evaluate-shard")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RPC_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PAIR_LOSSES = ("too_few_matches", "no_fit", "too_few_inliers")
_START_LOSSES = (
    "shot_end", "missing_label", "too_few_links", "no_fit", "max_interval", "no_motion", "too_near", "too_few_kept",
)  # fmt: skip
_SAMPLE_LOSSES = ("too_few_labels", "too_little_overlap", "damaged")
_STEPS = (
    "fetch", "decode", "analysis", "encode", "store", "masks", "features", "matching", "fitting", "zooming", "linking",
    "guided", "refining", "quality", "shards", "scoring",
)  # fmt: skip
_THRESHOLDS_DEG = ("5", "10", "20")
_OPERATIONS = ("put", "put_file", "get", "fetch", "exists", "size", "list", "usage", "delete")

Labels = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str  # as Prometheus shows it; a histogram's without _bucket, _sum, _count
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = field(default_factory=dict)  # label -> values there from the start, at 0; none: as they are told
    buckets: tuple[float, ...] = ()
    told: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # further names in the port -> labels they mean

    @property
    def port_name(self) -> str:
        """What the Telemetry port calls it."""
        return self.name.removeprefix("gim_").removesuffix("_total")


METRICS = (
    # --- messages
    Metric(
        "gim_messages_total",
        "counter",
        "Messages handled to their end: done, dead, or abandoned because of a stop.",
        {"stage": _STAGES, "outcome": ("done", "dead", "abandoned")},
        told={"events": {}},
    ),
    Metric(
        "gim_dead_letters_total",
        "counter",
        "Messages moved to a dead letter topic. Error is a class of gim/errors.py, or `bug` for any other.",
        {"stage": _STAGES, "error": ("InvalidInput", "UnsafeInput", "CorruptObject", "WorkerDied", "bug")},
    ),
    Metric(
        "gim_stage_seconds",
        "histogram",
        "Wall seconds that a message took, from taken to acknowledged.",
        {"stage": _STAGES, "outcome": ("done",)},
        (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600),
    ),
    Metric(
        "gim_step_seconds_total",
        "counter",
        "Busy thread seconds of the steps within stages; steps of one message run side by side.",
        {"step": _STEPS},
    ),
    Metric("gim_in_hand_seconds", "gauge", "Age of the message in hand; 0 when there is none."),
    Metric(
        "gim_bus_lag", "gauge", "Messages of a topic that a group has not acknowledged.", {"topic": (), "group": ()}
    ),
    Metric("gim_paused", "gauge", "1 while no further message is begun, because of lag or want of room."),
    Metric(
        "gim_bus_messages_total",
        "counter",
        "Messages taken from and published to a topic.",
        {"topic": (), "direction": ("in", "out")},
    ),
    # --- videos and pairs, each counted when it is made: what a redelivered message finds stored is not counted again
    Metric(
        "gim_videos_total",
        "counter",
        "Videos at their end: kept (with pairs), rejected (rightly without), skipped (an entry of a list), failed.",
        {"outcome": ("kept", "rejected", "skipped", "failed"), "reason": ("none",)},
        told={"sources_skipped": {"outcome": "skipped"}},
    ),
    Metric("gim_frames_sampled_total", "counter", "Frames taken out of videos."),
    Metric(
        "gim_labelled_pairs_total",
        "counter",
        "Base pairs that got labels.",
        {"matcher": ()},
    ),
    Metric(
        "gim_labelled_video_seconds_total",
        "counter",
        "Seconds of video in the segments that a matcher labelled, however many of their pairs got labels.",
        {"matcher": ()},
    ),
    Metric(
        "gim_pairs_total",
        "counter",
        "Base pairs that a matcher was given: labelled, or the reason why not.",
        {"matcher": (), "outcome": ("labelled", *_PAIR_LOSSES)},
    ),
    Metric(
        "gim_correspondences_per_pair",
        "histogram",
        "Correspondences of a labelled base pair, after the robust fit.",
        {"matcher": ()},
        (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    ),
    Metric(
        "gim_starts_total",
        "counter",
        "Sampled frames at which a training pair could begin: kept, or the reason why not.",
        {"outcome": ("kept", *_START_LOSSES)},
    ),
    Metric("gim_training_pairs_total", "counter", "Training pairs stored.", told={"pairs_kept": {}}),
    Metric(
        "gim_propagated_interval_seconds",
        "histogram",
        "Video seconds between the two frames of a training pair.",
        buckets=(0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2),
    ),
    Metric(
        "gim_evaluated_pairs_total",
        "counter",
        "Pairs of a benchmark that were matched and scored.",
        {"matcher": (), "benchmark": ()},
    ),
    Metric(
        "gim_evaluated_pair_seconds",
        "histogram",
        "Seconds to match a pair of a benchmark (its share, where several are matched at once), or to score it.",
        {"matcher": (), "step": ("matching", "scoring")},
        (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    ),
    Metric(
        "gim_evaluation_pairs",
        "gauge",
        "Pairs of the benchmark in hand: those done, by whichever process, and all. Gone when nothing is in hand.",
        {"run_id": (), "benchmark": (), "state": ("done", "all")},
    ),
    # --- the last reports of the store: as old as they are, and the same whichever evaluator is asked
    Metric(
        "gim_zeb_auc",
        "gauge",
        "AUC of pose errors in percent, by the last report of a run on a benchmark.",
        {"dataset": (), "threshold_deg": _THRESHOLDS_DEG, "method": (), "run_id": ()},
    ),
    Metric(
        "gim_zeb_auc_mean",
        "gauge",
        "Mean of that over the benchmarks that the run has a report on.",
        {"threshold_deg": _THRESHOLDS_DEG, "method": (), "run_id": ()},
    ),
    Metric(
        "gim_zeb_rank",
        "gauge",
        "Mean rank among the runs shown, 1 the best, by AUC at 5 degrees on the benchmarks that all of them have.",
        {"method": (), "run_id": ()},
    ),
    Metric(
        "gim_zeb_pairs",
        "gauge",
        "Pairs that the last report of a run on a benchmark is of.",
        {"dataset": (), "method": (), "run_id": ()},
    ),
    Metric(
        "gim_zeb_failures",
        "gauge",
        "Those of them without a pose; of several seeds, the most.",
        {"dataset": (), "method": (), "run_id": ()},
    ),
    Metric(
        "gim_zeb_step",
        "gauge",
        "Training step of the checkpoint that the last report of a run on a benchmark is of.",
        {"dataset": (), "method": (), "run_id": ()},
    ),
    # --- training; a run's first process tells
    Metric(
        "gim_trained_pairs_total",
        "counter",
        "Pairs that a run of training has seen, over all of its processes.",
        {"run_id": ()},
    ),
    Metric("gim_training_step", "gauge", "Steps of the optimiser that a run has done.", {"run_id": ()}),
    Metric(
        "gim_training_skipped_pairs_total",
        "counter",
        "Pairs that gave no sample, by part of the mixture and reason, over all of a run's processes.",
        {"run_id": (), "part": ("video", "homography"), "reason": _SAMPLE_LOSSES},
    ),
    Metric(
        "gim_training_bad_steps_total",
        "counter",
        "Steps whose gradient was no number: they changed no weights, and their pairs are dumped.",
        {"run_id": ()},
    ),
    Metric(
        "gim_training_value",
        "gauge",
        "Last point of a curve of a run: loss, its terms by part, lr, gradient_norm, pairs_per_second, "
        "data_wait_share, validation/loss, auc/BENCHMARK/5, and so on.",
        {"run_id": (), "curve": ("loss",)},
    ),
    Metric(
        "gim_training_checkpoint_step", "gauge", "Step of the last checkpoint of a run that is stored.", {"run_id": ()}
    ),
    Metric(
        "gim_training_checkpoint_time_seconds",
        "gauge",
        "When it was stored, in seconds since 1970; its age is time() less that.",
        {"run_id": ()},
    ),
    # --- store
    Metric(
        "gim_store_bytes_total", "counter", "Bytes read from and written to the store.", {"direction": ("in", "out")}
    ),
    Metric(
        "gim_store_requests_total",
        "counter",
        "Calls of the store: ok, missing (no such key), or error.",
        {"operation": _OPERATIONS, "outcome": ("ok", "missing", "error")},
    ),
    Metric(
        "gim_store_seconds",
        "histogram",
        "Seconds of a call of the store, retries included.",
        {"operation": _OPERATIONS},
        _SECONDS,
    ),
    # --- gRPC
    Metric(
        "gim_rpc_requests_total",
        "counter",
        "Requests answered, by method and status code.",
        {"method": ("Match", "MatchStream"), "code": ("OK", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL")},
    ),
    Metric(
        "gim_rpc_seconds",
        "histogram",
        "Seconds from a request to its answer.",
        {"method": ("Match", "MatchStream")},
        _RPC_SECONDS,
    ),
    Metric(
        "gim_rpc_queue_seconds",
        "histogram",
        "Seconds that a request waited for its batch.",
        {"matcher": ()},
        _RPC_SECONDS,
    ),
    Metric(
        "gim_rpc_decode_seconds",
        "histogram",
        "Seconds that a request's images took to decode.",
        {"matcher": ()},
        _RPC_SECONDS,
    ),
    Metric(
        "gim_rpc_compute_seconds",
        "histogram",
        "Seconds that a request's batch took to compute.",
        {"matcher": ()},
        _RPC_SECONDS,
    ),
    Metric(
        "gim_rpc_batch_size",
        "histogram",
        "Requests computed together, as each of them saw it.",
        {"matcher": ()},
        (1, 2, 4, 8, 16, 32, 64),
    ),
    Metric(
        "gim_rpc_bytes_total",
        "counter",
        "Bytes of requests and of their answers.",
        {"method": ("Match", "MatchStream"), "direction": ("in", "out")},
        told={"rpc_bytes_in": {"direction": "in"}, "rpc_bytes_out": {"direction": "out"}},
    ),
    Metric("gim_rpc_waiting", "gauge", "Requests that wait for a batch now.", {"matcher": ()}),
    Metric("gim_rpc_streams", "gauge", "Streams that are open now."),
    # --- the process
    Metric(
        "gim_device_memory_bytes",
        "gauge",
        "GPU memory of this process: allocated, reserved and at its peak by torch, and in total; 0 without a GPU.",
        {"kind": ("allocated", "reserved", "peak", "total")},
    ),
    Metric(
        "gim_build_info", "gauge", "1, with what runs here as labels.", {"service": (), "version": (), "python": ()}
    ),
    Metric(
        "gim_undeclared_total",
        "counter",
        "What was told under a name that is not in this table: a mistake of the code, not of the data.",
        {"name": ()},
    ),
)
# Told for those who look on; a message that is delivered again tells it again, so it is no rate.
UNCOUNTED = frozenset({"pairs_labelled"})
