"""Plain words for the codes a run leaves behind: reasons, what to do about them, and one sentence per video."""

from collections import Counter
from dataclasses import dataclass

from gim.report.results import VideoResult


@dataclass(frozen=True, slots=True)
class Reason:
    """A code in words."""

    text: str
    advice: str = ""


_DENSER = "Sample more densely, for instance --set sampling.interval_seconds=0.1."
_REASONS = {
    # shots, see gim.video.motion
    "static_camera": Reason(
        "the camera does not move",
        "Pairs need a camera that travels. If it does, only slowly, sample further apart, for instance "
        "--set sampling.interval_seconds=1.",
    ),
    "freeze": Reason("the same picture again and again", "Nothing can be learned from a still picture."),
    "slides": Reason("slides or stills, not film", "Nothing can be learned from still pictures."),
    "screen_recording": Reason("a screen recording", "Nothing can be learned from flat graphics."),
    "blank": Reason("nothing to see: one colour", "Leave this part out with --trim-start and --trim-end."),
    "short_shot": Reason("the shot is too short", _DENSER),
    "transition": Reason("a fade between two shots"),
    "no_samples": Reason("no frame was sampled", _DENSER),
    # base pairs, see gim.labels.pairing
    "too_few_matches": Reason(
        "the frames have too few matches", f"The frames share too little texture, or lie too far apart. {_DENSER}"
    ),
    "too_few_inliers": Reason(
        "too few matches agree on one geometry", f"Blur, moving objects or repeated texture. {_DENSER}"
    ),
    # chains, see gim.labels.chains and gim.stages.propagate
    "shot_end": Reason("the shot ends"),
    "missing_label": Reason("no base label where one is needed", _DENSER),
    "too_few_links": Reason("too few points could be followed further", _DENSER),
    "no_fit": Reason("the points agree on no geometry", _DENSER),
    "max_interval": Reason("the longest allowed interval is reached"),
    "no_motion": Reason("the image hardly moves between the frames"),
    "too_near": Reason("only frames nearer than the smallest interval correspond", _DENSER),
    "too_few_kept": Reason("too few correspondences after the last fit", _DENSER),
    # structure from motion, see gim.stages.colmap_labels
    "no_model": Reason("no model could be reconstructed of the clip"),
    "not_registered": Reason("the frame is not in the model"),
    "too_few_shared": Reason("no later frame shares enough points of the model"),
    "shared_no_more": Reason("frames further on share too few points of the model"),
    "left_out": Reason("a clip is reconstructed from fewer frames"),
}


def reason_of(code: str) -> Reason:
    """The words for a code; an unknown code speaks for itself."""
    return _REASONS.get(code) or Reason(code.replace("_", " ") or "the run gives no reason")


def plural(count: int, noun: str) -> str:
    """`1 pair`, `1,234 pairs`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """`3.2 s`, `1 min 03 s`, `2 h 05 min`."""
    whole = round(seconds)
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def what_happened(result: VideoResult) -> str:
    """One sentence: what was sampled, used and rejected, what was kept and how far it reaches."""
    frames = result.frames
    used = [shot for shot in frames.shots if not shot.rejected]
    parts = [f"{plural(len(frames.frame_indices), 'frame')} sampled", f"{plural(len(used), 'shot')} used"]
    rejected: dict[str, int] = {}
    for shot in frames.shots:
        if shot.rejected:
            rejected[shot.rejected] = rejected.get(shot.rejected, 0) + 1
    if rejected:
        why = ", ".join(_counted(reason_of(code).text, count, len(rejected)) for code, count in rejected.items())
        parts.append(f"{sum(rejected.values()):,} rejected ({why})")
    sentence = ", ".join(parts)
    if result.pairs is None or result.pairs.num_pairs == 0:
        return f"{sentence}; no pairs kept."
    kept = plural(result.pairs.num_pairs, "pair")
    reach = max((entry.quality.interval_seconds for entry in result.index.pairs), default=0.0) if result.index else 0.0
    return f"{sentence}; {kept} kept, reaching {duration(reach)}."


def _counted(text: str, count: int, kinds: int) -> str:
    return text if kinds == 1 else f"{text}: {count:,}"


def main_loss(result: VideoResult) -> str:
    """The code of what took the most from a video of which nothing was kept; empty when the run does not say."""
    if result.rejected or result.pairs is None:
        return result.rejected
    funnel = result.pairs.funnel
    losses: Counter[str] = Counter(funnel.starts_rejected)
    for reasons in funnel.pairs_rejected.values():
        losses.update(reasons)
    return min(losses, key=lambda code: (-losses[code], code), default="")
