"""What is compared: one recipe on three kinds of data, everything else equal."""

from dataclasses import dataclass
from pathlib import Path

# Moving cameras. Left out: the fixed camera, and kitti06_5s, whose frames are those of a held-out set.
FILMS = (
    "train_videos/bedroom_scan_27s",
    "train_videos/bottle_floor_3fps_38s",
    "train_videos/drone_nadir_2fps_104s",
    "train_videos/flour_bag_3fps_93s",
    "train_videos/hallway_21s",
    "train_videos/highway_watermark_36s",
    "train_videos/kitchen_7scenes_33s",
    "train_videos/kitti01_5s",
    "train_videos/kitti05_6s",
    "train_videos/living_room_9s",
    "train_videos/office_tum_fr1_rpy_24s",
    "train_videos/road_korea_19s",
    "train_videos/shaky_fountain_19s",
    "train_videos/shaky_plaza_15s",
    "train_videos/shaky_sculpture_16s",
    "train_videos/shaky_statue_16s",
    "train_videos/student_room_3fps_155s",
    "train_videos/table_14s",
    "videos/city_dashcam_60s",
    "videos/gopro_walk_10s",
    "videos/phone_park_6s",
)
HELD_OUT = ("posed/fox", "posed/kitti06")
HELD_OUT_PLANES = "homography"
POSED_MEAN = "posed mean"  # in results: of HELD_OUT together
NUM_KEYPOINTS = 1024  # of an image that is matched, by whatever matcher; those of `tiny`

# What differs from the recipe `tiny`: smaller images and fewer augmentations, as nine runs take hours on two cores.
SETTINGS = (
    "train.sample.width=480",
    "train.sample.height=360",
    "train.features.variants=2",
    "train.keep.every_pairs=2000",
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One kind of data."""

    name: str
    words: str  # in the table
    labels: str  # recipe of `gim run` whose pairs are the dataset
    sets: tuple[str, ...] = ()


CONDITIONS = (
    Condition("homographies", "(a) homographies of the films' frames", "standard", ("train.mix.video=0",)),
    Condition("base", "(b) + base labels, no propagation", "base"),
    Condition("propagated", "(c) + propagated labels", "standard"),
)


@dataclass(frozen=True, slots=True)
class Reference:
    """A matcher that stands beside the conditions, and had no part in them."""

    name: str
    words: str  # in the table
    matcher: str
    files: tuple[tuple[str, str], ...] = ()  # setting -> file of permissive weights


EXTRACTOR_FILE = "xfeat_folded.pt"
_XFEAT = ("xfeat_weights", EXTRACTOR_FILE)
REFERENCES = (
    Reference("mutual", "XFeat, mutual nearest neighbours: nothing is trained here", "xfeat", (_XFEAT,)),
    Reference(
        "published",
        "LighterGlue of as many layers, trained on MegaDepth by its authors",
        "xfeat_lighterglue",
        (_XFEAT, ("weights", "xfeat_lighterglue_L3.pt")),
    ),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of the experiment."""

    work: Path  # store, checkpoints, scores; kept, so that an interrupted experiment goes on
    data: Path  # the sample data
    weights: Path  # files of permissive weights
    num_pairs: int
    seeds: tuple[int, ...]
    recipe: str = "tiny"
    sets: tuple[str, ...] = ()  # of every run, stronger than SETTINGS

    @property
    def store(self) -> Path:
        """Where videos, labels, datasets and checkpoints are."""
        return self.work / "store"

    def run_id(self, condition: Condition, seed: int) -> str:
        """The name of one training run."""
        return f"{condition.name}-seed{seed}"
