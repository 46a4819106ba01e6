"""Makes a dataset: takes the finished results of a Store, leaves out what does not belong, fixes the rest by hashes.
Posed sets come to it from folders, their lists of pairs fixed likewise.

A pure function of the store and the settings, whatever the order in which a store lists: videos stand by id, and the
held-out ones are drawn by a hash of their id, so that a video held out of one dataset is held out of all.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from gim import codecs, keys
from gim.datasets.config import DatasetConfig
from gim.datasets.limits import described, hours_of, is_labelled_by, within_hours
from gim.datasets.manifest import (
    DatasetManifest,
    DatasetShard,
    DatasetVideo,
    ExcludedVideo,
    PosedSet,
    Split,
    dataset_id_of,
)
from gim.datasets.splits import split_of
from gim.datasets.verify import THREADS, shard_fault
from gim.errors import ConfigError, CorruptObject, InvalidInput, KeyMissing
from gim.export.selection import Condition, parse_condition
from gim.ports.store import Store
from gim.records import PairIndex, PairsManifest, Teacher, VideoMeta
from gim.weights.files import is_permissive_licence


@dataclass(frozen=True, slots=True)
class BuiltDataset:
    """What came of a build."""

    manifest: DatasetManifest
    status: Literal["built", "present", "too_small"]  # present: it was there before; too_small: nothing was stored


@dataclass(frozen=True, slots=True)
class _Taken:
    video: DatasetVideo
    teachers: tuple[Teacher, ...]
    hours: float  # of film; 0 where nobody asks


class _LeftOut(Exception):
    """A video does not belong: why, as an `ExcludedVideo` has it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)


def build_dataset(store: Store, config: DatasetConfig) -> BuiltDataset:
    """Make the dataset of these settings and store its manifest, unless it is there or has too few pairs.

    Raises:
        InvalidInput: a name, a condition or a video that makes no sense here; a video with results of several recipes
            and no choice among them; with `damaged = refuse`, a damaged one; a posed set that is not there or broken.
        ConfigError: no such posed set or benchmark.
        Unavailable: the store cannot be reached.
    """
    manifest = plan_dataset(store, config)
    if is_too_small(manifest, config):
        return BuiltDataset(manifest, "too_small")
    key = keys.dataset_manifest(manifest.dataset_id)
    is_new = store.put(key, codecs.to_json(manifest), if_absent=True)
    return BuiltDataset(manifest, "built" if is_new else "present")


def is_too_small(manifest: DatasetManifest, config: DatasetConfig) -> bool:
    """Whether there is nothing in it, or less for training than the settings ask for."""
    is_empty = not manifest.videos and not manifest.posed
    return is_empty or manifest.num_pairs + manifest.num_posed_pairs("train") < config.min_pairs


def plan_dataset(store: Store, config: DatasetConfig) -> DatasetManifest:
    """The manifest that `build_dataset` would store; nothing is written.

    Raises:
        InvalidInput, ConfigError, Unavailable: as for `build_dataset`.
    """
    if "/" in keys.validate_key(config.name):
        raise InvalidInput(f"dataset {config.name!r}: a name has no slash")
    posed = _planned_sets(config)
    conditions = [parse_condition(text) for text in config.where]
    chosen = [] if config.posed_only else _chosen_results(store, config)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="dataset") as executor:
        found = list(executor.map(lambda result: _consider(store, config, conditions, *result), chosen))
    found, clear_of = _without_leaks(store, config, found)
    found = _within_hours(config, found)
    taken = [item for item in found if isinstance(item, _Taken)]
    videos = [item.video for item in taken]
    teachers = {codecs.to_json(teacher): teacher for item in taken for teacher in item.teachers}
    counts: Counter[Split] = Counter()
    for video in videos:
        counts[video.split] += video.num_pairs
    manifest = DatasetManifest(
        dataset_id="",
        name=config.name,
        where=tuple(sorted({f"{item.field}{item.sign}{item.value!r}" for item in conditions})),
        permissive_only=config.permissive_only,
        held_out_share=config.held_out_share,
        held_out_seed=config.held_out_seed,
        num_pairs=counts["train"],
        num_held_out_pairs=counts["held_out"],
        recipe_ids=sorted({video.recipe_id for video in videos}),
        teachers=tuple(teacher for _, teacher in sorted(teachers.items())),
        videos=videos,
        excluded=[item for item in found if isinstance(item, ExcludedVideo)],
        posed=posed,
        clear_of=clear_of,
    )
    return dataclasses.replace(manifest, dataset_id=dataset_id_of(manifest))


def _planned_sets(config: DatasetConfig) -> list[PosedSet]:
    """The posed sets of the settings, by name."""
    if not config.posed:
        return []
    # Its readers of foreign formats are slow to load, and not needed without them.
    from gim.datasets.posed import parse_posed, plan_posed_set  # noqa: PLC0415

    requests = sorted((parse_posed(text) for text in config.posed), key=lambda request: request.name)
    for first, second in pairwise(requests):
        if first.name == second.name:
            raise ConfigError(f"two posed sets are called {first.name!r}: give one of them another by name=...")
    share, seed = config.held_out_share, config.held_out_seed
    return [
        plan_posed_set(request, config.posed_roots, held_out_share=share, held_out_seed=seed) for request in requests
    ]


def _without_leaks(
    store: Store, config: DatasetConfig, found: list["_Taken | ExcludedVideo"]
) -> tuple[list["_Taken | ExcludedVideo"], tuple[str, ...]]:
    """What was found, videos that show an image of a benchmark left out; and the benchmarks' ids."""
    if not config.keep_clear_of:
        return found, ()
    from gim.datasets.leakage import find_leaked_videos  # noqa: PLC0415 - as above

    taken = [item.video for item in found if isinstance(item, _Taken)]
    search = find_leaked_videos(store, [(video.video_id, video.recipe_id) for video in taken], config.keep_clear_of)
    details = {unseen.video_id: f"cannot be compared: {unseen.why}" for unseen in search.unseen}
    details |= {leak.video_id: leak.detail for leak in search.leaked}
    return [
        ExcludedVideo(item.video.video_id, item.video.recipe_id, "leak", details[item.video.video_id])
        if isinstance(item, _Taken) and item.video.video_id in details
        else item
        for item in found
    ], search.benchmark_ids


def _within_hours(config: DatasetConfig, found: list["_Taken | ExcludedVideo"]) -> list["_Taken | ExcludedVideo"]:
    """What was found, without the videos that are beyond `max_hours`."""
    if not config.max_hours:
        return found
    hours = {item.video.video_id: item.hours for item in found if isinstance(item, _Taken)}
    chosen = within_hours(hours, config.max_hours, config.held_out_seed)
    return [
        ExcludedVideo(item.video.video_id, item.video.recipe_id, "hours", f"beyond {config.max_hours:g} hours of film")
        if isinstance(item, _Taken) and item.video.video_id not in chosen
        else item
        for item in found
    ]


def _chosen_results(store: Store, config: DatasetConfig) -> list[tuple[str, str]]:
    """The (video id, recipe id) to consider, by video; no recipe id: the video has none of those asked for."""
    recipes: dict[str, list[str]] = {}
    for key in store.list("pairs/"):
        parts = key.split("/")
        if len(parts) == 4 and parts[3] == "manifest.json":
            recipes.setdefault(parts[1], []).append(parts[2])
    wanted = sorted(set(config.videos) or recipes)
    for video_id in wanted:
        if keys.validate_video_id(video_id) not in recipes:
            raise InvalidInput(f"{video_id} has no finished result in this store; see `gim ls`")
    # A purged video is not even named: nothing of it is to be found but the record of its purge.
    there = [video_id for video_id in wanted if not store.exists(keys.purge_mark(video_id))]
    if config.matchers:
        recipes = {
            video_id: [name for name in recipes[video_id] if is_labelled_by(store, video_id, name, config.matchers)]
            for video_id in there
        }
    return [(video_id, _recipe_of(video_id, sorted(recipes[video_id]), config.recipes)) for video_id in there]


def _recipe_of(video_id: str, there: Sequence[str], preferred: Sequence[str]) -> str:
    """The one result of a video that is taken."""
    for wanted in preferred or [""]:
        found = [recipe_id for recipe_id in there if wanted in ("", recipe_id, recipe_id.rpartition("-")[0])]
        if len(found) > 1:
            raise InvalidInput(
                f"{video_id} has results of {len(found)} recipes, {', '.join(found)}: choose by dataset.recipes, "
                "the preferred one first"
            )
        if found:
            return found[0]
    return ""


def _consider(
    store: Store, config: DatasetConfig, conditions: Sequence[Condition], video_id: str, recipe_id: str
) -> _Taken | ExcludedVideo:
    """What one video brings, or why it stays out."""
    try:
        if not recipe_id:
            raise _LeftOut("recipe", described(config.recipes, config.matchers))
        return _take(store, config, conditions, video_id, recipe_id)
    except _LeftOut as left_out:
        reason, detail = left_out.args
    except (CorruptObject, KeyMissing) as error:
        reason, detail = "damaged", str(error)
    if reason == "damaged" and config.damaged == "refuse":
        raise InvalidInput(f"{video_id}, {recipe_id}: {detail}; see `gim reconcile --verify`")
    return ExcludedVideo(video_id, recipe_id, reason, detail)


def _take(
    store: Store, config: DatasetConfig, conditions: Sequence[Condition], video_id: str, recipe_id: str
) -> _Taken:
    result = codecs.from_json(PairsManifest, store.get(keys.pairs_manifest(video_id, recipe_id)))
    if (result.video_id, result.recipe_id) != (video_id, recipe_id):
        raise _LeftOut("damaged", f"its manifest speaks of {result.video_id}, {result.recipe_id}")
    if not result.num_pairs:
        raise _LeftOut("no_pairs", result.rejected)
    if not store.exists(keys.video_meta(video_id)):
        raise _LeftOut("no_meta", "the store does not know where it came from")
    meta = codecs.from_json(VideoMeta, store.get(keys.video_meta(video_id)))
    if config.permissive_only and (obstacle := _obstacle(result)):
        raise _LeftOut("licence", obstacle)
    shards = _wanted_shards(store, result, conditions)
    if not shards:
        raise _LeftOut("conditions", f"none of {result.num_pairs} pairs meets them")
    for shard in shards:
        if fault := shard_fault(store, shard, config.verify):
            raise _LeftOut("damaged", fault)
    origin = meta.provenance
    return _Taken(
        DatasetVideo(
            video_id=video_id,
            recipe_id=recipe_id,
            split=split_of(video_id, config.held_out_share, config.held_out_seed),
            sha256=meta.sha256,
            licence=origin.licence,
            licence_from=origin.licence_from,
            uploader=origin.uploader,
            source=origin.resolved,
            num_pairs=sum(shard.num_pairs for shard in shards),
            shards=shards,
        ),
        result.teachers,
        hours_of(store, video_id, result.sampling_id) if config.max_hours else 0.0,
    )


def _wanted_shards(store: Store, result: PairsManifest, conditions: Sequence[Condition]) -> list[DatasetShard]:
    """The shards with a pair that meets all conditions, in order."""
    index = codecs.from_json(PairIndex, store.get(keys.pairs_index(result.video_id, result.recipe_id)))
    stored = Counter(entry.shard for entry in index.pairs)
    wanted = Counter(
        entry.shard for entry in index.pairs if all(condition.holds(entry.quality) for condition in conditions)
    )
    listed = {number: shard.num_pairs for number, shard in enumerate(result.shards)}
    expected_keys = [keys.pairs_shard(result.video_id, result.recipe_id, number) for number in listed]
    is_own = (index.video_id, index.recipe_id) == (result.video_id, result.recipe_id)
    if not is_own or stored != listed or [shard.key for shard in result.shards] != expected_keys:
        raise _LeftOut("damaged", "its index and its manifest disagree")
    return [
        DatasetShard(shard.key, shard.sha256, shard.num_bytes, wanted[number], shard.num_pairs)
        for number, shard in enumerate(result.shards)
        if wanted[number]
    ]


def _obstacle(result: PairsManifest) -> str:
    """Whose licence is in the way of any use of a result's labels; empty when nobody's is."""
    if len(result.teachers) != len(result.matcher_ids):
        return "which weights its labels were made with was not recorded"
    for teacher in result.teachers:
        if not is_permissive_licence(teacher.licence):
            return f"matcher {teacher.matcher}: {teacher.licence}"
        for weights in (*teacher.weights, *teacher.segmenter_weights):
            if not is_permissive_licence(weights.licence):
                return f"weights {weights.name}: {weights.licence}"
    return ""
