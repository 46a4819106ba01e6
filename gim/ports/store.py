"""The Store port: named immutable-by-convention objects. The truth of the system.

Contract (tests/contract/store_contract.py, run by every adapter):
- `put` is atomic: a reader sees the old object or the new one, never half; overwriting with equal bytes is harmless;
- a missing key raises `KeyMissing`; keys are validated by `gim.keys.validate_key`; listing is by prefix, sorted;
- files larger than memory stream through `put_file` and `fetch`;
- a full or absent disk or server raises `Unavailable` with one clear line and leaves nothing half-written.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Store(Protocol):
    """Objects by key."""

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write an object; with `if_absent`, only when there is none. Returns whether it was written."""

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a local file without holding it in memory. The file is left as it is."""

    def get(self, key: str) -> bytes:
        """The whole object.

        Raises:
            KeyMissing: there is none.
        """

    def fetch(self, key: str) -> AbstractContextManager[Path]:
        """A local, read-only file with the object's bytes, valid inside the `with` block.

        Raises:
            KeyMissing: there is none.
        """

    def exists(self, key: str) -> bool:
        """Whether there is an object."""

    def size(self, key: str) -> int:
        """Bytes of the object.

        Raises:
            KeyMissing: there is none.
        """

    def list(self, prefix: str = "") -> Iterator[str]:
        """Keys that begin with `prefix`, ascending."""

    def usage(self, prefix: str = "") -> int:
        """Bytes of all objects whose keys begin with `prefix`."""

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is no error."""

    def close(self) -> None:
        """Release what is held."""
