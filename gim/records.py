"""Frozen records that stages read and write: small JSON documents, and numpy payloads.

Coordinates are float32 pixels of the displayed frame (rotation applied), origin at the CENTRE of the top-left
pixel; correspondences are rows `(x0, y0, x1, y1)`. How records become bytes is `gim.codecs`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Uint8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
StrArray = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a video came from and what the project may do with it."""

    source: str  # as the user gave it, or the resolved URL
    licence: str = "unknown"  # the text as seen; "local" for the user's own files
    licence_from: str = ""  # who says so: "site", "user" (with the source), "sidecar" (a file beside it)
    licence_seen: str = ""  # ISO date on which the licence text was read; empty for local files
    uploader: str = ""
    title: str = ""
    tools: dict[str, str] = field(default_factory=dict)  # name -> version of what fetched it
    resolved: str = ""  # the URL that answered in the end, without query; empty for local files


@dataclass(frozen=True, slots=True)
class VideoMeta:
    """What is known of a source video before it is decoded."""

    video_id: str
    source_key: str  # Store key of the file
    sha256: str
    num_bytes: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames between two cuts. Frame indices and times are of the source, both ends inclusive."""

    index: int
    first_frame: int
    last_frame: int
    start_seconds: float
    end_seconds: float
    first_sample: int  # position in FrameManifest.frame_indices
    num_samples: int
    rejected: str = ""  # reason, empty when the shot is used: see gim.video.motion
    overlay_share: float = 0.0  # share of the image masked as static overlay
    motion_px: float = 0.0  # median displacement between neighbouring samples, pixels of the frame


@dataclass(frozen=True, slots=True)
class Segment:
    """Up to 32 consecutive samples of one shot: the unit of labelling."""

    index: int
    shot: int
    first_sample: int
    num_samples: int


@dataclass(frozen=True, slots=True)
class FrameManifest:
    """The sampled frames of one video under one sampling; its existence says that every frame is stored."""

    video_id: str
    sampling_id: str
    width: int  # displayed size, pixels
    height: int
    fps: float  # average
    num_frames: int  # decoded in the source, trimmed parts excluded
    duration_seconds: float
    step_seconds: float  # distance of neighbouring samples
    frame_indices: list[int]  # 0-based in the decoded source, ascending
    frame_times: list[float]  # seconds from the first frame of the source
    shots: list[Shot]
    segments: list[Segment]  # of shots that are used, ascending
    rejected: str = ""  # reason, when no shot is used


@dataclass(frozen=True, slots=True)
class Features:
    """Sparse features of one image."""

    keypoints: Float32Array  # [N, 2] pixels
    descriptors: npt.NDArray[Any]  # [N, D], dtype the extractor's own (SIFT: uint8)
    scores: Float32Array | None = None  # [N] of the detector, where the matcher wants them
    image_size: tuple[int, int] | None = None  # (width, height), where the matcher wants it


@dataclass(frozen=True, slots=True)
class SegmentFeatures:
    """Features of consecutive frames, concatenated; frame i owns rows offsets[i]:offsets[i + 1]."""

    frames: Int64Array  # [F] frame indices
    offsets: Int64Array  # [F + 1]
    keypoints: Float32Array  # [N, 2]
    descriptors: npt.NDArray[Any]  # [N, D]

    @classmethod
    def pack(cls, frames: Sequence[int], features: Sequence[Features]) -> "SegmentFeatures":
        """Put the features of consecutive frames, at least one, together."""
        return cls(
            frames=np.array(frames, np.int64),
            offsets=np.cumsum([0, *(len(item.keypoints) for item in features)], dtype=np.int64),
            keypoints=np.vstack([item.keypoints for item in features]),
            descriptors=np.vstack([item.descriptors for item in features]),
        )


@dataclass(frozen=True, slots=True)
class ImagePair:
    """Two images to be matched."""

    image0: Uint8Array  # RGB [H, W, 3] or grey [H, W]
    image1: Uint8Array
    mask0: Uint8Array | None = None  # [H, W], 0 = ignore; None = everywhere
    mask1: Uint8Array | None = None


@dataclass(frozen=True, slots=True)
class Correspondences:
    """What a matcher says of two images."""

    points: Float32Array  # [N, 4] rows (x0, y0, x1, y1), pixels
    confidence: Float32Array  # [N] in [0, 1], the matcher's own scale
    matches: Int32Array | None = None  # [N, 2] keypoint indices, sparse matchers only

    @classmethod
    def none(cls) -> Self:
        """Of images that have nothing in common."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class DenseWarp:
    """Where the pixels of a grid over image 0 lie in image 1, and how sure the matcher is of it."""

    points: Float32Array  # [H, W, 4] rows (x0, y0, x1, y1), pixels of the images as given; H x W is the network's grid
    certainty: Float32Array  # [H, W] in [0, 1]; 0 where a mask, a black pixel or the image's edge forbids a match


@dataclass(frozen=True, slots=True)
class TeacherWeights:
    """One weight file a teacher used."""

    name: str
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class Teacher:
    """The matcher that made labels, and what it owes to whom."""

    matcher: str
    licence: str  # of its code
    weights: tuple[TeacherWeights, ...] = ()  # none: nothing was learned
    segmenter: str = ""  # that hid what moves from it; empty: none did
    segmenter_weights: tuple[TeacherWeights, ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentLabels:
    """Base labels of one matcher for every pair whose first frame lies in one segment.

    Pair i owns rows offsets[i]:offsets[i + 1] of `correspondences`; only inliers of the robust fit are kept.
    """

    frames: Int64Array  # [P, 2] frame indices, every pair attempted, ascending
    outcomes: StrArray  # [P] "labelled", or the reason for none: see gim.labels.pairing
    num_matches: Int32Array  # [P] before the robust fit
    offsets: Int64Array  # [P + 1]
    correspondences: Float32Array  # [N, 4] pixels
    confidence: Float32Array  # [N]
    teacher: StrArray | None = None  # [1] the `Teacher` as JSON; None: from before it was recorded


@dataclass(frozen=True, slots=True)
class PairQuality:
    """How good one training pair is; every field can be filtered on."""

    num_correspondences: int
    interval_frames: int
    interval_seconds: float
    num_links: int  # joins that lead from frame 0 to frame 1; 0 = base label
    guided_share: float  # share of correspondences found again by guided re-matching
    confirmed_share: float  # share that patch alignment confirms; 1 = only such were kept
    coverage: float  # smaller of the two images' shares of an 8 x 8 grid's cells with a correspondence
    median_displacement_px: float
    median_parallax_px: float  # residual to the best homography: 0 for a plane or a turning camera
    epipolar_residual_px: float  # median symmetric epipolar distance under the fitted F01
    num_matchers: int  # matchers whose labels entered


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """Two frames far apart, and what corresponds in them."""

    video_id: str
    frame0: int
    frame1: int
    time0: float
    time1: float
    correspondences: Float32Array  # [N, 4] pixels
    F01: Float64Array  # [3, 3] pixels, x1' F01 x0 = 0
    quality: PairQuality
    teachers: tuple[Teacher, ...] = ()  # whose labels it was made of


@dataclass(frozen=True, slots=True)
class PairEntry:
    """One row of a `PairIndex`."""

    name: str  # stem of the pair's files in the shard: "<frame0:08d>_<frame1:08d>"
    shard: int
    frame0: int
    frame1: int
    time0: float
    time1: float
    shot: int
    quality: PairQuality


@dataclass(frozen=True, slots=True)
class PairIndex:
    """All pairs of one video and recipe, ascending by frames."""

    video_id: str
    recipe_id: str
    pairs: list[PairEntry]


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard of a pairs manifest."""

    key: str
    sha256: str
    num_bytes: int
    num_pairs: int


@dataclass(frozen=True, slots=True)
class Funnel:
    """Where everything went: counts of what entered and left each step, with a reason for every loss.

    Steps in order: `frames` (decoded -> sampled -> used), `pairs` (attempted -> labelled, per matcher),
    `starts` (sampled frames that could begin a pair -> kept).
    """

    frames_decoded: int
    frames_sampled: int
    frames_used: int
    frames_rejected: dict[str, int]  # reason -> sampled frames
    pairs_attempted: dict[str, int]  # matcher_id -> base pairs
    pairs_labelled: dict[str, int]
    pairs_rejected: dict[str, dict[str, int]]  # matcher_id -> reason -> base pairs
    starts: int
    pairs_kept: int
    starts_rejected: dict[str, int]  # reason -> starts without a kept pair
    chain_ends: dict[str, int]  # reason -> kept pairs: why they reach no further


@dataclass(frozen=True, slots=True)
class PairsManifest:
    """The result for one video under one recipe; its existence says that every shard is stored."""

    video_id: str
    sampling_id: str
    recipe_id: str
    recipe: dict[str, Any]  # the effective settings that shaped the bytes
    matcher_ids: list[str]  # whose labels were used
    num_pairs: int
    num_correspondences: int
    shards: list[ShardInfo]
    funnel: Funnel
    rejected: str = ""  # reason, when nothing was kept
    teachers: tuple[Teacher, ...] = ()  # the matchers behind `matcher_ids`, in their order: licences and weights


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """One file of a checkpoint."""

    key: str
    sha256: str
    num_bytes: int
    setting: str = ""  # of the matcher, that names these weights; empty: the one it has, or `weights` of several


@dataclass(frozen=True, slots=True)
class UsedWeights:
    """A file of weights that had a part in others, or that they do not run without."""

    role: str  # start, backbone, features, beside: see gim.training.publishing.ingredients
    name: str  # of the catalogue, of a run, or of a file
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True)
class CheckpointManifest:
    """What a checkpoint is and what it was made from; its existence says that every file is stored."""

    run_id: str
    step: int
    matcher: str  # name of the matcher whose weights these are
    files: list[CheckpointFile]
    dataset_id: str = ""  # that it was trained on
    licence: str = ""  # of the weights; empty: nobody states it
    settings: dict[str, Any] = field(default_factory=dict)  # of the matcher, that the weights go with
    state: list[CheckpointFile] = field(default_factory=list)  # what the run goes on from; empty: weights alone
    weights: tuple[UsedWeights, ...] = ()  # of others, that these were made with


@dataclass(frozen=True, slots=True)
class CheckpointScore:
    """How good a checkpoint is, by what the run that made it looks at: known only after the checkpoint is stored."""

    step: int
    value: float  # higher is better; comparable within one run
