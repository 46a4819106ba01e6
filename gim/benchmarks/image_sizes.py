"""How large the images of a benchmark are, from the heads of their files."""

from pathlib import Path

from gim import codecs
from gim.errors import CorruptObject, InvalidInput
from gim.photos.sizes import declared_size

_HEAD_BYTES = 1 << 16  # most files state their size in so many


class ImageSizes:
    """Width and height of images of a folder, each file looked at once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, tuple[int, int]] = {}

    def of(self, name: str, where: str) -> tuple[int, int]:
        """Width and height of an image, from the head of its file.

        Raises:
            InvalidInput: it is absent or no image; the message begins with `where`.
        """
        if name not in self._known:
            self._known[name] = image_size(self._root / name, where)
        return self._known[name]


def image_size(path: Path, where: str) -> tuple[int, int]:
    """Width and height of an image, from the head of its file; decoded where that does not say it.

    Raises:
        InvalidInput: it is absent or no image; the message begins with `where`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            size = declared_size(head)
            data = b"" if all(size) else head + file.read()
        if data:
            height, width = codecs.decode_image(data).shape[:2]
            return width, height
    except OSError as error:
        raise InvalidInput(f"{where}: the image {path} cannot be read ({error.strerror})") from error
    except CorruptObject as error:
        raise InvalidInput(f"{where}: {path}: {error}") from error
    if not all(size):
        raise InvalidInput(f"{where}: {path}: not a readable image (0 bytes)")
    return size
