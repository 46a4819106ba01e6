"""A drawn scene as files in ZEB's layout: `<scene>-<word>.png`, and `<scene>-<word0>-<word1>.txt` for every pair."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gim import codecs
from gim.benchmarks.building.drawing import Candidates
from gim.benchmarks.building.scene import SourceImage, SourceScene
from gim.benchmarks.building.shares import Views
from gim.errors import CorruptObject, InvalidInput
from gim.geometry.pose import relative_pose
from gim.photos.sizes import declared_size

SEPARATOR = "-"  # between a scene and what follows; no scene has it in its name
_OTHER = re.compile(r"[^A-Za-z0-9._+-]+")
_IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|bmp|tiff?|webp|ppm|pgm)$", re.IGNORECASE)
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class WrittenScene:
    """Names of what was written, each in the order written."""

    images: list[str]
    texts: list[str]
    identifiers: list[str]


def scene_word(name: str) -> str:
    """A scene's name as files have it: without the separator, blanks and slashes.

    Raises:
        InvalidInput: nothing is left of it.
    """
    word = _OTHER.sub("_", name.replace(SEPARATOR, "_")).strip("._")
    if not word:
        raise InvalidInput(f"scene {name!r}: no letter or digit that a file name could have")
    return word


def image_words(images: tuple[SourceImage, ...]) -> list[str]:
    """What pairs call the images: the bare file name without its suffix, or the whole path where names repeat.

    Raises:
        InvalidInput: two images have the same name even so.
    """
    bare = [_word(Path(image.name).name) for image in images]
    words = bare if len(set(bare)) == len(bare) else [_word(image.name) for image in images]
    first: dict[str, str] = {}
    for image, word in zip(images, words, strict=True):
        other = first.setdefault(word, image.name)
        if other != image.name or words.count(word) > 1:
            twin = next(item.name for item, same in zip(images, words, strict=True) if same == word and item != image)
            raise InvalidInput(f"two images of one name: {image.path} and {twin}; rename one")
    return words


def write_scene(
    folder: Path, scene: SourceScene, drawn: Candidates, views: Views, executor: ThreadPoolExecutor
) -> WrittenScene:
    """Write the pairs of a scene and the images they name into a folder.

    Raises:
        InvalidInput: an image cannot be read.
    """
    name, words = scene_word(scene.name), image_words(scene.images)
    used = sorted({index for pair in drawn for index in pair[:2]})
    images = [f"{name}{SEPARATOR}{words[index]}.png" for index in used]
    list(executor.map(lambda index, file: _write_image(folder / file, scene.images[index], views), used, images))
    texts, identifiers = [], []
    for i, j, overlap0, overlap1 in drawn:
        text = SEPARATOR.join([name, words[i], f"{words[j]}.txt"])
        (folder / text).write_text(_pair_line(scene, (i, j), (words[i], words[j]), (overlap0, overlap1), views))
        texts.append(text)
        identifiers.append("#".join([name, words[i], words[j]]))
    return WrittenScene(images, texts, identifiers)


def _pair_line(
    scene: SourceScene, pair: tuple[int, int], words: tuple[str, str], overlaps: tuple[float, float], views: Views
) -> str:
    image0, image1 = (scene.images[index] for index in pair)
    T_0to1 = relative_pose(image0.T_camera_to_world, image1.T_camera_to_world)
    T_0to1[3] = (0, 0, 0, 1)  # what solving leaves there is zero but for rounding
    matrices = (views[image0.lens].K, views[image1.lens].K, T_0to1)
    numbers = [repr(float(number)) for matrix in matrices for number in np.ravel(matrix)]
    return " ".join([*words, *(f"{overlap:.6f}" for overlap in overlaps), *numbers]) + "\n"


def _write_image(path: Path, image: SourceImage, views: Views) -> None:
    """A PNG of a pinhole camera is linked; anything else is decoded, made straight, and written without loss."""
    view = views[image.lens]
    data = image.path.read_bytes()
    if view.places is None and data.startswith(_PNG):
        try:
            os.link(image.path.resolve(), path)
        except OSError:  # another disk, or one without links
            shutil.copyfile(image.path, path)
        return
    try:
        path.write_bytes(codecs.encode_png(view.straighten(codecs.decode_image(data))))
    except CorruptObject as error:
        raise InvalidInput(f"{image.path}: {error}") from error


def stored_size(path: Path) -> tuple[int, int]:
    """Width and height that an image file states.

    Raises:
        InvalidInput: it cannot be read, or is no image.
    """
    try:
        with path.open("rb") as stream:
            size = declared_size(stream.read(2**20))
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    if min(size) < 1:
        raise InvalidInput(f"{path}: not a readable image")
    return size


def _word(name: str) -> str:
    stem = _IMAGE_SUFFIX.sub("", name)
    word = _OTHER.sub("_", stem.replace("/", "+")).strip("_")
    # A reader takes an image's suffix off the word, so that none may be left at its end.
    return _IMAGE_SUFFIX.sub(lambda found: found[0].replace(".", "_"), word)
