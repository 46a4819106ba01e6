"""What is read from YouTube addresses, against yt-dlp's own extractors, and what never reaches them."""

import pytest
from yt_dlp.extractor.youtube import YoutubeIE, YoutubeSearchIE, YoutubeTabIE

from gim.errors import InvalidInput
from gim.video.sources.youtube_urls import YouTubeList, YouTubeVideo, read_youtube

ID = "dQw4w9WgXcQ"
VIDEO_URLS = [
    f"https://www.youtube.com/watch?v={ID}",
    f"https://www.youtube.com/watch?feature=share&v={ID}&t=43s",
    f"https://www.youtube.com/watch?v={ID}&list=PLabcdefghijkl&index=3",
    f"http://m.youtube.com/watch?v={ID}",
    f"https://music.youtube.com/watch?v={ID}",
    f"https://youtu.be/{ID}",
    f"https://youtu.be/{ID}?si=abc",
    f"https://www.youtube.com/shorts/{ID}",
    f"https://www.youtube.com/embed/{ID}?autoplay=1",
    f"https://www.youtube-nocookie.com/embed/{ID}",
    f"https://www.youtube.com/live/{ID}",
]


@pytest.mark.parametrize("url", VIDEO_URLS)
def test_read_youtube_when_given_a_video_url_then_the_id_that_yt_dlp_reads(url):
    assert read_youtube(url, 9) == YouTubeVideo(ID)
    assert YoutubeIE.get_temp_id(url) == ID


@pytest.mark.parametrize("text", [ID, f"yt-{ID}", f"youtu.be/{ID}", f"youtube.com/watch?v={ID}", "-_-_-_-_-_-"])
def test_read_youtube_when_given_less_than_a_url_then_still_the_id(text):
    assert read_youtube(text, 9) == YouTubeVideo(ID if "_" not in text else text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (
            "https://www.youtube.com/playlist?list=PLabcdefghijkl",
            "https://www.youtube.com/playlist?list=PLabcdefghijkl",
        ),
        ("PLabcdefghijkl", "https://www.youtube.com/playlist?list=PLabcdefghijkl"),
        ("https://www.youtube.com/embed/videoseries?list=PLxyz", "https://www.youtube.com/playlist?list=PLxyz"),
        ("https://www.youtube.com/@walker", "https://www.youtube.com/@walker/videos"),
        ("https://www.youtube.com/@walker/shorts", "https://www.youtube.com/@walker/shorts"),
        ("https://www.youtube.com/@walker/featured", "https://www.youtube.com/@walker/videos"),
        ("@walker", "https://www.youtube.com/@walker/videos"),
        ("https://www.youtube.com/c/Walker/videos", "https://www.youtube.com/c/Walker/videos"),
        ("https://www.youtube.com/user/walker", "https://www.youtube.com/user/walker/videos"),
        ("UCsXVk37bltHxD1rDPwtNM8Q", "https://www.youtube.com/channel/UCsXVk37bltHxD1rDPwtNM8Q/videos"),
    ],
)
def test_read_youtube_when_given_a_list_then_an_address_yt_dlp_knows(text, address):
    assert read_youtube(text, 9) == YouTubeList(address)
    assert YoutubeTabIE.suitable(address)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ytsearch5:walk in tokyo", "ytsearch5:walk in tokyo"),
        ("ytsearch:walk", "ytsearch1:walk"),
        ("ytsearchall:walk", "ytsearch9:walk"),
        ("ytsearch9999:a\u00a0 b", "ytsearch9:a b"),
    ],
)
def test_read_youtube_when_searching_then_capped_and_known_to_yt_dlp(text, address):
    assert read_youtube(text, 9) == YouTubeList(address)
    assert YoutubeSearchIE.suitable(address)


@pytest.mark.parametrize(
    "text",
    [
        "https://www.youtube.com/watch?v=../../../etc",
        "https://www.youtube.com/watch?v=$(rm -rf /)",
        "https://www.youtube.com/watch?v=abc;reboot;",
        "https://www.youtube.com/watch?v=short",
        f"https://www.youtube.com/watch?v={ID}x",
        "https://www.youtube.com/watch?v=",
        "https://youtu.be/../../x",
        "https://youtu.be/",
        "https://www.youtube.com/shorts/..",
        "https://www.youtube.com/playlist?list=../x",
        "https://www.youtube.com/playlist?list=a`b`",
        "https://www.youtube.com/feed/subscriptions",
        "https://www.youtube.com/",
        "ytsearch5:",
        "ytsearch-1:x",
        "ytsearchdate:x",
    ],
)
def test_read_youtube_when_the_id_is_none_then_invalid(text):
    with pytest.raises(InvalidInput):
        read_youtube(text, 9)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/watch?v=" + ID,
        "https://youtube.com.evil.example/watch?v=" + ID,
        "https://evil.example/https://youtu.be/" + ID,
        "https://notyoutube.com/watch?v=" + ID,
        "../../etc",
        "$(reboot)",
        "a;b|c&d`e`",
        "walk in park",
        "clip_01.mp4",
        "",
    ],
)
def test_read_youtube_when_it_means_nothing_there_then_none(text):
    assert read_youtube(text, 9) is None
