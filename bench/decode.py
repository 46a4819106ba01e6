"""What decoding costs beyond the decoder: `python -m bench.decode [VIDEO] [--quick]`.

Compares, in one run and interleaved, a bare PyAV loop with our reader, with reader + analysis, and with the whole child
process that also encodes every sample as JPEG; each in a process of its own with the environment of the decoding
process (one OpenCV thread, the same allocator), its imports left out but for the child's. Then the peak memory of a
one-minute and a ten-minute synthetic clip. Prints a table, and as its last line one JSON object, and says
whether reader + analysis take more than 1.2 times the wall time of the decoder alone.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

from gim.video.analysis import VideoAnalyser
from gim.video.config import VideoConfig
from gim.video.decode import FrameSampled, sample_video
from gim.video.images import choose_form, full_luma, small_luma
from gim.video.lane import Lane
from gim.video.reader import Decoded, FrameReader
from gim.video.sampling import FrameSampler
from gim.video.sandbox import child_environment

MAX_RATIO = 1.2  # of reader + analysis over the decoder alone, wall time
_ROOT = Path(__file__).resolve().parents[1]
_DEFAULT = _ROOT.parent / "shared/data/videos/city_dashcam_60s.mp4"


def decode_bare(path: Path, threads: int) -> None:
    """The decoder alone: what PyAV's own loop costs."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "AUTO", threads
        for _ in container.decode(stream):
            pass


def decode_frames(path: Path, threads: int) -> None:
    """Our reader: time stamps scanned first, damage watched for, exact indices."""
    with FrameReader(path, path.name, VideoConfig().limits, threads=threads) as reader:
        for _ in reader:
            pass


def decode_luma(path: Path, threads: int) -> None:
    """Our reader and the small luma of every frame, in one lane."""
    with FrameReader(path, path.name, VideoConfig().limits, threads=threads) as reader:
        for decoded in reader:
            small_luma(decoded.frame)


def decode_and_analyse(path: Path, threads: int) -> None:
    """Our reader and the analyser, side by side as in the decoding process."""
    config = VideoConfig()
    lane = Lane(is_threaded=threads != 1, max_waiting=4)
    with FrameReader(path, path.name, config.limits, threads=threads) as reader:
        form = choose_form(reader.first.frame, config.sampling.max_long_side)
        analyser = VideoAnalyser(config, form.width, form.height)
        sampler = FrameSampler(reader.timeline.rate, config.sampling)
        samples = itertools.count()

        def see(decoded: Decoded, *, is_sample: bool) -> None:
            analyser.see_frame(decoded.index, decoded.time_seconds, small_luma(decoded.frame))
            if is_sample:
                luma = form.fit(full_luma(decoded.frame))
                analyser.see_sample(next(samples), decoded.index, decoded.time_seconds, luma)

        decoded = reader.first
        for decoded in reader:
            is_sample = sampler.see(decoded.time_seconds).takes_this
            lane.put(partial(see, decoded, is_sample=is_sample))
        lane.close()
        analyser.finish(decoded.index, decoded.time_seconds)


def decode_whole(path: Path, threads: int) -> None:
    """Everything: the child process, its start, analysis, JPEG encoding, and the pipe."""
    num_bytes = sum(
        len(event.jpeg)
        for event in sample_video(path, VideoConfig(), threads=threads)
        if isinstance(event, FrameSampled)
    )
    assert num_bytes > 0


STEPS: dict[str, Callable[[Path, int], None]] = {
    "decoder alone": decode_bare,
    "reader": decode_frames,
    "reader + luma": decode_luma,
    "reader + analysis": decode_and_analyse,
    "whole child, JPEG": decode_whole,
}


def time_steps(path: Path, threads: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Median wall seconds and processor seconds of every step; interleaved, so that a busy machine is fair to all."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in STEPS}
    for _ in range(repeats):
        for name in STEPS:
            seconds[name].append(time_apart(name, path, threads))
    return {
        name: (statistics.median(wall for wall, _ in values), statistics.median(busy for _, busy in values))
        for name, values in seconds.items()
    }


def time_apart(name: str, path: Path, threads: int) -> tuple[float, float]:
    """Wall and processor seconds of one step in a fresh process, so that none finds the memory another has left."""
    command = [sys.executable, "-m", "bench.decode", str(path.absolute()), "--threads", str(threads), "--step", name]
    done = subprocess.run(command, env=child_environment(), cwd=_ROOT, stdout=subprocess.PIPE, check=True)
    wall, busy = json.loads(done.stdout)
    return wall, busy


def time_step(name: str, path: Path, threads: int) -> tuple[float, float]:
    """Wall and processor seconds of one step in this process."""
    wall, busy = time.perf_counter(), processor_seconds()
    STEPS[name](path, threads)
    return time.perf_counter() - wall, processor_seconds() - busy


def processor_seconds() -> float:
    """User and system time of this process and of the children that ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def write_clip(path: Path, seconds: int) -> None:
    """A textured pan of 640x360 at 30 frames a second."""
    rng = np.random.default_rng(0)
    wide = np.empty((360, 2560, 3), np.uint8)
    cv2.resize(rng.integers(0, 256, (90, 640, 3), np.uint8), (2560, 360), wide, interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for index in range(30 * seconds):
            shift = 3 * index % 3840
            shift = min(shift, 3840 - shift)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[:, shift : shift + 640]), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def peak_memory_mib(path: Path) -> float:
    """Peak resident memory of the decoding process, and of nothing else: a process of its own measures its child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        decode_whole(path, 0)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        os.write(writing, str(peak).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as pipe:
        return float(pipe.read())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path, nargs="?", default=_DEFAULT)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="leave out the memory of long clips")
    parser.add_argument("--step", choices=STEPS, help="time this one here and print its seconds as JSON")
    options = parser.parse_args()
    if options.step:
        sys.stdout.write(json.dumps(time_step(options.step, options.video, options.threads)))
        return
    seconds = time_steps(options.video, options.threads, options.repeats)
    alone_wall, alone_busy = seconds["decoder alone"]
    result: dict[str, object] = {"video": options.video.name, "threads": options.threads, "seconds": seconds}
    result["ratio"] = {name: (wall / alone_wall, busy / alone_busy) for name, (wall, busy) in seconds.items()}
    sys.stdout.write(f"{'':20s} {'wall':>17s} {'processor':>20s}\n")
    for name, (wall, busy) in seconds.items():
        sys.stdout.write(
            f"{name:20s} {wall:8.2f} s {wall / alone_wall:6.2f}x {busy:9.2f} s {busy / alone_busy:6.2f}x\n"
        )
    if not options.quick:
        with tempfile.TemporaryDirectory() as folder:
            peaks = {}
            for minutes in (1, 10):
                clip = Path(folder) / f"{minutes}.mp4"
                write_clip(clip, 60 * minutes)
                peaks[minutes] = peak_memory_mib(clip)
                sys.stdout.write(f"peak memory, {minutes:2d} min  {peaks[minutes]:8.0f} MiB\n")
            result["peak_memory_mib"] = peaks
    measured = seconds["reader + analysis"][0] / alone_wall
    result["holds"] = measured <= MAX_RATIO
    verdict = "holds" if result["holds"] else "FALLS SHORT"
    sys.stdout.write(f"reader + analysis over the decoder alone: {measured:.2f}x, asked <= {MAX_RATIO}x: {verdict}\n")
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
