"""Runs a matcher over many pairs of images, and scores the poses its correspondences lead to. Knows no Store."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from gim.benchmarks.posed import PosedPair
from gim.evaluation.pose_auc import PROTOCOL, PoseProtocol, pose_auc, pose_errors
from gim.matchers.base import Matcher
from gim.records import Correspondences, ImagePair, Uint8Array

_ReadImage = Callable[[str], Uint8Array]  # RGB [H, W, 3] of an image's name


@dataclass(frozen=True, slots=True)
class PairScore:
    """What became of one pair."""

    image0: str
    image1: str
    num_matches: int
    num_inliers: int
    rotation_error_deg: float | None  # None: no pose was found
    translation_error_deg: float | None
    overlap: float | None = None  # as the benchmark states it

    @property
    def pose_error_deg(self) -> float:
        """The larger error; infinite for a failure."""
        if self.rotation_error_deg is None or self.translation_error_deg is None:
            return np.inf
        return max(self.rotation_error_deg, self.translation_error_deg)


@dataclass(frozen=True, slots=True)
class PoseScores:
    """The score of many pairs."""

    auc: dict[str, float]  # threshold in degrees -> percent
    num_pairs: int
    num_failures: int  # pairs without a pose
    median_matches: float


def match_all(
    matcher: Matcher, pairs: Sequence[PosedPair], read_image: _ReadImage, executor: Executor
) -> Iterator[tuple[PosedPair, Correspondences]]:
    """Correspondences of pairs, in order: in batches where the matcher wants them, else in the executor's threads.

    Raises:
        InvalidInput: an image cannot be read.
    """

    def load(pair: PosedPair) -> ImagePair:
        return ImagePair(read_image(pair.image0), read_image(pair.image1))

    if not matcher.is_batched:
        yield from zip(pairs, executor.map(lambda pair: matcher.match_pairs([load(pair)])[0], pairs), strict=True)
        return
    for start in range(0, len(pairs), matcher.batch_size):
        chunk = pairs[start : start + matcher.batch_size]
        yield from zip(chunk, matcher.match_pairs(list(executor.map(load, chunk))), strict=True)


def score_pair(pair: PosedPair, found: Correspondences, protocol: PoseProtocol = PROTOCOL) -> PairScore:
    """How right the correspondences of one pair are."""
    errors = pose_errors(found.points, pair.K0, pair.K1, pair.T_0to1, protocol)
    failed = not np.isfinite(errors.pose_deg)
    return PairScore(
        pair.image0,
        pair.image1,
        len(found.points),
        errors.num_inliers,
        None if failed else errors.rotation_deg,
        None if failed else errors.translation_deg,
        pair.overlap,
    )


def summarise(scores: Sequence[PairScore], protocol: PoseProtocol = PROTOCOL) -> PoseScores:
    """The score of all pairs together; zeros without any."""
    errors = [score.pose_error_deg for score in scores]
    return PoseScores(
        auc=pose_auc(errors, protocol),
        num_pairs=len(scores),
        num_failures=sum(score.rotation_error_deg is None for score in scores),
        median_matches=float(np.median([score.num_matches for score in scores])) if scores else 0.0,
    )
