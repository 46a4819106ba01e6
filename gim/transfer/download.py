"""Brings one URL's bytes into one local file, and continues what an earlier call, killed or failed, left there.

A partial file is only continued while the server still has the same object: its strong ETag or its date is kept beside
the file and sent as `If-Range` (RFC 9110, 13.1.5). Nothing here knows what the bytes mean.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPResponse
from io import BufferedWriter
from pathlib import Path

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential, wait_random

from gim.errors import DiskFull, InvalidInput, Unavailable
from gim.transfer.connection import open_url
from gim.transfer.disk import disk_errors_named
from gim.transfer.faults import TransferFault, faults_named
from gim.transfer.limits import TransferLimits
from gim.transfer.text import describe_text
from gim.transfer.urls import without_query

_READ_BYTES = 256 * 1024
_PROGRESS_BYTES = 1024 * 1024  # an attempt that brought as much does not count as failed
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_TEXT_TYPE = re.compile(r"text/|application/(xhtml|xml|json|vnd\.apple\.mpegurl|x-mpegurl|dash\+xml)", re.IGNORECASE)
_USER_AGENT = "gim-pipeline (video to training pairs for image matchers)"

Progress = Callable[[int, int], None]  # bytes done, bytes in total (0 = unknown)


@dataclass(frozen=True, slots=True)
class _Validator:
    """What tells whether the server's object is still the one a partial file was taken from."""

    etag: str = ""
    last_modified: str = ""

    @property
    def if_range(self) -> str:
        """The header's value; empty when the server gave nothing strong enough to continue on."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def contradicts(self, other: "_Validator") -> bool:
        return any(a and b and a != b for a, b in ((self.etag, other.etag), (self.last_modified, other.last_modified)))


def download_file(url: str, path: Path, limits: TransferLimits, report: Progress) -> str:
    """Make `path` hold all bytes of a URL, resuming from what it holds already.

    Args:
        url: normalised.
        path: complete only once this function has returned; a small file lies beside it until `discard`.
        limits: bounds, patience, and whether private addresses are allowed.
        report: told how far the transfer is.

    Returns:
        The URL that answered after redirects.

    Raises:
        InvalidInput: the server says no, or sends a page, or more than `max_bytes`.
        Unavailable: network or server failed `max_attempts` times without progress, or the disk is full.
    """
    transfer = _Transfer(url, path, limits, report)
    retrying = Retrying(
        retry=retry_if_exception_type(TransferFault),
        stop=transfer.is_hopeless,
        wait=transfer.wait_seconds,
        reraise=True,
    )
    try:
        final_url: str = retrying(transfer.attempt)
    except TransferFault as fault:
        raise Unavailable(f"{fault}{transfer.why_given_up(fault)}") from fault
    return final_url


def discard(path: Path) -> None:
    """Remove what `download_file` keeps for a path."""
    path.unlink(missing_ok=True)
    _validator_path(path).unlink(missing_ok=True)


def _validator_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


class _Transfer:
    """One file's transfer over all its attempts."""

    def __init__(self, url: str, path: Path, limits: TransferLimits, report: Progress) -> None:
        self.url = url
        self.path = path
        self.limits = limits
        self.report = report
        self.validator_path = _validator_path(path)
        self._failures = 0
        self._best_bytes = self._held_bytes()
        first = limits.first_wait_seconds
        self._backoff = wait_exponential(multiplier=first, max=limits.max_wait_seconds) + wait_random(0, first)

    def is_hopeless(self, state: RetryCallState) -> bool:
        """Tenacity's `stop`: too many attempts in a row without progress, or the server asks to wait too long."""
        held = self._held_bytes()
        self._failures = 1 if held >= self._best_bytes + _PROGRESS_BYTES else self._failures + 1
        self._best_bytes = max(self._best_bytes, held)
        return self._failures >= self.limits.max_attempts or _asked_seconds(state) > self.limits.max_wait_seconds

    def wait_seconds(self, state: RetryCallState) -> float:
        """Tenacity's `wait`: exponential with jitter, and never shorter than the server's Retry-After."""
        return max(self._backoff(state), _asked_seconds(state))

    def why_given_up(self, fault: TransferFault) -> str:
        """What to add to the last fault's line."""
        asked = fault.retry_after_seconds
        if asked > self.limits.max_wait_seconds:
            return f", and asks to come back after {asked:.0f} seconds"
        return f" (given up after {self._failures} attempts; the same command continues)"

    def attempt(self) -> str:
        """Go on from what the file holds to the end of the body."""
        held, validator = self._held_bytes(), self._read_validator()
        headers = {"User-Agent": _USER_AGENT, "Accept": "*/*", "Connection": "close"}
        if held and validator.if_range:
            headers |= {"Range": f"bytes={held}-", "If-Range": validator.if_range}
        else:
            held = 0
        with open_url(self.url, headers, self.limits) as (final_url, response):
            span = self._body_span(response, held, validator)
            if span is not None:
                self._receive(response, *span)
        return final_url

    def _held_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _read_validator(self) -> _Validator:
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            return _Validator(**json.loads(self.validator_path.read_bytes()))
        return _Validator()

    def _body_span(self, response: HTTPResponse, held: int, known: _Validator) -> tuple[int, int] | None:
        """Where the body starts and what the whole object's length is (0 = unknown); None when nothing is missing."""
        given = _Validator(response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        total = int(found[2]) if found and found[2].isdecimal() else 0
        if response.status == 416 and held and total == held and not known.contradicts(given):
            return None
        if response.status == 206 and held and found and found[1] == str(held) and not known.contradicts(given):
            return held, total
        if response.status != 200:  # the server answers another question than was asked: next time from the start
            discard(self.path)
            raise TransferFault(f"{without_query(self.url)}: the server cannot continue the transfer")
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"identity", ""}:
            raise InvalidInput(f"{without_query(self.url)}: the server insists on compressing the file")
        self._begin(given)
        return 0, response.length or 0

    def _begin(self, validator: _Validator) -> None:
        """Empty the file, then note what is about to be written into it: in this order a crash loses bytes only."""
        with disk_errors_named(self.path, self.limits.if_disk_is_full):
            self.path.write_bytes(b"")
            self.validator_path.write_text(json.dumps(asdict(validator)))

    def _receive(self, response: HTTPResponse, start: int, total: int) -> None:
        self._check_room(start, total)
        with disk_errors_named(self.path, self.limits.if_disk_is_full), self.path.open("ab") as file:
            done = self._copy(response, file, start, total)
            file.flush()
            os.fsync(file.fileno())
        if total and done < total:
            raise TransferFault(f"{without_query(self.url)}: the connection broke off after {done} of {total} bytes")
        self.report(done, total)

    def _copy(self, response: HTTPResponse, file: BufferedWriter, start: int, total: int) -> int:
        done = reported = start
        expect_text = bool(_TEXT_TYPE.match(response.headers.get("Content-Type", "")))
        while not total or done < total:
            with faults_named(self.url, self.limits):
                block = response.read1(_READ_BYTES)
            if not block:
                break
            if expect_text and done == start == 0 and (kind := describe_text(block[:4096])):
                self._refuse(f"the server sent {kind}, not {self.limits.what}")
            file.write(block)
            done += len(block)
            if done > self.limits.max_bytes:
                self._refuse(f"is larger than {self.limits.settings}max_bytes ({self.limits.max_bytes})")
            if done - reported >= _READ_BYTES:
                self.report(done, total)
                reported = done
        return done

    def _check_room(self, start: int, total: int) -> None:
        if total > self.limits.max_bytes:
            self._refuse(f"has {total} bytes, more than {self.limits.settings}max_bytes ({self.limits.max_bytes})")
        free = shutil.disk_usage(self.path.parent).free
        if total - start > free:
            discard(self.path)
            raise DiskFull(
                f"{without_query(self.url)}: needs {total - start} bytes, but {self.path.parent} has {free} left: "
                f"{self.limits.if_disk_is_full}"
            )

    def _refuse(self, reason: str) -> None:
        discard(self.path)
        raise InvalidInput(f"{without_query(self.url)}: {reason}")


def _asked_seconds(state: RetryCallState) -> float:
    fault = state.outcome.exception() if state.outcome else None
    return fault.retry_after_seconds if isinstance(fault, TransferFault) else 0.0
