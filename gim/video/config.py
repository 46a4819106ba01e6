"""Settings of everything between a source and its sampled frames."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Where videos may come from."""

    allow_licences: tuple[str, ...] = ("creative commons", "cc by", "cc0", "public domain")  # whole words, any case
    allow_unknown_licence: bool = False  # remote sources whose licence nobody states
    allow_private_addresses: bool = False  # http(s) to loopback, private and link-local networks
    max_bytes: int = 16 * 2**30  # of one source file
    max_height: int = 1080  # of the format chosen where a site offers several
    timeout_seconds: float = 30.0  # without a byte
    max_videos: int = 200  # taken from one playlist, channel or search
    max_attempts: int = 5  # of a transfer, in a row and without progress
    first_wait_seconds: float = 1.0  # before the second attempt; doubles, with jitter
    max_wait_seconds: float = 60.0  # between attempts; a server that asks for more is reported, not waited for


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a source file may cost; it is decoded in a child process that cannot exceed them."""

    max_pixels: int = 7680 * 4320  # per frame
    max_memory_bytes: int = 2 * 2**30  # address space of the child beyond what it starts with
    max_seconds: float = 6 * 3600.0  # processor time of one video
    stall_seconds: float = 60.0  # without a frame
    max_streams: int = 64
    max_duration_seconds: float = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """Which frames of a video are kept. Give the step in seconds or in frames, not both."""

    interval_seconds: float | None = 0.2  # the nearest whole number of frames is taken
    interval_frames: int | None = None  # instead of the seconds
    interval_frames_high_fps: int | None = None  # instead of interval_frames above 30 frames a second (upstream)
    trim_start_seconds: float = 0.0  # left out at the beginning
    trim_end_seconds: float = 0.0  # left out at the end
    max_long_side: int = 1920  # larger frames are shrunk before they are stored; labels are in stored pixels
    segment_samples: int = 32  # the unit of labelling


@dataclass(frozen=True, slots=True)
class ShotConfig:
    """Cuts and fades."""

    cut_threshold: float = 8.0  # grey levels between neighbouring thumbnails, below = no cut
    cut_ratio: float = 1.3  # times the median of the frames before: quick motion raises the bar
    dissolve_residual: float = 0.45  # of the middle picture as a mix of the ends, share of their difference
    dissolve_correlation: float = 0.75  # of the ends, above = no dissolve
    dissolve_dip: tuple[float, float] = (0.35, 0.8)  # of the gradient energy half way: theory 0.5, moving shots 1
    max_followed_share: float = 0.65  # of the corners through a suspected dissolve, above = a moving camera
    flat_contrast: float = 8.0  # grey levels in a thumbnail, below and black or white = faded out
    max_transition_seconds: float = 4.0  # longer black is a shot of its own, and blank
    min_samples: int = 3  # a shot with fewer sampled frames is rejected as `short_shot`


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """Which shots are rejected before any feature is computed."""

    min_motion_share: float = 0.0015  # displacement between samples, share of the long side, below = still
    min_moving_share: float = 0.2  # share of sample pairs outside the longest view, below = `static_camera`
    min_moving_samples: int = 60  # or so many outside it: a long wait at a light does not cost the drive
    min_still_share: float = 0.5  # of the textured cells in place: the whole picture stands still, not a bonnet alone
    max_drift_share: float = 0.02  # a view stays the same view up to this displacement: a mast in the wind
    analysis_long_side: int = 320  # tracking is quick there, and 0.0015 of it is still half a pixel
    cell_px: int = 20  # one corner per cell, so that votes count area and not texture
    max_frozen_difference: int = 6  # grey levels that coding noise adds to a repeated picture
    max_frozen_share: float = 0.001  # of the pixels of a repeated picture that differ more: a cursor
    min_contrast: float = 4.0  # standard deviation of the grey values, below = blank
    min_drawn_share: float = 0.35  # share of 8 x 8 blocks without gradient: drawn graphics (or much clear sky)
    min_axis_share: float = 0.8  # of what moved, exactly along an axis: scrolling


@dataclass(frozen=True, slots=True)
class OverlayConfig:
    """Logos, burned-in text, dashboards: what stays in place while the scene moves."""

    enabled: bool = True
    analysis_width: int = 640
    min_samples: int = 12  # below, a shot says too little
    max_share: float = 0.6  # above, the finding is not believed
    min_coherence: float = 0.6  # |mean| / mean of the gradients over the samples: 1 = burned in, 0 = moving
    small_shot_coherence: float = 0.6  # added / sqrt(samples): few samples agree by chance
    weak_coherence: float = 0.45  # joins the mask where it touches or nearly touches the above
    min_strong_share: float = 0.1  # of a region: a bonnet has more, a far road less
    join_px: int = 9  # gaps between letters and edges that are closed, at the analysis width
    grow_px: int = 3  # around what was found: a keypoint's descriptor sees its surroundings
    min_area_px: int = 30  # smaller findings are noise, at the analysis width


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """People, cars, sky: what moves by itself or is infinitely far, found in each frame by a network, not matched."""

    name: str = ""  # see `gim ls segmenters`; empty: none
    classes: tuple[str, ...] = ()  # what is masked; empty: of person, car and sky those the segmenter knows
    weights: tuple[str, ...] = ()  # names or files; empty: those it was published with
    max_side_px: int = 720  # of what the network sees; 0: the frame as it is
    confidence: float = 0.0  # a pixel is masked when its likeliest class is one of them, and at least this probable
    grow_px: int = 4  # of the frame, around what was found: most matches nearer than this to a moving thing follow it


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """All of the above that shapes the sampled frames (their hash is the sampling id), and the limits, which do not."""

    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    shots: ShotConfig = field(default_factory=ShotConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    overlay: OverlayConfig = field(default_factory=OverlayConfig)
    limits: DecodeLimits = field(default_factory=DecodeLimits)
