"""Records to bytes and back, versioned and deterministic: equal records give equal bytes.

JSON for small documents (validated by pydantic on reading), npz without pickles for arrays, JPEG and PNG for images.
"""

import dataclasses
import io
import json
import zipfile
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np

from gim import npy
from gim.errors import CorruptObject, InvalidInput
from gim.records import Uint8Array

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = 1  # bumped when a stored record changes its meaning; added fields with defaults do not count
_JPEG_QUALITY = 95

Record = TypeVar("Record")


@cache
def _adapter(record_type: type[Any]) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter  # noqa: PLC0415 - a process that only encodes images starts without it

    return TypeAdapter(record_type)


def to_json(record: Any) -> bytes:
    """A dataclass record as canonical JSON: sorted keys, no white space, NaN refused, `schema` added."""
    document = {"schema": SCHEMA, **dataclasses.asdict(record)}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def from_json(record_type: type[Record], data: bytes) -> Record:
    """The record that `to_json` wrote; unknown fields of a newer writer are ignored.

    Raises:
        CorruptObject: not JSON, another schema, or a field is missing or malformed; the message names it.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    name = record_type.__name__
    try:
        document = json.loads(data)
    except ValueError as error:
        raise CorruptObject(f"{name}: not JSON ({error})") from error
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise CorruptObject(f"{name}: written by another version of the project (expected schema {SCHEMA})")
    try:
        return _adapter(record_type).validate_python(document)  # type: ignore[no-any-return, arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CorruptObject(f"{name}.{where}: {first['msg']}") from error


def to_npz(record: Any) -> bytes:
    """A dataclass of numpy arrays as an uncompressed npz, fields in order, fixed dates, None left out."""
    arrays = {item.name: getattr(record, item.name) for item in dataclasses.fields(record)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{key: value for key, value in arrays.items() if value is not None})
    return buffer.getvalue()


def from_npz(record_type: type[Record], data: bytes) -> Record:
    """The record that `to_npz` wrote.

    Raises:
        CorruptObject: not an npz, a field is missing, or an array would need unpickling.
    """
    try:
        arrays = {}
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    arrays[name.removesuffix(".npy")] = npy.read_array(file)
        return record_type(**arrays)
    except Exception as error:  # zipfile, numpy and dataclass each raise their own kinds on damaged bytes
        raise CorruptObject(f"{record_type.__name__}: not a readable npz ({error})") from error


def encode_jpeg(image: Uint8Array) -> bytes:
    """An RGB [H, W, 3] or grey [H, W] uint8 image as JPEG of quality 95."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise InvalidInput(f"cannot encode an image of shape {image.shape} as JPEG")
    return data.tobytes()


def encode_png(image: Uint8Array) -> bytes:
    """A grey [H, W] or RGB [H, W, 3] uint8 image as PNG."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, data = cv2.imencode(".png", pixels)
    if not done:
        raise InvalidInput(f"cannot encode an image of shape {image.shape} as PNG")
    return data.tobytes()


def decode_image(data: bytes) -> Uint8Array:
    """An encoded image as RGB uint8 [H, W, 3]; EXIF rotation is not applied.

    Raises:
        CorruptObject: not an image OpenCV can read.
    """
    return _decode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def decode_grey(data: bytes) -> Uint8Array:
    """An encoded image as grey uint8 [H, W]; for a JPEG, its luma plane as it is.

    Raises:
        CorruptObject: not an image OpenCV can read.
    """
    return _decode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)


def _decode(data: bytes, flags: int) -> Uint8Array:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if pixels is None:
        raise CorruptObject(f"not a readable image ({len(data)} bytes)")
    return np.asarray(pixels, np.uint8)
