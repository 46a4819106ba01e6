"""Brings a published file into the cache: resumed, checked before anybody sees it, by one process at a time.

Where no hash is published, that of the first fetched file is kept beside it, and a later change is refused.
"""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gim.errors import DiskFull, GimError, InvalidInput, Unavailable
from gim.transfer.disk import disk_errors_named, exclusive
from gim.transfer.download import Progress, discard, download_file
from gim.transfer.limits import TransferLimits
from gim.weights.formats import file_format
from gim.weights.integrity import Digests, check_published, digests_of
from gim.weights.spec import PublishedFile

# The addresses are the catalogue's own, and a site may well serve them from a mirror inside.
LIMITS = TransferLimits(
    what="a weight file",
    if_disk_is_full="free some, or set weights.cache to another disk",
    allow_private_addresses=True,
    max_attempts=4,
)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that lies in the cache and was checked."""

    path: Path
    digests: Digests


def fetch_file(published: PublishedFile, folder: Path, report: Progress, limits: TransferLimits = LIMITS) -> Fetched:
    """Make a published file lie in a folder, whole and checked. What an earlier call left is continued.

    Args:
        published: has at least one URL.
        folder: made when it is not there.
        report: told of bytes done and in total (0 = unknown).
        limits: of one transfer.

    Raises:
        InvalidInput: what came is not the published file; nothing of it is kept.
        DiskFull: nothing was fetched for want of space.
        Unavailable: no URL gave it; the message says why, URL by URL.
    """
    path = folder / published.file
    with exclusive(path):
        if path.is_file():  # another process was quicker
            return Fetched(path, check_cached(path, published, digests_of))
        faults: list[GimError] = []
        for url in published.urls:
            try:
                return _fetch_from(url, published, path, report, limits)
            except DiskFull:
                raise
            except (InvalidInput, Unavailable) as fault:
                faults.append(fault)
    said = "; ".join(map(str, faults))
    if any(isinstance(fault, Unavailable) for fault in faults):
        raise Unavailable(said)
    raise InvalidInput(said)


def check_cached(path: Path, published: PublishedFile, read: Callable[[Path], Digests]) -> Digests:
    """The digests of a file of the cache, when it is what was published, or what was there first.

    Args:
        path: of the file.
        published: what is known of it.
        read: how its digests are found.

    Raises:
        InvalidInput: it is not.
        Unavailable: it cannot be read.
    """
    found = read(path)
    check_published(path, found, published)
    _check_trusted(path, found, published)
    return found


def forget(path: Path) -> None:
    """Remove a file of the cache and what is kept beside it, so that it can be fetched anew."""
    with exclusive(path), disk_errors_named(path):
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.sha256").unlink(missing_ok=True)


def _fetch_from(url: str, published: PublishedFile, path: Path, report: Progress, limits: TransferLimits) -> Fetched:
    # A part of its own per URL: two servers' files need not be the same.
    part = path.with_name(f"{path.name}.{hashlib.sha256(url.encode()).hexdigest()[:8]}.part")
    bounded = replace(limits, max_bytes=published.num_bytes) if published.num_bytes else limits
    download_file(url, part, bounded, report)
    try:
        found = digests_of(part)
        check_published(part, found, published)
        file_format(part)
        _check_trusted(path, found, published)
    except InvalidInput as error:
        discard(part)
        raise InvalidInput(f"{url}: {str(error).replace(str(part), published.file)}") from error
    with disk_errors_named(path, limits.if_disk_is_full):
        part.replace(path)
    discard(part)
    return Fetched(path, found)


def _check_trusted(path: Path, found: Digests, published: PublishedFile) -> None:
    """Compare with what was there first, if nobody publishes a hash; what is first is noted beside the file.

    Raises:
        InvalidInput: it has changed since.
    """
    if published.sha256 or published.git_blob:
        return
    record = path.with_name(f"{path.name}.sha256")
    if not record.is_file():
        with contextlib.suppress(OSError):  # a cache that cannot be written stays as it is
            record.write_text(f"{found.sha256}  {path.name}\n", encoding="utf-8")  # as `sha256sum -c` reads it
    elif not record.read_text(encoding="utf-8").startswith(found.sha256):
        raise InvalidInput(
            f"weights {path}: not the file that was here first: its sha256 is {found.sha256}, "
            f"which is not the one in {record.name}"
        )
