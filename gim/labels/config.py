"""Settings of labelling and propagation: what a recipe fills in."""

from dataclasses import dataclass, field
from typing import Literal

from gim.geometry.robust import RobustFitConfig


@dataclass(frozen=True, slots=True)
class RefineConfig:
    """Patch alignment: moves points to sub-pixel accuracy and drops what does not align."""

    enabled: bool = True
    radius_px: int = 7  # of the patch
    steps: int = 4  # Gauss-Newton
    neighbours: int = 12  # correspondences that give the patch's warp
    min_correlation: float = 0.85  # normalised
    max_shift_px: float = 1.5
    max_error_px: float = 0.1  # predicted standard error of the position in its weakest direction
    max_deviation: float = 1.0  # from the neighbours' motion, in units of their own spread, to be confirmed
    max_plausible_deviation: float = 3.0  # the same, to stay in the chain at all


@dataclass(frozen=True, slots=True)
class ZoomConfig:
    """A second match of what two images share, enlarged, for pairs that would stay without a label."""

    min_matches: int = 8  # putative, below: nothing says what the images share
    margin_share: float = 0.1  # of the shared part's size, added on each side
    max_area_share: float = 0.7  # of the image; where both images share more, there is nothing to enlarge
    max_enlargement: float = 4.0


@dataclass(frozen=True, slots=True)
class PairingConfig:
    """Which pairs are matched directly, and what a base label must have."""

    base_intervals: tuple[int, ...] = (1, 2, 4)  # in samples, ascending
    min_matches: int = 16  # putative, below: `too_few_matches`
    min_inliers: int = 16  # after the robust fit, below: `too_few_inliers`
    drop_static_points: bool = False  # upstream's watermark filter: drop matches that move < 1 px in x and in y
    fit: RobustFitConfig = field(default_factory=RobustFitConfig)
    zoom: ZoomConfig | None = None


@dataclass(frozen=True, slots=True)
class GuidedConfig:
    """Guided re-matching after a doubling."""

    enabled: bool = True
    window_px: float = 15.0  # around the predicted position
    line_px: float = 1.0  # from the epipolar line
    ratio: float = 0.8  # best to second best descriptor distance inside the window
    max_distance: float = 0.8  # of descriptors, even when nothing else is in the window
    neighbours: int = 8  # links that predict the local displacement
    support_px: float = 80.0  # the third nearest link must be nearer than this


@dataclass(frozen=True, slots=True)
class PropagationConfig:
    """How labels of near frames become labels of far ones."""

    link: Literal["mutual", "distance", "rounded"] = "mutual"  # what joins two correspondences: gim.labels.linking
    link_distance_px: float = 1.0  # in the middle frame, exclusive
    extend: Literal["double", "greedy", "none"] = "double"  # how chains grow: paper, published code, not
    merge_base_intervals: tuple[int, ...] = (2, 4)  # where propagated labels are merged with base labels
    min_links: int = 150  # a chain goes on while it has at least this many
    min_kept: int = 64  # after the last fit
    refit: RobustFitConfig | None = field(default_factory=RobustFitConfig)  # after every join
    final_fit: RobustFitConfig | None = None
    guided: GuidedConfig = field(default_factory=GuidedConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    min_interval: int = 2  # in samples: pairs nearer than this are not kept
    min_displacement_px: float = 2.0  # median, below: `no_motion`
    max_interval: int = 1024  # in samples
    shard_pairs: int = 64  # per shard


@dataclass(frozen=True, slots=True)
class Recipe:
    """One named way to make training pairs. `gim/recipes/<name>.toml` holds it, each number with its source."""

    name: str = "standard"
    source: str = ""  # where the numbers come from
    required_matchers: tuple[str, ...] = ()  # empty: whatever labels exist are used
    pairing: PairingConfig = field(default_factory=PairingConfig)
    propagation: PropagationConfig = field(default_factory=PropagationConfig)
