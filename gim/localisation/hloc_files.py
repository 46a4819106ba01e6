"""Features, matches and lists of pairs as cvg/Hierarchical-Localization keeps them, so that its steps and ours mix.

`features.h5`: a group per image, `<name>/keypoints` [N, 2], `descriptors` [D, N], `scores` [N], `image_size` [2] as
(width, height). `matches.h5`: a group per pair, `<name0>/<name1>/matches0` [N0] with the index into image 1 or -1, and
`matching_scores0` [N0]; slashes of image names are dashes there. Keypoints are pixels with the origin at the CENTRE of
the top-left pixel: hloc adds the half pixel on the way into COLMAP, and so do we. Pairs: two names a line.

Ours is float32 and int32 where hloc may have float16 and int16; both are read.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gim.errors import InvalidInput
from gim.records import Features, Float32Array, Int32Array
from gim.whole_file import write_whole

Pair = tuple[str, str]
Datasets = Mapping[str, np.ndarray[Any, Any]]


def pair_key(name0: str, name1: str) -> str:
    """The group of a pair."""
    return "/".join(name.replace("/", "-") for name in (name0, name1))


def read_pairs(path: Path) -> list[tuple[int, Pair]]:
    """The pairs of a file with their line numbers, in order; what stands twice counts once.

    Raises:
        InvalidInput: unreadable, without a pair, or a line is not two names.
    """
    pairs: dict[Pair, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise InvalidInput(f"{path}, line {number}: expected two image names, got {len(words)} words")
        pairs.setdefault((words[0], words[1]), number)
    if not pairs:
        raise InvalidInput(f"{path}: holds no pairs")
    return [(number, pair) for pair, number in pairs.items()]


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write a list of pairs, whole or not at all."""
    write_whole(path, "".join(f"{name0} {name1}\n" for name0, name1 in pairs))


def read_lines(path: Path) -> list[str]:
    """The lines of a text.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not a text") from error


def feature_datasets(features: Features, image_size: tuple[int, int]) -> Datasets:
    """What the group of an image holds; `image_size` is (width, height)."""
    found: dict[str, np.ndarray[Any, Any]] = {
        "keypoints": np.asarray(features.keypoints, np.float32),
        "descriptors": np.ascontiguousarray(features.descriptors.T),
        "image_size": np.array(image_size, np.int64),
    }
    return found if features.scores is None else found | {"scores": np.asarray(features.scores, np.float32)}


def read_features(group: Any) -> Features:
    """The features in the group of an image; no descriptors [N, 0] where it holds positions only.

    Raises:
        InvalidInput: it has no keypoints [N, 2].
    """
    keypoints = read_keypoints(group)
    descriptors = group["descriptors"][()].T if "descriptors" in group else np.empty((len(keypoints), 0), np.float32)
    scores = np.asarray(group["scores"][()], np.float32) if "scores" in group else None
    size = tuple(int(side) for side in group["image_size"][()]) if "image_size" in group else None
    return Features(keypoints, np.ascontiguousarray(descriptors), scores, size)  # type: ignore[arg-type]


def read_keypoints(group: Any) -> Float32Array:
    """Positions, float32 [N, 2], in the group of an image.

    Raises:
        InvalidInput: it has no keypoints [N, 2].
    """
    keypoints = np.asarray(group["keypoints"][()], np.float32) if "keypoints" in group else np.empty(0, np.float32)
    if keypoints.ndim != 2 or keypoints.shape[1] != 2:
        raise InvalidInput(f"{group.file.filename}: {group.name} has no keypoints [N, 2]")
    return keypoints


def match_datasets(matches: Int32Array, scores: Float32Array, num_keypoints0: int) -> Datasets:
    """What the group of a pair holds, of index pairs [M, 2] and their confidence [M]."""
    matches0 = np.full(num_keypoints0, -1, np.int32)
    matches0[matches[:, 0]] = matches[:, 1]
    scores0 = np.zeros(num_keypoints0, np.float32)
    scores0[matches[:, 0]] = scores
    return {"matches0": matches0, "matching_scores0": scores0}


def read_matches(file: Any, name0: str, name1: str) -> Int32Array:
    """Index pairs int32 [M, 2] of two images, whichever way round the file has the pair.

    Raises:
        InvalidInput: the file has no such pair.
    """
    for key, is_swapped in ((pair_key(name0, name1), False), (pair_key(name1, name0), True)):
        if key in file and "matches0" in file[key]:
            matches0 = file[key]["matches0"][()]
            index0 = np.flatnonzero(matches0 >= 0)
            columns = (index0, matches0[index0])
            return np.stack(columns[::-1] if is_swapped else columns, axis=1).astype(np.int32)
    raise InvalidInput(f"{file.filename}: has no matches of {name0} and {name1}; remove the file to make them again")
