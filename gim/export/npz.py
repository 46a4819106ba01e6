"""`npz`: one file per pair, for people who write their own loader."""

import dataclasses
from pathlib import Path

import numpy as np

from gim.export.base import IMAGES, ExportOptions, write_once
from gim.export.selection import SelectedVideo, StoredPair
from gim.labels.shards import pair_name
from gim.records import PairQuality

LAYOUT = """\
<video_id>/<frame0>_<frame1>.npz   one pair; numpy.load(path) needs no pickle
<video_id>/images/<frame>.jpg      every frame once

An npz holds
  correspondences  float32 [N, 4], rows (x0, y0, x1, y1): pixels, origin at the CENTRE of the top-left pixel
  F01              float64 [3, 3], x1' F01 x0 = 0
  frame0, frame1   int64, index in the decoded source
  time0, time1     float64, seconds from the first frame of the source
  image0, image1   text, path of the JPEG from the npz's own folder
  quality          one record; quality["coverage"] and so on, see `quality` in export.json for the fields
"""
OPTIONS: tuple[str, ...] = ()
_QUALITY = np.dtype(
    [(field.name, np.int64 if field.type in (int, "int") else np.float64) for field in dataclasses.fields(PairQuality)]
)


class Exporter:
    """Writes a file per pair, and each frame beside them once."""

    def __init__(self, folder: Path, _: ExportOptions) -> None:
        self._root = folder
        self._folder = folder

    def begin(self, video: SelectedVideo) -> None:
        self._folder = self._root / video.result.video_id
        (self._folder / IMAGES).mkdir(parents=True)

    def add(self, item: StoredPair) -> None:
        pair = item.pair
        images = [f"{IMAGES}/{frame:08d}.jpg" for frame in (pair.frame0, pair.frame1)]
        for image, jpeg in zip(images, (item.jpeg0, item.jpeg1), strict=True):
            write_once(self._folder / image, jpeg)
        np.savez(
            self._folder / f"{pair_name(pair.frame0, pair.frame1)}.npz",
            allow_pickle=False,
            correspondences=np.asarray(pair.correspondences, np.float32),
            F01=np.asarray(pair.F01, np.float64),
            frame0=np.int64(pair.frame0),
            frame1=np.int64(pair.frame1),
            time0=np.float64(pair.time0),
            time1=np.float64(pair.time1),
            image0=np.str_(images[0]),
            image1=np.str_(images[1]),
            quality=np.array(dataclasses.astuple(pair.quality), _QUALITY),
        )

    def end(self) -> None:
        pass

    def finish(self) -> dict[str, int | str]:
        return {}

    def close(self) -> None:
        pass
