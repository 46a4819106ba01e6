"""Makes one source a video of the store: checked, transferred once, provenance kept. Finding sources is `expand`'s."""

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gim import keys
from gim.errors import InvalidInput
from gim.ports.store import Store
from gim.ports.telemetry import NullTelemetry, Telemetry
from gim.records import Provenance, VideoMeta
from gim.transfer.disk import exclusive
from gim.transfer.download import discard, download_file
from gim.transfer.limits import TransferLimits
from gim.transfer.urls import without_query
from gim.video.config import SourceConfig
from gim.video.sources import library, local, youtube
from gim.video.sources.expand import Source
from gim.video.sources.library import video_metas
from gim.video.sources.licence import LOCAL, UNKNOWN, check_licence
from gim.video.sources.sniff import refuse_text, video_extension

__all__ = ["fetch_source", "video_metas"]

_NOBODY = NullTelemetry()


def fetch_source(
    source: Source,
    store: Store,
    config: SourceConfig,
    *,
    work_dir: Path,
    telemetry: Telemetry = _NOBODY,
    today: Callable[[], datetime.date] = datetime.date.today,
) -> VideoMeta:
    """Make a source's file and `meta.json` exist in the store. Idempotent: what the store has is not transferred again.

    Args:
        source: one of `expand_source`'s.
        store: where to.
        config: limits, licences, patience.
        work_dir: holds partial downloads under names made of ids and hashes; the same from call to call, so that a call
            after a crash goes on where the last one stopped.
        telemetry: told of progress (phase `fetch`, bytes) and of the seconds spent.
        today: the day recorded beside a licence.

    Returns:
        The meta in the store; of the same bytes under an earlier name, if they were there.

    Raises:
        InvalidInput: the source is at fault; `LicenceRefused`, `UnsafeInput` say how.
        Unavailable: network, server or disk cannot now.
    """
    started = time.perf_counter()
    fetch = _Fetch(source, store, config, work_dir, telemetry, today)
    meta = {"file": fetch.from_file, "http": fetch.from_http, "youtube": fetch.from_youtube}[source.kind]()
    telemetry.add_seconds("fetch", meta.video_id, time.perf_counter() - started)
    return meta


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One source on its way into the store."""

    source: Source
    store: Store
    config: SourceConfig
    work_dir: Path
    telemetry: Telemetry
    today: Callable[[], datetime.date]

    def from_file(self) -> VideoMeta:
        path = Path(self.source.location)
        before = local.check_file(path, self.config.max_bytes)
        refuse_text(path, str(path))
        self._report(0, before.st_size)
        sha256 = library.sha256_of(path)
        known = library.find_video(self.store, keys.file_video_id(sha256))
        meta = library.put_video(
            self.store,
            path,
            video_id=keys.file_video_id(sha256),
            sha256=sha256,
            extension=video_extension(path.name),
            provenance=self._local_provenance(path),
        )
        if not local.is_unchanged(path, before):
            if known is None:
                library.drop_video(self.store, meta)
            raise InvalidInput(f"{path}: changed while it was read; try again when it is complete")
        self._report(before.st_size, before.st_size)
        return meta

    def from_http(self) -> VideoMeta:
        url = self.source.location
        shown = without_query(url)
        check_licence(shown, self.source.licence or UNKNOWN, self.config)
        part = self.work_dir / f"{Path(keys.source_alias(url)).stem}.part"
        with exclusive(part):
            known = library.find_alias(self.store, url)
            if known is not None:
                return known
            final_url = without_query(download_file(url, part, _transfer_limits(self.config), self._report))
            try:
                refuse_text(part, shown)
            except InvalidInput:
                discard(part)
                raise
            sha256 = library.sha256_of(part)
            meta = library.put_video(
                self.store,
                part,
                video_id=keys.file_video_id(sha256),
                sha256=sha256,
                extension=video_extension(final_url),
                provenance=self._remote_provenance(Provenance("", resolved=final_url, tools=library.tool_versions())),
            )
            library.put_alias(self.store, url, meta.video_id)
            discard(part)
        return meta

    def from_youtube(self) -> VideoMeta:
        youtube_id = self.source.location
        video_id = keys.youtube_video_id(youtube_id)
        with exclusive(self.work_dir / video_id):
            known = library.find_video(self.store, video_id)
            if known is not None:
                check_licence(video_id, self.source.licence or known.provenance.licence, self.config)
                return known
            with youtube.open_video(youtube_id, self.config) as video:
                provenance = self._remote_provenance(video.provenance)
                check_licence(f"{video_id} ({provenance.title[:60]!r})", provenance.licence, self.config)
                path = video.download(self.work_dir, self._report)
            meta = library.put_video(
                self.store,
                path,
                video_id=video_id,
                sha256=library.sha256_of(path),
                extension=video.extension,
                provenance=provenance,
            )
            youtube.discard(youtube_id, self.work_dir)
        return meta

    def _report(self, done: int, total: int) -> None:
        self.telemetry.progress(self.source.text, "fetch", done, total)

    def _local_provenance(self, path: Path) -> Provenance:
        declared, sidecar = self.source.licence, local.read_sidecar(path)
        return Provenance(
            source=_recordable(self.source.text),
            licence=declared or sidecar or LOCAL,
            licence_from="user" if declared else "sidecar" if sidecar else "",
            tools=library.tool_versions(),
        )

    def _remote_provenance(self, stated: Provenance) -> Provenance:
        """What a site states, with the user's own declaration, if there is one, in its licence's place."""
        licence = self.source.licence or stated.licence
        return replace(
            stated,
            source=_recordable(self.source.text),
            licence=licence,
            licence_from="user" if self.source.licence else "site" if licence != UNKNOWN else "",
            licence_seen=self.today().isoformat(),
        )


def _transfer_limits(config: SourceConfig) -> TransferLimits:
    return TransferLimits(
        what="a video file",
        settings="source.",
        if_disk_is_full="free some, or set another --store",
        allow_private_addresses=config.allow_private_addresses,
        max_bytes=config.max_bytes,
        timeout_seconds=config.timeout_seconds,
        max_attempts=config.max_attempts,
        first_wait_seconds=config.first_wait_seconds,
        max_wait_seconds=config.max_wait_seconds,
    )


def _recordable(text: str) -> str:
    """The text as UTF-8 can hold it: file names may be any bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
