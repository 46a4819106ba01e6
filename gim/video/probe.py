"""What a video is, in one record: size as stored, rate, rotation, format. Runs inside the sandbox."""

from pathlib import Path

from gim.video.config import SamplingConfig, VideoConfig
from gim.video.images import StoredForm, choose_form
from gim.video.messages import VideoInfo
from gim.video.reader import FrameReader
from gim.video.sampling import step_frames


def probe_video(path: Path, config: VideoConfig, name: str = "") -> VideoInfo:
    """What a video is: opens it, reads its time stamps and decodes one frame.

    Raises:
        InvalidInput: it is no video that can be decoded.
        UnsafeInput: it exceeds a limit or points elsewhere.
    """
    with FrameReader(path, name or path.name, config.limits, threads=1) as reader:
        return describe_video(reader, choose_form(reader.first.frame, config.sampling.max_long_side), config.sampling)


def describe_video(reader: FrameReader, form: StoredForm, config: SamplingConfig) -> VideoInfo:
    """The record of a video that is open for decoding."""
    first, rate = reader.first.frame, reader.timeline.rate
    return VideoInfo(
        container=reader.container.format.name,
        codec=reader.stream.codec_context.name,
        pixel_format=first.format.name,
        source_width=first.width,
        source_height=first.height,
        width=form.width,
        height=form.height,
        rotation_degrees=form.orientation.rotation_degrees,
        is_mirrored=form.orientation.is_mirrored,
        sample_aspect_ratio=float(reader.stream.sample_aspect_ratio or 1),
        fps=rate.fps,
        is_variable_rate=rate.is_variable,
        num_frames_declared=reader.timeline.num_frames,
        duration_seconds=reader.timeline.duration_seconds,
        step_frames=step_frames(config, rate.fps),
        step_seconds=rate.step_seconds(config),
    )
