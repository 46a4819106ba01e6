"""Pictures of the worst pairs from ZEB's folders, as JPEGs that a page can hold. What cannot be drawn says why."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gim import codecs
from gim.benchmarks.building.manifest import built_datasets
from gim.benchmarks.zeb import DATASETS, ZebDataset, ZebPair, read_dataset
from gim.errors import CorruptObject, InvalidInput
from gim.evaluation.pose_scorer import right_matches
from gim.evaluation.reports.worst import WorstPair
from gim.geometry.draw import draw_correspondences
from gim.geometry.pixels import PixelMap
from gim.records import Float32Array, Uint8Array
from gim.report.pictures import data_url, shrink

CorrespondencesOf = Callable[[str, str, str], Float32Array | None]  # method, dataset, identifier -> [N, 4] pixels
_SIDE = 480  # of an image, pixels
_MAX_LINES = 150
_ENCODINGS = ((968, 82), (968, 68), (800, 62), (640, 58), (480, 50))  # longest side of a picture, JPEG quality
BUDGET_BYTES = 9 * 2**20  # of all pictures of a page; base64 adds a third
_NO_POINTS = np.empty((0, 4), np.float32)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn pair, or why it is none."""

    pair: WorstPair
    picture: Uint8Array | None
    words: str  # what is drawn, or why nothing is


def no_correspondences(_method: str, _dataset: str, _identifier: str) -> None:
    """Where only results are known: pairs are shown without lines."""


def draw_worst(
    zeb: Path, pairs: Iterable[WorstPair], correspondences_of: CorrespondencesOf = no_correspondences
) -> list[Drawing]:
    """Draw pairs, right matches green and wrong ones red where correspondences are known.

    Args:
        zeb: the folder of ZEB's datasets, or of built ones; what it lacks is said, not an error.
        pairs: those to draw.
        correspondences_of: rows (x0, y0, x1, y1) in pixels of the published images; None where there are none.

    Raises:
        InvalidInput: the folder does not exist, or what it has of a dataset is malformed.
    """
    if not zeb.is_dir():
        raise InvalidInput(f"{zeb}: there is no such folder")
    datasets = {item.name: item for item in (*DATASETS, *built_datasets(zeb))}
    known: dict[str, dict[str, ZebPair]] = {}
    drawn = []
    for pair in pairs:
        if pair.dataset not in known:
            known[pair.dataset] = _pairs_of(zeb, datasets.get(pair.dataset))
        truth = known[pair.dataset].get(pair.identifier)
        if truth is None:
            drawn.append(Drawing(pair, None, f"not drawn: {zeb.name} has no such pair"))
        else:
            points = correspondences_of(pair.method, pair.dataset, pair.identifier)
            drawn.append(_draw(pair, zeb / datasets[pair.dataset].folder, truth, points))
    return drawn


def encode(pictures: Sequence[Uint8Array], budget_bytes: int = BUDGET_BYTES) -> list[str]:
    """Data URLs of all pictures, in the best of a few sizes and qualities whose sum keeps the budget."""
    jpegs: list[bytes] = []
    for side, quality in _ENCODINGS:
        jpegs = [_jpeg(shrink(picture, side), quality) for picture in pictures]
        if sum(map(len, jpegs)) <= budget_bytes:
            break
    return [data_url(jpeg) for jpeg in jpegs]


def _pairs_of(zeb: Path, dataset: ZebDataset | None) -> dict[str, ZebPair]:
    """The pairs of a dataset by identifier; none where it is not in the folder, or not known at all."""
    if dataset is None or not (zeb / dataset.folder).is_dir():
        return {}
    return {pair.identifier: pair for pair in read_dataset(zeb, dataset)}


def _draw(pair: WorstPair, folder: Path, truth: ZebPair, points: Float32Array | None) -> Drawing:
    image0, map0 = _shown(folder / truth.image0)
    image1, map1 = _shown(folder / truth.image1)
    rows = _NO_POINTS if points is None else points
    is_right = right_matches(rows, truth.K0, truth.K1, truth.T_0to1)
    shown = np.column_stack([map0.apply(rows[:, :2]), map1.apply(rows[:, 2:])]).astype(np.float32)
    picture = draw_correspondences(image0, image1, shown, is_right, max_lines=_MAX_LINES)
    num_right = np.count_nonzero(is_right)
    words = "" if points is None else f"{num_right:,} of {len(rows):,} matches are right"
    return Drawing(pair, picture, words)


def _shown(path: Path) -> tuple[Uint8Array, PixelMap]:
    try:
        image = codecs.decode_image(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    except CorruptObject as error:
        raise InvalidInput(f"{path}: {error}") from error
    small = shrink(image, _SIDE)
    height, width = image.shape[:2]
    return small, PixelMap.resizing((width, height), (small.shape[1], small.shape[0]))


def _jpeg(picture: Uint8Array, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise CorruptObject(f"cannot encode an image of shape {picture.shape} as JPEG")
    return data.tobytes()
