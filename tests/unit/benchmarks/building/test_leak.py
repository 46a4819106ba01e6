"""Training frames are found in a benchmark whatever was done to them; other pictures are not."""

from concurrent.futures import ThreadPoolExecutor

import av
import cv2
import numpy as np
import pytest

from gim import codecs
from gim.benchmarks.building.confirming import MIN_SIMILARITY, confirm_view, similarity
from gim.benchmarks.building.leak import find_leaks
from gim.benchmarks.building.signatures import find_alike, is_flat, sign_image
from gim.errors import InvalidInput
from gim.video.config import VideoConfig
from tests.synthetic import posed_pair, write_wall


def jpeg(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def cut(image, left, top, right, bottom):
    height, width = image.shape[:2]
    return image[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]


CHANGES = {
    "compressed": lambda image: jpeg(image, 30),
    "smaller": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "cropped": lambda image: cut(image, 0.08, 0.1, 0.94, 0.9),
    "brighter": lambda image: cv2.convertScaleAbs(image, alpha=1.2, beta=20),
    "tinted": lambda image: np.clip(image * np.array([1.2, 1.0, 0.8]), 0, 255).astype(np.uint8),
    "wide": lambda image: cut(image, 0, 0.12, 1, 0.88),
    "all": lambda image: jpeg(
        cv2.convertScaleAbs(cv2.resize(cut(image, 0.05, 0.04, 0.95, 0.95), None, fx=0.7, fy=0.7), alpha=0.85, beta=15),
        50,
    ),
}


@pytest.fixture(scope="module")
def pictures(shared_data):
    """Real photographs of several places, BGR, at most 640 pixels wide."""
    data = shared_data / "data"
    paths = [
        *sorted((data / "unposed" / "lund").glob("*.jp*g"))[:3],
        *sorted((data / "posed/kitti06/images").iterdir())[:31:15],
    ]
    paths += [data / "homography" / "graf" / "img1.png", data / "homography" / "dogman" / "1.png"]
    images = [cv2.imread(str(path)) for path in paths if path.is_file()]
    return [cv2.resize(image, (640, round(640 * image.shape[0] / image.shape[1]))) for image in images]


def signed(images):
    return np.stack([sign_image(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)) for image in images])


@pytest.mark.shared
@pytest.mark.parametrize("change", CHANGES)
def test_signatures_find_a_changed_picture_and_hardly_another(pictures, change):
    with ThreadPoolExecutor(1) as executor:
        found = find_alike(signed(pictures), signed([CHANGES[change](image) for image in pictures]), executor)
    pairs = {(item.index0, item.index1) for item in found}
    assert {(index, index) for index in range(len(pictures))} <= pairs
    assert len(pairs) <= 1.5 * len(pictures)  # some are of one place


@pytest.mark.shared
def test_a_closer_look_tells_the_picture_from_the_place(shared_data):
    drive = [
        codecs.decode_grey(path.read_bytes())
        for path in sorted((shared_data / "data/posed/kitti06/images").iterdir())[:5:4]
    ]
    graf = [codecs.decode_grey((shared_data / f"data/homography/graf/img{view}.png").read_bytes()) for view in (1, 3)]
    for first, other in (drive, graf):
        changed = CHANGES["all"](cv2.cvtColor(first, cv2.COLOR_GRAY2BGR))
        view = confirm_view(first)
        assert similarity(view, confirm_view(cv2.cvtColor(changed, cv2.COLOR_BGR2GRAY))) > MIN_SIMILARITY
        assert similarity(view, confirm_view(other)) < MIN_SIMILARITY


def test_distances_are_those_of_a_slow_count():
    rng = np.random.default_rng(0)
    bits0 = rng.integers(0, 2**63, (5, 3, 2), dtype=np.uint64)
    bits1 = bits0[[3, 1, 4]] ^ (np.uint64(1) << rng.integers(0, 64, (3, 3, 2), dtype=np.uint64))
    with ThreadPoolExecutor(1) as executor:
        found = {(item.index0, item.index1): item.distance for item in find_alike(bits0, bits1, executor)}
    slow = {}
    for i, j in np.ndindex(5, 3):
        ways = [(bits0[i, w], bits1[j, 0]) for w in range(3)] + [(bits0[i, 0], bits1[j, w]) for w in range(3)]
        counts = [[int(a ^ b).bit_count() for a, b in zip(*way, strict=True)] for way in ways]
        near = [sum(count) for count in counts if count[0] <= 14 and sum(count) <= 26]
        if near:
            slow[i, j] = min(near)
    assert found == slow
    assert {(3, 0), (1, 1), (4, 2)} <= set(found)


def test_nothing_but_the_same_film_is_named(tmp_path):
    pair, other = posed_pair("room", 0, gap_seconds=6.0), posed_pair("street", 0)
    (tmp_path / "bench").mkdir()
    (tmp_path / "frames").mkdir()
    bench = {"held.png": pair.image0, "clean.png": other.image0, "black.png": np.zeros((60, 80, 3), np.uint8)}
    for name, image in bench.items():
        (tmp_path / "bench" / name).write_bytes(codecs.encode_png(image))
    changed = cv2.cvtColor(CHANGES["all"](cv2.cvtColor(pair.image0, cv2.COLOR_RGB2BGR)), cv2.COLOR_BGR2RGB)
    for name, image in {"a.jpg": changed, "b.jpg": pair.image1, "c.jpg": np.zeros((60, 80, 3), np.uint8)}.items():
        (tmp_path / "frames" / name).write_bytes(codecs.encode_jpeg(image))
    report = find_leaks(tmp_path / "bench", [str(tmp_path / "frames")], VideoConfig(), threads=1)
    (leak,) = report.leaks
    assert (leak.image, leak.source, leak.frame) == ("held.png", str(tmp_path / "frames" / "a.jpg"), None)
    assert leak.similarity > MIN_SIMILARITY
    assert (report.num_images, report.num_frames, report.skipped) == (3, 3, ["black.png"])


def test_a_frame_of_a_film_is_named_with_its_time(tmp_path):
    write_wall(tmp_path / "wall.mp4")
    with av.open(str(tmp_path / "wall.mp4")) as container:
        frame = next(iter(container.decode(video=0))).to_ndarray(format="rgb24")
    (tmp_path / "bench").mkdir()
    cropped = np.ascontiguousarray(cut(frame, 0.05, 0.05, 0.95, 0.95))
    (tmp_path / "bench" / "first.png").write_bytes(codecs.encode_png(cropped))
    said: list[str] = []
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "wall.mp4").read_bytes()[:200])
    films = [str(tmp_path / name) for name in ("wall.mp4", "broken.mp4")]
    report = find_leaks(tmp_path / "bench", films, VideoConfig(), threads=1, on_unreadable=said.append)
    (leak,) = report.leaks
    assert (leak.image, leak.source, leak.frame, leak.time_seconds) == ("first.png", films[0], 0, 0.0)
    assert report.skipped == [films[1]]
    assert "broken.mp4: only 0 frames" in said[0]


def test_a_picture_of_nothing_is_like_no_other():
    assert is_flat(np.full((50, 60), 7, np.uint8))
    assert not is_flat(posed_pair("room", 0).image0[..., 0])


def test_what_cannot_be_searched_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="holds no images"):
        find_leaks(tmp_path, [], VideoConfig())
    (tmp_path / "x.png").write_bytes(codecs.encode_png(posed_pair("room", 0).image0))
    with pytest.raises(InvalidInput, match="no such file or folder"):
        find_leaks(tmp_path, [str(tmp_path / "nowhere")], VideoConfig())
