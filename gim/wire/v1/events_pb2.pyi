from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class VideoRequested(_message.Message):
    __slots__ = ("source", "requested_at_ms")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    source: str
    requested_at_ms: int
    def __init__(self, source: _Optional[str] = ..., requested_at_ms: _Optional[int] = ...) -> None: ...

class SegmentReady(_message.Message):
    __slots__ = ("video_id", "sampling_id", "segment")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    sampling_id: str
    segment: int
    def __init__(self, video_id: _Optional[str] = ..., sampling_id: _Optional[str] = ..., segment: _Optional[int] = ...) -> None: ...

class LabelsReady(_message.Message):
    __slots__ = ("video_id", "sampling_id", "segment", "matcher_id", "num_pairs", "num_correspondences", "final", "failed")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    MATCHER_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_PAIRS_FIELD_NUMBER: _ClassVar[int]
    NUM_CORRESPONDENCES_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    sampling_id: str
    segment: int
    matcher_id: str
    num_pairs: int
    num_correspondences: int
    final: bool
    failed: bool
    def __init__(self, video_id: _Optional[str] = ..., sampling_id: _Optional[str] = ..., segment: _Optional[int] = ..., matcher_id: _Optional[str] = ..., num_pairs: _Optional[int] = ..., num_correspondences: _Optional[int] = ..., final: _Optional[bool] = ..., failed: _Optional[bool] = ...) -> None: ...

class PairsReady(_message.Message):
    __slots__ = ("video_id", "recipe_id", "num_pairs", "num_shards", "rejected")
    VIDEO_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPE_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_PAIRS_FIELD_NUMBER: _ClassVar[int]
    NUM_SHARDS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    video_id: str
    recipe_id: str
    num_pairs: int
    num_shards: int
    rejected: str
    def __init__(self, video_id: _Optional[str] = ..., recipe_id: _Optional[str] = ..., num_pairs: _Optional[int] = ..., num_shards: _Optional[int] = ..., rejected: _Optional[str] = ...) -> None: ...

class CheckpointReady(_message.Message):
    __slots__ = ("run_id", "step", "matcher", "checkpoint", "dataset_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MATCHER_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    step: int
    matcher: str
    checkpoint: str
    dataset_id: str
    def __init__(self, run_id: _Optional[str] = ..., step: _Optional[int] = ..., matcher: _Optional[str] = ..., checkpoint: _Optional[str] = ..., dataset_id: _Optional[str] = ...) -> None: ...

class EvaluationShardPlanned(_message.Message):
    __slots__ = ("run_id", "step", "matcher", "checkpoint", "dataset_id", "benchmark", "shard", "num_shards", "settings_id", "predictor_id", "scorer_id")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    MATCHER_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    DATASET_ID_FIELD_NUMBER: _ClassVar[int]
    BENCHMARK_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    NUM_SHARDS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_ID_FIELD_NUMBER: _ClassVar[int]
    PREDICTOR_ID_FIELD_NUMBER: _ClassVar[int]
    SCORER_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    step: int
    matcher: str
    checkpoint: str
    dataset_id: str
    benchmark: str
    shard: int
    num_shards: int
    settings_id: str
    predictor_id: str
    scorer_id: str
    def __init__(self, run_id: _Optional[str] = ..., step: _Optional[int] = ..., matcher: _Optional[str] = ..., checkpoint: _Optional[str] = ..., dataset_id: _Optional[str] = ..., benchmark: _Optional[str] = ..., shard: _Optional[int] = ..., num_shards: _Optional[int] = ..., settings_id: _Optional[str] = ..., predictor_id: _Optional[str] = ..., scorer_id: _Optional[str] = ...) -> None: ...

class EvaluationReady(_message.Message):
    __slots__ = ("run_id", "step", "benchmark", "report")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    BENCHMARK_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    step: int
    benchmark: str
    report: str
    def __init__(self, run_id: _Optional[str] = ..., step: _Optional[int] = ..., benchmark: _Optional[str] = ..., report: _Optional[str] = ...) -> None: ...
