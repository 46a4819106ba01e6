"""Cuts, fades and dissolves: our splitter against PySceneDetect, on films joined from real clips with known joins.

    python bench/shots.py ../shared/data [--films 30] [--seed 0]

PySceneDetect is run where it can be imported; it is no dependency of ours (it pulls an OpenCV that needs libGL).
Every clip of the sample data is one shot: whatever is found inside them is a false alarm. Every second film
carries a logo.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np

from gim.records import Uint8Array
from gim.video.analysis import VideoAnalyser
from gim.video.config import VideoConfig
from gim.video.motion import TRANSITION

SIZE = (320, 180)
TOLERANCE = 3  # frames
Detector = Callable[[Path], tuple[list[tuple[int, int]], float]]


@dataclass
class Film:
    path: Path
    joins: list[tuple[str, int, int]] = field(default_factory=list)  # kind, last clean frame before, first after


def read_windows(data: Path, rng: np.random.Generator, length: int = 150) -> list[Uint8Array]:
    """One random window of each dense clip, [length, h, w, 3]."""
    windows = []
    for path in sorted(data.glob("**/*.mp4")):
        if "fps" in path.stem or "static" in path.stem or "odd" in path.parts:
            continue
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            start = int(rng.integers(0, max(stream.frames - length, 1)))
            frames = []
            for index, frame in enumerate(container.decode(stream)):
                if start <= index < start + length:
                    frames.append(cv2.resize(frame.to_ndarray(format="rgb24"), SIZE, interpolation=cv2.INTER_AREA))
                if index >= start + length:
                    break
            windows.append(np.stack(frames))
    return windows


def join(windows: list[Uint8Array], rng: np.random.Generator, num_segments: int = 6) -> tuple[Uint8Array, list]:
    """Concatenate random pieces by random joins."""
    order = rng.choice(len(windows), num_segments, replace=False)
    film, joins = None, []
    for place in order:
        piece = windows[place]
        length = int(rng.integers(40, 110))
        start = int(rng.integers(0, max(len(piece) - length, 1)))
        piece = piece[start : start + length].astype(np.float32)
        if film is None:
            film = piece
            continue
        kind = str(rng.choice(["cut", "cut", "dissolve", "fade"]))
        size = int(rng.integers(8, 37))
        size = min(size, len(piece) // 2, len(film) // 2)
        if kind == "cut":
            joins.append((kind, len(film) - 1, len(film)))
            film = np.concatenate([film, piece])
        elif kind == "dissolve":
            share = ((np.arange(size) + 1) / (size + 1))[:, None, None, None].astype(np.float32)
            mixed = (1 - share) * film[-size:] + share * piece[:size]
            joins.append((kind, len(film) - size - 1, len(film)))
            film = np.concatenate([film[:-size], mixed, piece[size:]])
        else:
            colour = float(rng.choice([0.0, 0.0, 255.0]))
            share = ((np.arange(size) + 1) / size)[:, None, None, None].astype(np.float32)
            film[-size:] = film[-size:] * (1 - share) + colour * share
            piece[:size] = piece[:size] * share + colour * (1 - share)
            joins.append((kind, len(film) - size - 1, len(film) + size))
            film = np.concatenate([film, piece])
    return film.round().astype(np.uint8), joins


def write(path: Path, frames: Uint8Array) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = SIZE[0], SIZE[1], "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def grey_frames(path: Path) -> Iterator[tuple[int, float, Uint8Array]]:
    with av.open(str(path)) as container:
        start = None
        for index, frame in enumerate(container.decode(video=0)):
            start = frame.time if start is None else start
            yield index, frame.time - start, frame.to_ndarray(format="gray")


def our_breaks(path: Path) -> tuple[list[tuple[int, int]], float]:
    """(last frame before, first frame after) of every boundary, and seconds of analysis."""
    analyser, step, sample, seconds = None, 1, 0, 0.0
    with av.open(str(path)) as container:
        step = max(1, round(0.2 * float(container.streams.video[0].average_rate)))
    for index, moment, grey in grey_frames(path):
        analyser = analyser or VideoAnalyser(VideoConfig(), grey.shape[1], grey.shape[0])
        stride = max(1, round(grey.shape[1] / 160))
        luma = np.ascontiguousarray(grey[stride // 2 :: stride, stride // 2 :: stride])
        begin = time.perf_counter()
        analyser.see_frame(index, moment, luma)
        if index % step == 0:
            analyser.see_sample(sample, index, moment, grey)
            sample += 1
        seconds += time.perf_counter() - begin
    shots = [shot for shot in analyser.finish(index, moment) if shot.rejected not in (TRANSITION, "blank")]
    return [(one.last_frame, other.first_frame) for one, other in pairwise(shots)], seconds


def scene_detect_breaks(path: Path, name: str) -> tuple[list[tuple[int, int]], float]:
    from scenedetect import AdaptiveDetector, ContentDetector, SceneManager, ThresholdDetector, open_video

    detectors = {
        "content": [ContentDetector()],
        "adaptive": [AdaptiveDetector()],
        "content+threshold": [ContentDetector(), ThresholdDetector()],
        "adaptive+threshold": [AdaptiveDetector(), ThresholdDetector()],
    }
    manager = SceneManager()
    for detector in detectors[name]:
        manager.add_detector(detector)
    begin = time.perf_counter()
    manager.detect_scenes(open_video(str(path), backend="pyav"))
    seconds = time.perf_counter() - begin
    scenes = manager.get_scene_list()
    return [(scene[0].frame_num - 1, scene[0].frame_num) for scene in scenes[1:]], seconds


def score(found: list[tuple[int, int]], joins: list[tuple[str, int, int]]) -> dict[str, int]:
    """Counts of joins and hits by kind, and of false alarms."""
    counts: dict[str, int] = {"found": len(found), "false": 0}
    used = set()
    for kind, last, first in joins:
        counts[kind] = counts.get(kind, 0) + 1
        hits = [i for i, (a, b) in enumerate(found) if a <= first + TOLERANCE and b >= last - TOLERANCE]
        counts[f"{kind}_hit"] = counts.get(f"{kind}_hit", 0) + bool(hits)
        used.update(hits)
    counts["false"] = len(found) - len(used)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--films", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the films and their truth")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        films = make_films(arguments.data, folder, rng, arguments.films)
        clips = [Film(p) for p in sorted(arguments.data.glob("**/*.mp4")) if "odd" not in p.parts]
        report("ours", films, clips, our_breaks)
        try:
            import scenedetect  # noqa: F401
        except ImportError:
            print("PySceneDetect is not installed here; only ours is shown")
            return
        for name in ("content", "adaptive", "content+threshold", "adaptive+threshold"):
            report(name, films, clips, lambda path, name=name: scene_detect_breaks(path, name))


def make_films(data: Path, folder: Path, rng: np.random.Generator, number: int) -> list[Film]:
    windows = read_windows(data, rng)
    films = []
    for i in range(number):
        frames, joins = join(windows, rng)
        if i % 2:  # a logo that lies over every cut of the film
            for frame in frames:
                cv2.putText(frame, "CHANNEL 4", (10, 25), cv2.FONT_HERSHEY_DUPLEX, 0.6, (255, 255, 255), 1)
        film = Film(folder / f"film{i:03d}.mp4", joins)
        write(film.path, frames)
        film.path.with_suffix(".json").write_text(json.dumps(joins))
        films.append(film)
    return films


def report(name: str, films: list[Film], clips: list[Film], detect: Detector) -> None:
    total: dict[str, int] = {}
    for film in films:
        for key, value in score(detect(film.path)[0], film.joins).items():
            total[key] = total.get(key, 0) + value
    alarms = {clip.path.stem: len(found) for clip in clips if (found := detect(clip.path)[0])}
    recalls = " ".join(f"{k} {total.get(k + '_hit', 0)}/{total.get(k, 0)}" for k in ("cut", "dissolve", "fade"))
    precision = 1 - total["false"] / max(total["found"], 1)
    print(
        f"{name:20s} recall: {recalls}  precision {precision:.3f}  false in real clips {sum(alarms.values())} {alarms}"
    )


if __name__ == "__main__":
    main()
