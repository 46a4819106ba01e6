"""Every key of the Store, built by functions, and the ids they are made of.

A key is a pure function of ids; an id that names a configuration ends in 8 hex digits of the hash of
everything that changes the bytes, so a new setting makes a new place and nothing is ever mixed.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from gim.errors import InvalidInput

_SEGMENT = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*")
_VIDEO_ID = re.compile(r"(yt-[A-Za-z0-9_-]{11}|file-[0-9a-f]{16})")
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_MAX_KEY_CHARACTERS = 512


def validate_key(key: str) -> str:
    """Return `key` unchanged when every `/`-separated segment is safe in a path and in a URL.

    Raises:
        InvalidInput: empty, absolute, too long, or a segment that is not `[A-Za-z0-9._=-]+` or starts with a dot.
    """
    if len(key) > _MAX_KEY_CHARACTERS or not all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        raise InvalidInput(
            f"invalid store key {key[:80]!r}: segments must match [A-Za-z0-9._=-]+ and not start with a dot"
        )
    return key


def is_key(text: str) -> bool:
    """Whether `validate_key` takes it."""
    try:
        validate_key(text)
    except InvalidInput:
        return False
    return True


def validate_prefix(prefix: str) -> str:
    """Return `prefix` unchanged when it is empty, or a valid key with or without one trailing slash."""
    if prefix:
        validate_key(prefix.removesuffix("/"))
    return prefix


def is_video_id(text: str) -> bool:
    """Whether a text has one of the two forms of a video id."""
    return _VIDEO_ID.fullmatch(text) is not None


def validate_video_id(video_id: str) -> str:
    """Return `video_id` unchanged when it has one of the two forms the project makes.

    Raises:
        InvalidInput: it has neither; the message shows both.
    """
    if not is_video_id(video_id):
        raise InvalidInput(f"invalid video id {video_id[:80]!r}: expected yt-<11 characters> or file-<16 hex digits>")
    return video_id


def youtube_video_id(youtube_id: str) -> str:
    """The video id of a YouTube id of 11 characters."""
    if not _YOUTUBE_ID.fullmatch(youtube_id):
        raise InvalidInput(f"invalid YouTube id {youtube_id[:80]!r}: expected 11 characters of [A-Za-z0-9_-]")
    return f"yt-{youtube_id}"


def file_video_id(sha256_hex: str) -> str:
    """The video id of a file with this SHA-256."""
    return validate_video_id(f"file-{sha256_hex[:16]}")


def config_hash(*parts: Any) -> str:
    """8 hex digits of the SHA-256 of the canonical JSON of `parts` (dataclasses, mappings, sequences, scalars)."""
    text = json.dumps([_plain(part) for part in parts], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def config_id(name: str, *parts: Any) -> str:
    """A readable id: `name`, a dash, and the hash of everything that changes the bytes."""
    return validate_key(f"{name}-{config_hash(*parts)}")


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def segment_id(video_id: str, sampling_id: str, segment: int) -> str:
    """Bus key of a segment: spreads one video over all consumers."""
    return f"{video_id}/{sampling_id}/{segment:05d}"


# --- videos -----------------------------------------------------------------------------------------------------------


def video_prefix(video_id: str) -> str:
    """Everything kept of a source video."""
    return f"videos/{validate_video_id(video_id)}/"


def video_source(video_id: str, extension: str) -> str:
    """The source file; `extension` without the dot."""
    return validate_key(f"{video_prefix(video_id)}source.{extension}")


def video_meta(video_id: str) -> str:
    """`VideoMeta` as JSON; written after the source file."""
    return f"{video_prefix(video_id)}meta.json"


def source_aliases_prefix() -> str:
    """Every alias from a URL to the video it turned out to be."""
    return "sources/"


def source_alias(url: str) -> str:
    """`SourceAlias` of a URL, as JSON."""
    return f"{source_aliases_prefix()}{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"


# --- frames -----------------------------------------------------------------------------------------------------------


def frames_prefix(video_id: str, sampling_id: str = "") -> str:
    """Frames of a video, of one sampling if given."""
    base = f"frames/{validate_video_id(video_id)}/"
    return validate_prefix(f"{base}{sampling_id}/") if sampling_id else base


def frame_image(video_id: str, sampling_id: str, frame_index: int) -> str:
    """One sampled frame, JPEG."""
    return f"{frames_prefix(video_id, sampling_id)}{frame_index:08d}.jpg"


def overlay_mask(video_id: str, sampling_id: str, shot: int) -> str:
    """Static overlays of one shot, PNG, 255 = usable, 0 = overlay; absent when the shot has none."""
    return f"{frames_prefix(video_id, sampling_id)}overlay-{shot:05d}.png"


def frame_manifest(video_id: str, sampling_id: str) -> str:
    """`FrameManifest` as JSON; written last."""
    return f"{frames_prefix(video_id, sampling_id)}manifest.json"


# --- masks, features, labels, pairs -----------------------------------------------------------------------------------


def masks_prefix(video_id: str, sampling_id: str = "", segmenter_id: str = "") -> str:
    """Masks of a video's frames by a segmenter: deletable, never an input of correctness."""
    return _nested("masks", video_id, sampling_id, segmenter_id)


def frame_mask(video_id: str, sampling_id: str, segmenter_id: str, frame_index: int) -> str:
    """What a segmenter says of one sampled frame, PNG, 255 = usable, 0 = ignore."""
    return f"{masks_prefix(video_id, sampling_id, segmenter_id)}{frame_index:08d}.png"


def features_prefix(video_id: str, sampling_id: str = "", extractor_id: str = "") -> str:
    """Cached features of a video: deletable, never an input of correctness."""
    return _nested("features", video_id, sampling_id, extractor_id)


def segment_features(video_id: str, sampling_id: str, extractor_id: str, segment: int) -> str:
    """`SegmentFeatures` as npz."""
    return f"{features_prefix(video_id, sampling_id, extractor_id)}{segment:05d}.npz"


def labels_prefix(video_id: str, sampling_id: str = "", matcher_id: str = "") -> str:
    """Base labels of a video, of one sampling and matcher if given."""
    return _nested("labels", video_id, sampling_id, matcher_id)


def segment_labels(video_id: str, sampling_id: str, matcher_id: str, segment: int) -> str:
    """`SegmentLabels` as npz."""
    return f"{labels_prefix(video_id, sampling_id, matcher_id)}{segment:05d}.npz"


def failures_prefix(video_id: str, sampling_id: str = "", matcher_id: str = "") -> str:
    """What matchers have given up, of one sampling and matcher if given."""
    return _nested("failures", video_id, sampling_id, matcher_id)


def segment_failure(video_id: str, sampling_id: str, matcher_id: str, segment: int) -> str:
    """`SegmentFailure` as JSON: why a matcher has no labels of a segment; gone once it has."""
    return f"{failures_prefix(video_id, sampling_id, matcher_id)}{segment:05d}.json"


def pairs_prefix(video_id: str, recipe_id: str = "") -> str:
    """Training pairs of a video, of one recipe if given."""
    return _nested("pairs", video_id, recipe_id)


def pairs_shard(video_id: str, recipe_id: str, shard: int) -> str:
    """One WebDataset shard."""
    return f"{pairs_prefix(video_id, recipe_id)}{shard:05d}.tar"


def pairs_index(video_id: str, recipe_id: str) -> str:
    """`PairIndex` as JSON: where each pair lies and its quality."""
    return f"{pairs_prefix(video_id, recipe_id)}index.json"


def colmap_rate(video_id: str, recipe_id: str) -> str:
    """`FailureRate` as JSON: how much of a video structure from motion could not use."""
    return f"{pairs_prefix(video_id, recipe_id)}failures.json"


def pairs_manifest(video_id: str, recipe_id: str) -> str:
    """`PairsManifest` as JSON; written last."""
    return f"{pairs_prefix(video_id, recipe_id)}manifest.json"


def everything_of(video_id: str) -> tuple[str, ...]:
    """Every prefix that can hold a trace of a video, for purging."""
    return (
        pairs_prefix(video_id),
        labels_prefix(video_id),
        failures_prefix(video_id),
        features_prefix(video_id),
        masks_prefix(video_id),
        frames_prefix(video_id),
        video_prefix(video_id),
    )


# --- deployed matchers, datasets, checkpoints, reports ----------------------------------------------------------------


def matcher_name(name: str) -> str:
    """A matcher's name as ids have it: what settings call it, as `vismatch:<model>` or `run:<id>@<step>`, is no key."""
    return name.replace(":", "-").replace("@", "=")


def deployed_matcher(name: str) -> str:
    """`DeployedMatcher` as JSON: under which id the matcher that is deployed now stores its labels."""
    return validate_key(f"matchers/{matcher_name(name)}.json")


def datasets_prefix() -> str:
    """All datasets."""
    return "datasets/"


def dataset_manifest(dataset_id: str) -> str:
    """`DatasetManifest` as JSON: a fixed list of shards, each with its hash."""
    return validate_key(f"{datasets_prefix()}{dataset_id}/manifest.json")


def training_turn(job_id: str) -> str:
    """`TrainingTurn` as JSON: what a trainer with these settings trained last, or is training."""
    return validate_key(f"{datasets_prefix()}turns/{job_id}.json")


def checkpoints_prefix(run_id: str = "") -> str:
    """All checkpoints, or those of one run of training."""
    return validate_prefix(f"checkpoints/{run_id}/") if run_id else "checkpoints/"


def checkpoint_manifest(run_id: str, step: int) -> str:
    """What a checkpoint was made from, as JSON; written last."""
    return f"{checkpoint_prefix(run_id, step)}manifest.json"


def checkpoint_prefix(run_id: str, step: int) -> str:
    """Everything kept of one checkpoint."""
    return f"{checkpoints_prefix(run_id)}{step:08d}/"


def checkpoint_state(run_id: str, step: int, name: str) -> str:
    """A file of what the run goes on from."""
    return validate_key(f"{checkpoint_prefix(run_id, step)}state/{name}")


def checkpoint_weights(run_id: str, step: int, name: str) -> str:
    """A file of weights as matchers load it; `name` with its suffix."""
    return validate_key(f"{checkpoint_prefix(run_id, step)}weights/{name}")


def checkpoint_score(run_id: str, step: int) -> str:
    """`CheckpointScore` as JSON; absent until the checkpoint has been judged."""
    return f"{checkpoint_prefix(run_id, step)}score.json"


def training_run(run_id: str) -> str:
    """`RunRecord` as JSON: what a run of training is; written when it begins."""
    return f"{checkpoints_prefix(run_id)}run.json"


def model_card(run_id: str) -> str:
    """What a finished run's weights are, how they are used and what may be done with them, Markdown."""
    return f"{checkpoints_prefix(run_id)}MODEL_CARD.md"


def data_card(run_id: str) -> str:
    """What a finished run was trained on, Markdown."""
    return f"{checkpoints_prefix(run_id)}DATA_CARD.md"


def training_dumps_prefix(run_id: str) -> str:
    """The micro-batches of a run whose loss or gradient was no number."""
    return f"{checkpoints_prefix(run_id)}bad/"


def training_dump(run_id: str, step: int, rank: int) -> str:
    """The micro-batches of a step whose loss or gradient was no number, as torch.save writes them."""
    return f"{training_dumps_prefix(run_id)}{step:08d}-{rank:04d}.pt"


def training_pictures_prefix(run_id: str) -> str:
    """Pictures of a run's fixed pairs."""
    return f"{checkpoints_prefix(run_id)}pictures/"


def training_picture(run_id: str, step: int, number: int) -> str:
    """What the weights of a step make of a fixed pair, JPEG."""
    return f"{training_pictures_prefix(run_id)}{step:08d}/{number}.jpg"


def training_logs_prefix(run_id: str) -> str:
    """The curves of a run of training."""
    return f"{checkpoints_prefix(run_id)}log/"


def training_log(run_id: str, step: int) -> str:
    """`LogChunk` as JSON: what was measured between two checkpoints, by the step of the second."""
    return f"{training_logs_prefix(run_id)}{step:08d}.json"


def benchmarks_prefix(benchmark: str = "") -> str:
    """All benchmarks, or images, pairs and poses of one."""
    return validate_prefix(f"benchmarks/{benchmark}/") if benchmark else "benchmarks/"


def benchmark_file(benchmark: str, name: str) -> str:
    """A file of a benchmark; `name` is its path in the folder that was put."""
    return validate_key(f"{benchmarks_prefix(benchmark)}files/{name}")


def benchmark_manifest(benchmark: str) -> str:
    """`BenchmarkManifest` as JSON: every file with its hash; written last."""
    return f"{benchmarks_prefix(benchmark)}manifest.json"


def reports_prefix(run_id: str = "") -> str:
    """All reports, or those of one run of training."""
    return validate_prefix(f"reports/{run_id}/") if run_id else "reports/"


def evaluation_report(run_id: str, step: int, benchmark: str) -> str:
    """What a benchmark says of a checkpoint, as JSON."""
    return validate_key(f"{reports_prefix(run_id)}{step:08d}/{benchmark}/report.json")


def last_reported(run_id: str) -> str:
    """`LastReported` as JSON: when a service last reported on a run. Reports themselves hold no time of day."""
    return validate_key(f"{reports_prefix(run_id)}last.json")


def predictions_prefix(views_id: str, predictor_id: str) -> str:
    """What a matcher found in the views of a benchmark, and what was made of it."""
    return validate_prefix(f"predictions/{views_id}/{predictor_id}/")


def predictions(views_id: str, predictor_id: str, chunk: int) -> str:
    """Correspondences of consecutive pairs of a benchmark as npz: a cache, made again when missing."""
    return validate_key(f"{predictions_prefix(views_id, predictor_id)}{chunk:06d}.npz")


def prediction_scores_prefix(views_id: str, predictor_id: str, scorer_id: str) -> str:
    """What a protocol says of a benchmark's pairs."""
    return validate_prefix(f"{predictions_prefix(views_id, predictor_id)}{scorer_id}/")


def prediction_scores(views_id: str, predictor_id: str, scorer_id: str, chunk: int) -> str:
    """What a protocol says of the same pairs, as npz: a cache too."""
    return validate_key(f"{prediction_scores_prefix(views_id, predictor_id, scorer_id)}{chunk:06d}.npz")


# --- audit ------------------------------------------------------------------------------------------------------------


def purge_records_prefix(video_id: str) -> str:
    """Records of what was purged of a video."""
    return validate_prefix(f"audit/purge-{validate_video_id(video_id)}-")


def purge_record(video_id: str, stamp: str) -> str:
    """`PurgeRecord` as JSON; a later `stamp` sorts later."""
    return validate_key(f"{purge_records_prefix(video_id)}{stamp}.json")


def purge_mark(video_id: str) -> str:
    """`PurgeMark` as JSON: there as long as a purged video has not been asked for again."""
    return validate_key(f"{purge_marks_prefix()}{validate_video_id(video_id)}.json")


def purge_marks_prefix() -> str:
    """The marks of all videos that are kept out."""
    return "audit/purged-videos/"


def purged_source(source: str) -> str:
    """`PurgedSource` of a text that led to a purged video, as JSON; the text itself is not kept."""
    return f"audit/purged-sources/{hashlib.sha256(source.encode()).hexdigest()[:32]}.json"


def _nested(root: str, video_id: str, *parts: str) -> str:
    given = [part for part in parts if part]
    return validate_prefix("/".join([root, validate_video_id(video_id), *given]) + "/")
