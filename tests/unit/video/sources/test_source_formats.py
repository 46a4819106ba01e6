"""The choice of format, through yt-dlp's own selection on lists of what YouTube offers."""

from typing import Any

import pytest
import yt_dlp

from gim.video.config import SourceConfig
from gim.video.sources.youtube import client_options


def picture(format_id: str, codec: str, height: int, fps: int = 30, **more: Any) -> dict[str, Any]:
    width = height * 16 // 9
    base = {
        "url": f"https://x.invalid/{format_id}",
        "ext": "mp4",
        "protocol": "https",
        "acodec": "none",
        "width": width,
    }
    return {**base, "format_id": format_id, "vcodec": codec, "height": height, "fps": fps, **more}


SOUND = {"url": "https://x.invalid/a", "format_id": "140", "ext": "m4a", "vcodec": "none", "acodec": "mp4a.40.2"}
AVC, VP9, AV1, HEVC = "avc1.640028", "vp09.00.40.08", "av01.0.08M.08", "hev1.1.6.L120.90"
MUXED = picture("18", "avc1.42001E", 360, acodec="mp4a.40.2")
LADDER = [
    SOUND,
    MUXED,
    *(picture("136", AVC, 720), picture("137", AVC, 1080), picture("248", VP9, 1080), picture("399", AV1, 1080)),
    *(picture("313", VP9, 2160), picture("401", AV1, 2160)),
]


def chosen(formats: list[dict[str, Any]], max_height: int = 1080) -> str:
    info = {"id": "aqz-KE-bpKQ", "title": "t", "extractor": "youtube", "extractor_key": "Youtube", "formats": formats}
    with yt_dlp.YoutubeDL(client_options(SourceConfig(max_height=max_height))) as client:
        result = client.process_ie_result({**info, "formats": [dict(offered) for offered in formats]}, download=False)
    assert result.get("requested_formats") is None  # nothing to merge
    return str(result["format_id"])


@pytest.mark.parametrize(
    ("formats", "max_height", "expected"),
    [
        (LADDER, 1080, "137"),  # H.264 before VP9 of the same size, before AV1
        (LADDER, 2160, "313"),  # VP9 where it is larger
        (LADDER, 720, "136"),
        (LADDER, 100, "18"),  # all too large: the smallest
        (LADDER[:2], 1080, "18"),  # with sound, if there is nothing else
        ([picture("1", AV1, 1080), picture("2", AVC, 480)], 1080, "2"),  # a cheap codec before size
        ([picture("1", AV1, 720), picture("2", HEVC, 1080)], 1080, "2"),  # neither is cheap: size
        ([picture("298", AVC, 720, 60), picture("137", AVC, 1080, 30)], 1080, "298"),  # rate before size
        ([picture("299", AVC, 1080, 60), picture("303", VP9, 1080, 60), picture("137", AVC, 1080)], 1080, "299"),
        ([picture("p", AVC, 1920, width=1080), picture("q", AVC, 1280, width=720)], 1080, "p"),  # portrait
        ([picture("137-sr", AVC, 1080), picture("135", AVC, 480)], 1080, "135"),  # invented detail
        ([picture("d", AVC, 1080, preference=-10), picture("e", AVC, 480)], 1080, "e"),  # damaged
        ([picture("h", AVC, 1080, protocol="m3u8_native"), picture("f", AVC, 480)], 1080, "f"),  # plain file first
        ([picture("h", AVC, 1080, protocol="m3u8_native")], 1080, "h"),
        ([picture("a", AVC, 1080, tbr=900), picture("b", AVC, 1080, tbr=4000)], 1080, "b"),
        ([picture("n", AVC, 720, fps=None), picture("m", AVC, 480, fps=None)], 1080, "n"),
    ],
)
def test_choice_when_formats_are_offered_then_the_one_that_costs_least_for_what_it_shows(formats, max_height, expected):
    assert chosen(formats, max_height) == expected
    assert chosen(formats[::-1], max_height) == expected


def test_choice_when_nothing_has_pictures_then_none():
    storyboard = picture("sb0", "none", 90, protocol="mhtml")
    with pytest.raises(yt_dlp.utils.ExtractorError, match="Requested format is not available"):
        chosen([SOUND, storyboard])
