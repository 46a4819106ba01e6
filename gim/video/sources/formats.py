"""Which of the formats a site offers is taken. Pictures only: no sound is needed, so nothing is ever merged.

In order: sound files out; frames as the camera took them (not damaged, not upscaled by a network, which would invent
detail); no larger than `max_height` counted on the short side, so that 1080 means the same for a portrait video;
H.264 and VP9 before AV1 and HEVC, which cost several times as much to decode; plain files before fragments; then the
highest frame rate, the largest picture, H.264, the highest bit rate.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Format = Mapping[str, Any]

_CHEAP_CODEC = re.compile(r"avc|h264|vp0?9", re.IGNORECASE)
_H264 = re.compile(r"avc|h264", re.IGNORECASE)
_PLAIN = ("https", "http")
_FRAGMENTS = ("m3u8_native", "m3u8", "http_dash_segments")


def format_chooser(max_height: int) -> Callable[[Mapping[str, Any]], Iterator[Format]]:
    """A format selector for yt-dlp's option `format`: yields the one format to download, or nothing.

    Args:
        max_height: of the picture's short side, pixels; when every format is larger, the smallest is taken.
    """

    def choose(context: Mapping[str, Any]) -> Iterator[Format]:
        usable = [offered for offered in context["formats"] if _has_pictures(offered)]
        if usable:
            yield max(usable, key=lambda offered: _rank(offered, max_height))

    return choose


def _has_pictures(offered: Format) -> bool:
    return offered.get("vcodec") != "none" and offered.get("protocol") in (*_PLAIN, *_FRAGMENTS)


def _rank(offered: Format, max_height: int) -> tuple[float, ...]:
    codec = offered.get("vcodec") or ""
    short_side = min(offered.get("width") or offered.get("height") or 0, offered.get("height") or 0)
    fits = short_side <= max_height
    return (
        _is_genuine(offered),
        fits,
        bool(_CHEAP_CODEC.match(codec)),
        offered.get("protocol") in _PLAIN,
        0 if fits else -short_side,
        offered.get("fps") or 0,
        short_side,
        bool(_H264.match(codec)),
        offered.get("tbr") or 0,
    )


def _is_genuine(offered: Format) -> bool:
    is_upscaled = str(offered.get("format_id", "")).endswith("-sr")  # YouTube's "super resolution"
    is_damaged = min(offered.get("preference") or 0, offered.get("source_preference") or 0) <= -10
    return not is_upscaled and not is_damaged
