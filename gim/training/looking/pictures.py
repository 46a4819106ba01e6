"""Pictures of the fixed pairs: what the weights of a step make of them, and what those at the start made of them.

For `gim.training.run.RunRequest.draw`. Whatever goes wrong here is said, and training goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

from gim import keys
from gim.datasets.manifest import DatasetManifest
from gim.geometry.draw import draw_certainty, draw_correspondences
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources, WarpMatcher
from gim.ports.store import Store
from gim.records import DenseWarp, Float32Array, ImagePair, Uint8Array
from gim.training.config import TrainingConfig
from gim.training.looking.errors import match_errors
from gim.training.looking.fixed import fixed_pairs
from gim.training.looking.jpegs import as_jpeg
from gim.training.looking.matching import matcher_of
from gim.training.models.base import Trainable
from gim.training.models.registry import build_trainable
from gim.training.run_record import run_id_of
from gim.training.samples import Sample
from gim.training.starting import start_weights
from gim.weights.checkpoint import StateDict

RIGHT_PX = 3.0  # a match farther off is drawn as wrong
_MAX_LINES = 120
_MAX_WIDTH = 1600  # pixels
_GAP = 6


@dataclass(frozen=True, slots=True)
class Seen:
    """What a matcher makes of a fixed pair."""

    points: Float32Array  # [N, 4]
    warp: DenseWarp | None  # of dense matchers that have one, 0 -> 1


@dataclass
class FixedPairs:
    """Draws the fixed pairs of one run; `keep.num_pictures` of them, chosen at the first call."""

    store: Store
    dataset: DatasetManifest
    config: TrainingConfig
    resources: ModelResources = field(default_factory=ModelResources)
    posed_roots: Mapping[str, str] = field(default_factory=dict)
    run_id: str = ""  # empty: made of what shapes the weights, as `gim.training.run` does
    say: Callable[[str], None] = lambda _: None
    _pairs: list[Sample] | None = field(default=None, init=False)
    _before: list[Seen] = field(default_factory=list, init=False)

    def __call__(self, model: Trainable, published: StateDict, step: int) -> None:
        """Draw and store the pictures of a step.

        Args:
            model: in training; is only asked for names and settings.
            published: its weights, or their average, as matchers load them.
            step: of the optimiser.
        """
        try:
            self._draw(model, published, step)
        except Exception as error:  # not even a mistake of ours is worth a run of days
            text = str(error).splitlines()[0] if str(error) else ""
            self.say(f"step {step}: no pictures ({type(error).__name__}: {text}); training goes on")

    def _draw(self, model: Trainable, published: StateDict, step: int) -> None:
        if self._pairs is None:
            self._begin()
        assert self._pairs is not None
        if not self._pairs:
            return
        after = self._seen(self._pairs, model, published)
        for number, (pair, before, now) in enumerate(zip(self._pairs, self._before, after, strict=True)):
            jpeg = as_jpeg(draw_pair(pair, before, now, step), max_width=_MAX_WIDTH)
            self.store.put(keys.training_picture(self.run_id, step, number), jpeg)

    def _begin(self) -> None:
        """Choose the pairs, and match them with the weights that the run began with, also where it is gone on with."""
        start = start_weights(self.store, self.config.start, self.resources)
        self.run_id = self.run_id or run_id_of(self.config, self.dataset.dataset_id, start.sha256)
        pairs = fixed_pairs(self.store, self.dataset, self.config, self.posed_roots)
        if not pairs:
            self.say(f"no pictures: dataset {self.dataset.dataset_id} has no pair that can be drawn")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.loop.seed)  # the very weights that a run from scratch begins with
            fresh = build_trainable(self.config.architecture, self.config.model, self.resources.weights)
        if start.state:
            fresh.load_published(start.state, start.name)
        before = self._seen(pairs, fresh, fresh.published(fresh.state_dict())) if pairs else []
        self._pairs, self._before = pairs, before  # together: what went wrong on the way is tried again

    def _seen(self, pairs: list[Sample], model: Trainable, published: StateDict) -> list[Seen]:
        with matcher_of(model, published, self.resources) as matcher:
            return [seen_by(matcher, pair) for pair in pairs]


def seen_by(matcher: Matcher, pair: Sample) -> Seen:
    """What a matcher makes of a pair."""
    image0, image1 = pair.image0, pair.image1
    points = matcher.match(image0, image1).points
    warp = matcher.warps([ImagePair(image0, image1)])[0][0] if isinstance(matcher, WarpMatcher) else None
    return Seen(points, warp)


def draw_pair(sample: Sample, before: Seen, after: Seen, step: int) -> Uint8Array:
    """One picture: above with the weights at the start, below with those of a step; of dense matchers the warps too.

    Returns:
        uint8 RGB [H, W, 3].
    """
    rows = []
    for seen, when in ((before, "before: the weights at the start"), (after, f"after step {step}")):
        errors = match_errors(seen.points, sample.truth)
        is_right = errors.errors_px < RIGHT_PX
        found = f"{np.count_nonzero(is_right)} of {len(is_right)} matches" if len(is_right) else "no match"
        title = f"{when}: {found} within {RIGHT_PX:g} px of {errors.against} (green)"
        rows.append(
            draw_correspondences(sample.image0, sample.image1, seen.points, is_right, title=title, max_lines=_MAX_LINES)
        )
        if seen.warp is not None:
            rows.append(draw_certainty(sample.image0, sample.image1, seen.warp, title=f"{when}: its warp"))
    return _stacked(rows)


def _stacked(rows: list[Uint8Array]) -> Uint8Array:
    """Pictures below one another, all as wide as the first."""
    width = rows[0].shape[1]
    fitted = [rows[0]]
    for row in rows[1:]:
        if row.shape[1] != width:
            size = (width, round(row.shape[0] * width / row.shape[1]))
            row = np.asarray(cv2.resize(row, size, interpolation=cv2.INTER_AREA), np.uint8)  # noqa: PLW2901
        fitted += [np.zeros((_GAP, width, 3), np.uint8), row]
    return np.vstack(fitted)
