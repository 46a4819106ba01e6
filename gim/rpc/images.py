"""The images of a request: refused by what their first bytes say, fetched, decoded. Blocks, so it runs in threads."""

from dataclasses import dataclass

import numpy as np

from gim import codecs, keys
from gim.errors import ConfigError, InvalidInput
from gim.photos.reading import decode_photo
from gim.photos.sizes import declared_size
from gim.ports.store import Store
from gim.records import ImagePair, Uint8Array
from gim.wire.v1.matcher_pb2 import Image, MatchRequest

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_ALLOWED_KEYS = "frames/"  # a caller sees through what is matched what an image shows, so sampled frames and no more
_START_OF_SCAN = b"\xff\xda"
_MAX_SCANS = 256  # of a JPEG; a progressive one has about ten, and each costs a pass over all pixels


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """One image as it came, of a size that is allowed."""

    name: str
    data: bytes
    mask: bytes
    num_pixels: int


def is_sent_as_it_is(data: bytes) -> bool:
    """Whether a server takes a file of these bytes: a JPEG or a PNG."""
    return data.startswith((_PNG, _JPEG))


def check_request(request: MatchRequest, store: Store | None) -> None:
    """Refuse a request for what it says itself, without reading a pixel.

    Raises:
        InvalidInput: an image is missing, or names what may not be read.
        ConfigError: it names an object, and this server has no store.
    """
    for name, image in (("image0", request.image0), ("image1", request.image1)):
        source = image.WhichOneof("source")
        if source == "store_key":
            if store is None:
                raise ConfigError(f"{name}: this server has no store; send the image itself")
            if not keys.validate_key(image.store_key).startswith(_ALLOWED_KEYS):
                raise InvalidInput(f"{name}: store key {image.store_key!r} is not below {_ALLOWED_KEYS}")
        elif not image.encoded:
            raise InvalidInput(f"{name}: no image: give a store key, or the bytes of a JPEG or PNG file")
    if not 0 <= request.fit.threshold_px < np.inf:
        raise InvalidInput(f"fit.threshold_px = {request.fit.threshold_px}: expected a number of pixels, 0 = default")


def read_images(
    request: MatchRequest, store: Store | None, *, max_bytes: int, max_pixels: int
) -> tuple[EncodedImage, EncodedImage]:
    """Both images of a checked request, fetched where they lie in the store; no pixel is decoded yet.

    Raises:
        InvalidInput: not a JPEG or PNG, or larger than is allowed.
        KeyMissing: the store has no such image.
        Unavailable: the store is away.
    """
    return (
        _read("image0", request.image0, store, max_bytes, max_pixels),
        _read("image1", request.image1, store, max_bytes, max_pixels),
    )


def _read(name: str, image: Image, store: Store | None, max_bytes: int, max_pixels: int) -> EncodedImage:
    data = image.encoded
    if image.WhichOneof("source") == "store_key" and store is not None:
        name = f"{name} ({image.store_key})"
        if (num_bytes := store.size(image.store_key)) > max_bytes:
            raise InvalidInput(f"{name}: {num_bytes} bytes exceed the server's {max_bytes}")
        data = store.get(image.store_key)
    if not is_sent_as_it_is(data):
        raise InvalidInput(f"{name}: neither a JPEG nor a PNG file")
    width, height = declared_size(data)
    if width < 1 or height < 1:
        raise InvalidInput(f"{name}: not a readable image")
    if width * height > max_pixels:
        raise InvalidInput(f"{name}: {width}x{height} pixels exceed the server's {max_pixels}; shrink it")
    if data.startswith(_JPEG) and data.count(_START_OF_SCAN) > _MAX_SCANS:
        raise InvalidInput(f"{name}: a JPEG of more than {_MAX_SCANS} scans")
    return EncodedImage(name, data, image.mask, width * height)


def decode_pair(images: tuple[EncodedImage, EncodedImage]) -> ImagePair:
    """The pixels and masks of both images.

    Raises:
        InvalidInput: damaged, or a mask is not of its image's size.
    """
    (image0, mask0), (image1, mask1) = map(_decoded, images)
    return ImagePair(image0, image1, mask0, mask1)


def _decoded(encoded: EncodedImage) -> tuple[Uint8Array, Uint8Array | None]:
    photo = decode_photo(encoded.name, encoded.data, encoded.num_pixels)
    if not encoded.mask:
        return photo.image, photo.mask
    stated = declared_size(encoded.mask) if encoded.mask.startswith(_PNG) else (0, 0)
    if stated != photo.size:
        raise InvalidInput(f"{encoded.name}: its mask is not a PNG of {photo.size[0]}x{photo.size[1]} pixels")
    mask = codecs.decode_grey(encoded.mask)
    return photo.image, mask if photo.mask is None else np.minimum(mask, photo.mask)
