"""`webdataset`: self-contained tars that the webdataset package and any tar reader stream, cut anew to one size."""

from pathlib import Path

from gim.export.base import ExportOptions
from gim.export.selection import SelectedVideo, StoredPair
from gim.labels.shards import ShardWriter

LAYOUT = """\
pairs-000000.tar, pairs-000001.tar, ...   of equal numbers of pairs, the last one of what is left

A pair is one sample of five files; its key, <video_id>/<frame0>_<frame1>, is unique in the whole export:
  0.jpg, 1.jpg         the two frames
  correspondences.npy  float32 [N, 4], rows (x0, y0, x1, y1): pixels, origin at the CENTRE of the top-left pixel
  json                 video_id, frame0, frame1, time0, time1, F01 (x1' F01 x0 = 0), quality

  webdataset.WebDataset("pairs-{000000..000009}.tar").decode("rgb8").to_tuple("0.jpg", "1.jpg", "correspondences.npy")

`shards` in export.json has the brace expression of this export.
"""
OPTIONS = ("shard_pairs",)


class Exporter:
    """Fills one shard after the other."""

    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder = folder
        self._shard_pairs = options.shard_pairs
        self._writer: ShardWriter | None = None
        self._num_shards = 0

    def begin(self, _: SelectedVideo) -> None:
        pass

    def add(self, item: StoredPair) -> None:
        if self._writer is None:
            self._writer = ShardWriter(self._folder / f"pairs-{self._num_shards:06d}.tar")
            self._num_shards += 1
        self._writer.add(item.pair, item.jpeg0, item.jpeg1, folder=f"{item.pair.video_id}/")
        if self._writer.num_pairs == self._shard_pairs:
            self.close()

    def end(self) -> None:
        pass

    def finish(self) -> dict[str, int | str]:
        self.close()
        last = max(0, self._num_shards - 1)
        return {"num_shards": self._num_shards, "shards": f"pairs-{{000000..{last:06d}}}.tar"}

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
