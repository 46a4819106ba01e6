"""`hdf5`: keypoints, matches and pairs as hloc keeps them, ready for its reconstruction and triangulation.

After cvg/Hierarchical-Localization: `extract_features` (groups by image name), `utils.parsers.names_to_pair` (slashes
of image names become dashes), `utils.io.get_matches` (-1 = unmatched), `triangulation.import_features` (adds the half
pixel that COLMAP wants, so the files themselves count from pixel centres).
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gim import codecs
from gim.export.base import IMAGES, ExportOptions, image_name, write_once
from gim.export.keypoints import KeypointTable, one_to_one
from gim.export.selection import SelectedVideo, StoredPair

LAYOUT = """\
images/<video_id>/<frame>.jpg   image_dir of hloc
features.h5                     <image name>/keypoints float32 [N, 2], <image name>/image_size int64 [2] (width, height)
matches.h5                      <name0>/<name1>/matches0 int32 [N0], index into the keypoints of image 1 or -1,
                                and matching_scores0 float32 [N0] (1 or 0); slashes of image names are dashes here
pairs.txt                       one line per pair: the two image names

An image name is its path below images/. Keypoints are pixels with the origin at the CENTRE of the top-left pixel, as
in hloc, which adds 0.5 itself on the way into COLMAP. A keypoint keeps its id over all pairs of its image.

  hloc.reconstruction.main(sfm_dir, Path("images"), Path("pairs.txt"), Path("features.h5"), Path("matches.h5"))
"""
OPTIONS = ("merge_px",)


class Exporter:
    """Writes matches as pairs come, and a video's keypoints when it ends."""

    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder = folder
        self._merge_px = options.merge_px
        self._features = h5py.File(folder / "features.h5", "w")
        self._matches = h5py.File(folder / "matches.h5", "w")
        self._pairs = (folder / "pairs.txt").open("w", encoding="utf-8")
        self._num_dropped = 0
        self._video: SelectedVideo | None = None
        self._table = KeypointTable()
        self._size: tuple[int, int] | None = None  # width, height

    def begin(self, video: SelectedVideo) -> None:
        self._video, self._table, self._size = video, KeypointTable(self._merge_px), None

    def add(self, item: StoredPair) -> None:
        pair = item.pair
        if self._size is None:
            height, width = codecs.decode_grey(item.jpeg0).shape
            self._size = (width, height)
        names = [image_name(pair.video_id, frame) for frame in (pair.frame0, pair.frame1)]
        for name, jpeg in zip(names, (item.jpeg0, item.jpeg1), strict=True):
            write_once(self._folder / IMAGES / name, jpeg)
        ids0 = self._table.add(pair.frame0, pair.correspondences[:, :2])
        ids1 = self._table.add(pair.frame1, pair.correspondences[:, 2:])
        keep = one_to_one(ids0, ids1)
        self._num_dropped += int(np.count_nonzero(~keep))
        matches0 = np.full(len(self._table.keypoints(pair.frame0)), -1, np.int32)
        matches0[ids0[keep]] = ids1[keep]
        group = self._matches.create_group("/".join(name.replace("/", "-") for name in names))
        _write(group, "matches0", matches0)
        _write(group, "matching_scores0", (matches0 >= 0).astype(np.float32))
        self._pairs.write(f"{names[0]} {names[1]}\n")

    def end(self) -> None:
        assert self._video is not None
        for frame in self._video.frames:
            group = self._features.create_group(image_name(self._video.result.video_id, frame))
            _write(group, "keypoints", self._table.keypoints(frame))
            _write(group, "image_size", np.array(self._size, np.int64))

    def finish(self) -> dict[str, int | str]:
        self.close()
        return {"matches_dropped": self._num_dropped}

    def close(self) -> None:
        for file in (self._pairs, self._matches, self._features):
            file.close()


def _write(group: Any, name: str, data: Any) -> None:
    group.create_dataset(name, data=data, track_times=False)  # the same pairs, the same bytes
