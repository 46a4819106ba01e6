"""The data card of a run: what its weights were trained on, from whom, on which terms, and what it lacks."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gim import codecs, keys
from gim.datasets.manifest import DatasetManifest, DatasetVideo
from gim.errors import CorruptObject, KeyMissing
from gim.ports.store import Store
from gim.records import FrameManifest, PairsManifest, TeacherWeights
from gim.training.publishing.markdown import code, facts, page, plain, table, value

_SPLITS = {"train": "training", "held_out": "held out"}
_HOUR_SECONDS = 3600.0
_LEFT_OUT = {
    "recipe": "has none of the recipes asked for",
    "no_pairs": "its result holds no pairs",
    "no_meta": "the store does not know where it came from",
    "licence": "a matcher, its weights or its segmenter's are not permissive, or nobody recorded them",
    "conditions": "none of its pairs meets the conditions",
    "damaged": "a part is missing, or not what its manifest says",
    "leak": "shows an image of a benchmark, or cannot be compared with it",
}


@dataclass(frozen=True, slots=True)
class VideoLength:
    """How long a video was looked at, and how it was sampled."""

    seconds: float
    width: int
    height: int


def video_lengths(store: Store, dataset: DatasetManifest) -> dict[str, VideoLength]:
    """Lengths by video id of those whose frames' manifest is still in the store."""
    found = {}
    for video in dataset.videos:
        try:
            key = keys.pairs_manifest(video.video_id, video.recipe_id)
            result = codecs.from_json(PairsManifest, store.get(key))
            key = keys.frame_manifest(video.video_id, result.sampling_id)
            frames = codecs.from_json(FrameManifest, store.get(key))
        except (KeyMissing, CorruptObject):
            continue
        found[video.video_id] = VideoLength(frames.duration_seconds, frames.width, frames.height)
    return found


def data_card(dataset: DatasetManifest, lengths: Mapping[str, VideoLength] | None = None) -> str:
    """The card of a dataset, Markdown. The same records make the same bytes.

    Args:
        dataset: its manifest.
        lengths: of its videos, by id; hours are left out where one is missing.
    """
    lengths = lengths or {}
    return page(
        f"# Data card: {plain(dataset.dataset_id)}",
        "Pairs of frames of videos with pixels that show the same point, found by image matchers and carried on along "
        "each video (GIM, arXiv 2402.11095)"
        + (", and posed images." if dataset.posed else ".")
        + " Nobody has looked at every label.",
        facts(_numbers(dataset, lengths)),
        "## Videos" if dataset.videos else "",
        table(("video", "part", "pairs", "length", "size", "recipe", "licence", "from"), _videos(dataset, lengths)),
        "Licences are given as stated where each video was found. `local` is a file of whoever made the dataset, and "
        "`unknown` one of which nothing was stated: neither says what others may do with it."
        if dataset.videos
        else "",
        "## Who labelled" if dataset.teachers else "",
        table(("matcher", "licence of its code", "weights, and their licences"), _teachers(dataset)),
        "## Posed sets" if dataset.posed else "",
        table(("set", "layout", "scenes", "pairs for training", "held out", "options"), _posed(dataset)),
        "Whoever publishes a posed set states its licence; it is not recorded here." if dataset.posed else "",
        "## Held out",
        _held_out(dataset),
        "## Left out",
        table(("reason", "meaning", "videos"), _reasons(dataset)) or "Nothing was left out.",
        "\n".join(f"- {code(item.video_id)}: {item.reason}, {plain(item.detail)}" for item in dataset.excluded),
        "## Known limits",
        "\n".join(f"- {line}" for line in _limits(dataset)),
    )


def _numbers(dataset: DatasetManifest, lengths: Mapping[str, VideoLength]) -> dict[str, str]:
    parts = {split: [video for video in dataset.videos if video.split == split] for split in _SPLITS}
    rows = {
        shown: f"{_counted(parts[split])}, {_hours(parts[split], lengths)}{_pairs(parts[split])} pairs"
        for split, shown in _SPLITS.items()
        if parts[split]
    }
    posed = {
        f"{shown}, posed": f"{dataset.num_posed_pairs(split):,} pairs"  # type: ignore[arg-type]
        for split, shown in _SPLITS.items()
        if dataset.posed
    }
    return {
        "dataset": code(dataset.dataset_id),
        **rows,
        **posed,
        "recipes": ", ".join(map(code, dataset.recipe_ids)),
        "conditions on pairs": ", ".join(map(code, dataset.where)),
        "permissive matchers only": "yes" if dataset.permissive_only else "no",
        "kept clear of": ", ".join(map(code, dataset.clear_of)),
    }


def _hours(videos: list[DatasetVideo], lengths: Mapping[str, VideoLength]) -> str:
    if any(video.video_id not in lengths for video in videos):
        return ""
    seconds = sum(lengths[video.video_id].seconds for video in videos)
    return f"{seconds / _HOUR_SECONDS:.2f} hours, " if seconds >= _HOUR_SECONDS else f"{seconds / 60:.1f} minutes, "


def _counted(videos: list[DatasetVideo]) -> str:
    return "1 video" if len(videos) == 1 else f"{len(videos)} videos"


def _pairs(videos: list[DatasetVideo]) -> str:
    return f"{sum(video.num_pairs for video in videos):,}"


def _videos(dataset: DatasetManifest, lengths: Mapping[str, VideoLength]) -> Iterator[tuple[str, ...]]:
    for video in dataset.videos:
        length = lengths.get(video.video_id)
        stated = (
            f"{plain(video.licence)}, says the {plain(video.licence_from)}" if video.licence_from else video.licence
        )
        origin = ", ".join(filter(None, (plain(video.uploader), plain(video.source)))) or "a local file"
        yield (
            code(video.video_id),
            _SPLITS[video.split],
            f"{video.num_pairs:,}",
            f"{length.seconds:.1f} s" if length else "",
            f"{length.width} x {length.height}" if length else "",
            code(video.recipe_id),
            stated,
            origin,
        )


def _teachers(dataset: DatasetManifest) -> Iterator[tuple[str, ...]]:
    for teacher in dataset.teachers:
        cells = [_weights(item) for item in teacher.weights] or ["nothing was learned"]
        if teacher.segmenter:
            named = ", ".join(map(_weights, teacher.segmenter_weights)) or "no weights"
            cells.append(f"what moves was hidden by {plain(teacher.segmenter)} ({named})")
        yield code(teacher.matcher), plain(teacher.licence), "; ".join(cells)


def _weights(item: TeacherWeights) -> str:
    known = f" {code(item.sha256[:12])}" if item.sha256 else ""
    return f"{plain(item.name)}{known}: {plain(item.licence)}"


def _posed(dataset: DatasetManifest) -> Iterator[tuple[str, ...]]:
    for item in dataset.posed:
        counts = [f"{item.num_pairs(split):,}" for split in ("train", "held_out")]
        options = ", ".join(f"{name} {value(option)}" for name, option in item.options.items())
        yield code(item.name), item.kind, str(len(item.scenes)), *counts, options


def _held_out(dataset: DatasetManifest) -> str:
    share = f"{dataset.held_out_share:.0%}"
    return (
        f"Whole videos{' and scenes' if dataset.posed else ''}, never pairs of one. A hash of its id and of the seed "
        f"{dataset.held_out_seed} decides, for {share} of all possible ids. Here these are "
        f"{sum(video.split == 'held_out' for video in dataset.videos)} of {len(dataset.videos)} videos, with "
        f"{dataset.num_held_out_pairs:,} pairs. Training reads none of them; checkpoints may have been chosen by them."
    )


def _reasons(dataset: DatasetManifest) -> Iterator[tuple[str, ...]]:
    for reason, number in sorted(Counter(item.reason for item in dataset.excluded).items()):
        yield code(reason), _LEFT_OUT[reason], str(number)


def _limits(dataset: DatasetManifest) -> Iterator[str]:
    if dataset.videos:
        yield (
            "Labels are what matchers agree on. What they cannot see (repeated patterns, large turns of the camera, "
            "little light) is rare in them, and what they see wrongly may have been learned."
        )
        yield "Labels are not spread evenly over an image, and most pairs are of frames of one shot."
    unstated = sum(video.licence in ("local", "unknown", "") for video in dataset.videos)
    if unstated:
        yield f"Nobody states the licence of {unstated} of the {_counted(dataset.videos)}."
    if len(dataset.videos) > 1:
        yield "Two videos may show one place; videos are held out by their ids, and places are not."
    if dataset.clear_of:
        yield "Videos that show an image of the benchmarks above were left out. Their places, seen otherwise, were not."
    elif dataset.videos:
        yield "The videos were not compared with the images of any benchmark."
    if dataset.videos and not dataset.num_held_out_pairs:
        yield "No video is held out."
