"""`colmap`: a database for COLMAP's mappers, with verified two-view geometries, written through pycolmap.

COLMAP counts pixels from the top-left CORNER of the top-left pixel, so positions move by half a pixel and F with them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from gim import codecs
from gim.errors import InvalidInput
from gim.export.base import IMAGES, ExportOptions, image_name, write_once
from gim.export.keypoints import KeypointTable, one_to_one
from gim.export.selection import SelectedVideo, StoredPair
from gim.geometry.pixels import to_corner_origin
from gim.records import Float64Array

LAYOUT = """\
images/<video_id>/<frame>.jpg   image_path of COLMAP
database.db                     one camera per video, one image per frame, keypoints float32 [N, 2] with COLMAP's origin
                                (the corner of the top-left pixel), matches, and two-view geometries (uncalibrated: F
                                and inlier matches)

A keypoint keeps its id over all pairs of its image. There are no descriptors.

  pycolmap.incremental_mapping("database.db", "images", "sparse")      colmap mapper --database_path database.db ...
"""
OPTIONS = ("merge_px", "camera")
_MODEL = "SIMPLE_RADIAL"
_FOCAL_LENGTH_FACTOR = 1.2  # of the longer side: COLMAP's own first guess
_CENTRE_FROM_CORNER = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])


class Exporter:
    """Writes matches and geometries as pairs come, and a video's keypoints when it ends."""

    def __init__(self, folder: Path, options: ExportOptions) -> None:
        _check_camera(options.camera)
        self._folder = folder
        self._options = options
        self._num_dropped = 0
        self._table = KeypointTable()
        self._image_ids: dict[int, int] = {}  # of the current video
        self._video: SelectedVideo | None = None
        # No DatabaseTransaction: on a full disk it ends the process. COLMAP's SQLite never waits for the disk anyway.
        self._database: Any = pycolmap.Database.open(str(folder / "database.db"))

    def begin(self, video: SelectedVideo) -> None:
        self._video, self._table, self._image_ids = video, KeypointTable(self._options.merge_px), {}

    def add(self, item: StoredPair) -> None:
        pair = item.pair
        if not self._image_ids:
            height, width = codecs.decode_grey(item.jpeg0).shape
            self._write_images(width, height)
        for frame, jpeg in ((pair.frame0, item.jpeg0), (pair.frame1, item.jpeg1)):
            write_once(self._folder / IMAGES / image_name(pair.video_id, frame), jpeg)
        ids0 = self._table.add(pair.frame0, pair.correspondences[:, :2])
        ids1 = self._table.add(pair.frame1, pair.correspondences[:, 2:])
        keep = one_to_one(ids0, ids1)
        self._num_dropped += int(np.count_nonzero(~keep))
        matches = np.column_stack([ids0[keep], ids1[keep]]).astype(np.uint32)
        geometry = pycolmap.TwoViewGeometry(
            config=pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED,
            F=to_corner_fundamental(pair.F01),
            inlier_matches=matches,
        )
        image0, image1 = self._image_ids[pair.frame0], self._image_ids[pair.frame1]
        self._database.write_matches(image0, image1, matches)
        self._database.write_two_view_geometry(image0, image1, geometry)

    def end(self) -> None:
        for frame, image_id in self._image_ids.items():
            self._database.write_keypoints(image_id, to_corner_origin(self._table.keypoints(frame)))

    def finish(self) -> dict[str, int | str]:
        self.close()
        return {"matches_dropped": self._num_dropped}

    def close(self) -> None:
        if self._database is not None:
            database, self._database = self._database, None
            database.close()

    def _write_images(self, width: int, height: int) -> None:
        """The video's camera, as a rig of one, and an image, as a frame of one, for each of its frames."""
        assert self._video is not None
        camera = make_camera(self._options.camera, width, height)
        camera.camera_id = self._database.write_camera(camera)
        rig = pycolmap.Rig()
        rig.add_ref_sensor(camera.sensor_id)
        rig_id = self._database.write_rig(rig)
        for frame in self._video.frames:
            image = pycolmap.Image(name=image_name(self._video.result.video_id, frame), camera_id=camera.camera_id)
            image.image_id = self._database.write_image(image)
            moment = pycolmap.Frame()
            moment.rig_id = rig_id
            moment.add_data_id(image.data_id)
            self._database.write_frame(moment)
            self._image_ids[frame] = image.image_id


def to_corner_fundamental(F01: Float64Array) -> Float64Array:
    """The fundamental matrix for positions counted from the corner, of one for positions counted from the centre."""
    return np.asarray(_CENTRE_FROM_CORNER.T @ np.asarray(F01, np.float64) @ _CENTRE_FROM_CORNER)


def make_camera(text: str, width: int, height: int) -> Any:
    """The camera that a text `MODEL,PARAMETER,...` states; of an empty one, SIMPLE_RADIAL of a guessed focal length.

    Raises:
        InvalidInput: no such model, or not its number of parameters.
    """
    if not text:
        focal = _FOCAL_LENGTH_FACTOR * max(width, height)
        return pycolmap.Camera(model=_MODEL, width=width, height=height, params=[focal, width / 2, height / 2, 0.0])
    model, *numbers = text.split(",")
    _check_camera(text)
    camera = pycolmap.Camera(model=model.strip(), width=width, height=height, params=[float(n) for n in numbers])
    camera.has_prior_focal_length = True
    return camera


def _check_camera(text: str) -> None:
    if not text:
        return
    model, *numbers = text.split(",")
    known = pycolmap.CameraModelId.__members__
    if model.strip() not in known or model.strip() == "INVALID":
        raise InvalidInput(f"camera {text!r}: no model {model.strip()!r}; as in SIMPLE_RADIAL,500,320,240,0")
    try:
        params = [float(number) for number in numbers]
    except ValueError as error:
        raise InvalidInput(f"camera {text!r}: {error}; as in SIMPLE_RADIAL,500,320,240,0") from error
    camera = pycolmap.Camera(model=model.strip(), width=1, height=1, params=params)
    if not np.all(np.isfinite(params)) or not camera.verify_params():
        raise InvalidInput(f"camera {text!r}: {model.strip()} takes {camera.params_info}, in pixels")
