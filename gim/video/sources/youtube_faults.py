"""Which of the project's errors an exception of yt-dlp is: retry later, or never. Reads classes first, then words."""

import re

from gim.errors import DiskFull, GimError, InvalidInput, NotOffered, Unavailable, UnsafeInput, is_disk_full
from gim.video.sources.youtube_runtime import find_javascript

_TRANSIENT_STATUS = frozenset({403, 408, 425, 429})  # 403: YouTube's way to say "too fast", or an address gone stale
# What yt-dlp says of a refusal that passes, in words only: no class tells it from a removed video.
_COMES_BACK = re.compile(
    r"rate.?limit|try again later|not a bot|captcha|too many requests|likely being blocked|timed out", re.IGNORECASE
)
# yt-dlp's downloader raises outside of the exception's own block, so that only its words are left.
_STATUS = re.compile(r"HTTP Error (\d{3}): ([^.]*)")
_GIVEN_UP = re.compile(r"\bgot error: |giving up after|not get any data|expected \d+ bytes", re.IGNORECASE)
_NO_FORMAT = re.compile(r"requested format is not available|no video formats found", re.IGNORECASE)
_OUTDATED = "please report this issue"
# Why YouTube hands a video to nobody like us, by the words it shows: the first that fits names the reason.
_NOT_OFFERED = {
    "private": re.compile(r"private video", re.IGNORECASE),
    "members_only": re.compile(r"members?[- ]only|channel's members|join this channel", re.IGNORECASE),
    "age_restricted": re.compile(r"confirm your age|age.restricted|inappropriate for some users", re.IGNORECASE),
    "paid": re.compile(r"requires payment|purchase|premium members", re.IGNORECASE),
    "live": re.compile(r"premieres? in|live event will begin|offline|stream recording is not available", re.IGNORECASE),
    "blocked_here": re.compile(r"(?:in|from) your (?:country|location|region)|geo.?restrict", re.IGNORECASE),
    "deleted": re.compile(r"unavailable|removed|deleted|no longer available|terminated|does not exist", re.IGNORECASE),
}
_PREFIX = re.compile(r"^(?:ERROR: )?(?:\[[\w:+]+\] )?(?:[A-Za-z0-9_-]{11}: )?")
_MAX_CHARACTERS = 200


def as_gim_error(error: BaseException, name: str) -> GimError:
    """The error to raise instead of one of yt-dlp's.

    Args:
        error: `YoutubeDLError` or `OSError`; what caused it is looked at too.
        name: what the message calls the video or list.

    Returns:
        `UnsafeInput` for an address that is not public; `Unavailable` for the network, 5xx, 403, 429, a full disk and
        rate limits; `NotOffered` for what YouTube keeps from us: private, removed, blocked in this country,
        age-restricted; `InvalidInput` for all else that asking again cannot change.
    """
    said = _first_sentence(str(error))
    unsafe = next((cause for cause in _causes(error) if isinstance(cause, UnsafeInput)), None)
    if unsafe is not None:
        return UnsafeInput(f"{name}: {unsafe}")
    for cause in _causes(error):
        if (found := _from_cause(cause, said)) is not None:
            kind, reason = found
            return kind(f"{name}: {reason}")
    return _from_words(str(error), said, name)


def _from_cause(cause: BaseException, said: str) -> tuple[type[GimError], str] | None:
    from yt_dlp.networking.exceptions import HTTPError, TransportError  # noqa: PLC0415  see gim.video.sources.youtube

    if isinstance(cause, HTTPError):
        return _from_status(cause.status, cause.reason)
    if isinstance(cause, TransportError):
        return Unavailable, f"cannot reach YouTube ({said})"
    if isinstance(cause, OSError):
        if is_disk_full(cause):
            return DiskFull, "cannot download (no space left on the disk)"
        return Unavailable, f"cannot download ({cause.strerror or said})"
    return None


def _from_status(status: int, reason: str) -> tuple[type[GimError], str]:
    comes_back = status >= 500 or status in _TRANSIENT_STATUS
    return Unavailable if comes_back else InvalidInput, f"YouTube answered {status} {reason}"


def _from_words(message: str, said: str, name: str) -> GimError:
    if found := _STATUS.search(message):
        kind, reason = _from_status(int(found[1]), found[2])
        return kind(f"{name}: {reason}")
    if _GIVEN_UP.search(message):
        return Unavailable(f"{name}: cannot download ({said})")
    if _COMES_BACK.search(message):
        return Unavailable(f"{name}: YouTube refuses for now ({said})")
    if _NO_FORMAT.search(message):
        missing = find_javascript().missing
        return InvalidInput(f"{name}: no format of it can be downloaded here{missing and f' ({missing})'}")
    if _OUTDATED in message.lower():
        return InvalidInput(f"{name}: this version of yt-dlp cannot read it ({said}); a newer one may")
    for reason, words in _NOT_OFFERED.items():
        if words.search(said):
            return NotOffered(f"{name}: {said}", reason)
    return InvalidInput(f"{name}: {said}")


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and all that led to it, nearest first: yt-dlp keeps them in four different places."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        current = waiting.pop(0)
        if isinstance(current, BaseException) and current not in found:
            found.append(current)
            exc_info = getattr(current, "exc_info", None) or (None, None, None)
            waiting += [getattr(current, "cause", None), exc_info[1], current.__cause__, current.__context__]
    return found


def _first_sentence(message: str) -> str:
    line = "".join(filter(str.isprintable, " ".join(re.sub(r"\x1b\[[0-9;]*m", "", message).split())))
    line = _PREFIX.sub("", line)
    for cut in ("; please report", " (caused by", ". Use --cookies", " You might want to use"):
        line = line.split(cut, maxsplit=1)[0]
    return line[:_MAX_CHARACTERS]
