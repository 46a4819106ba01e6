"""Whether a benchmark's folder is still what its manifest says. Reads only."""

import hmac
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gim.benchmarks.building.manifest import (
    MANIFEST,
    HashedFile,
    ZebManifest,
    digest_of,
    hash_file,
    key_id_of,
    sign,
)

_THREADS = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one file."""

    file: str
    kind: Literal["changed", "missing", "extra", "digest", "signature"]
    why: str


def folder_faults(folder: Path, manifest: ZebManifest) -> Iterator[Fault]:
    """Files that are changed or missing, by name, then those that nobody listed.

    Names that begin with `manifest.json`, as of a signature beside it, and hidden ones are nobody's business.
    """
    listed = {file.name: file for file in (*manifest.images, *manifest.pairs)}
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="verify") as executor:
        faults = executor.map(lambda file: _file_fault(folder, file), [listed[name] for name in sorted(listed)])
        yield from (fault for fault in faults if fault is not None)
    for path in sorted(folder.iterdir()):
        if path.name not in listed and not path.name.startswith((MANIFEST, ".")):
            yield Fault(path.name, "extra", "is not in the manifest")


def manifest_faults(manifest: ZebManifest, *, key: bytes | None = None, digest: str = "") -> Iterator[Fault]:
    """What is wrong with the manifest itself.

    Args:
        manifest: as read.
        key: that is said to have signed it; None: the signature is not looked at.
        digest: as its authors published it, or its beginning of at least 16 digits; empty: not known.
    """
    own = digest_of(manifest)
    if own != manifest.digest:
        yield Fault(MANIFEST, "digest", f"was changed: what it says makes {own}, it has {manifest.digest or 'none'}")
    if digest and not own.startswith(digest.lower()):
        yield Fault(MANIFEST, "digest", f"is not the published one: what it says makes {own}")
    if key is None:
        return
    if not manifest.signature:
        yield Fault(MANIFEST, "signature", "is not signed")
    elif not hmac.compare_digest(sign(own, key), manifest.signature):
        other = f"; it names the key {manifest.key_id}" if manifest.key_id != key_id_of(key) else ""
        yield Fault(MANIFEST, "signature", f"is not signed by the key {key_id_of(key)}{other}")


def _file_fault(folder: Path, listed: HashedFile) -> Fault | None:
    path = folder / listed.name
    if not path.is_file():
        return Fault(listed.name, "missing", "is not there")
    found = hash_file(path)
    if found == listed:
        return None
    size = "" if found.num_bytes == listed.num_bytes else f": {found.num_bytes} bytes, not {listed.num_bytes}"
    return Fault(listed.name, "changed", f"has changed{size or ': its SHA-256 is not that of the manifest'}")
