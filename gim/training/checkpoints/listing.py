"""Which checkpoints a run has, which of them stay, and how one goes: the manifest first, so that none is ever half.

A checkpoint without a manifest does not exist: it is half-written or half-deleted, and is cleared away. No torch here.
"""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress

from gim import codecs, keys
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.ports.store import Store
from gim.records import CheckpointManifest, CheckpointScore

_OWN = re.compile(r"(\d{8})/(state/.+|weights/.+|score\.json|manifest\.json)")  # other objects are let alone
_MANIFEST = "manifest.json"


def latest(store: Store, run_id: str) -> int | None:
    """The step of the newest checkpoint of a run; None where there is none."""
    return max(stored_steps(store, run_id), default=None)


def check_new(store: Store, run_id: str) -> None:
    """Refuse to begin a run that has checkpoints.

    Raises:
        InvalidInput: it has; the message names the newest.
    """
    if (step := latest(store, run_id)) is not None:
        raise InvalidInput(
            f"run {run_id} has checkpoints, the newest of step {step}: go on with --resume, "
            "or give the run another name"
        )


def stored_steps(store: Store, run_id: str) -> list[int]:
    """Steps of the checkpoints that are there whole, ascending."""
    return sorted(step for step, names in _objects(store, run_id).items() if _MANIFEST in names)


def read_manifest(store: Store, run_id: str, step: int) -> CheckpointManifest:
    """What a checkpoint consists of.

    Raises:
        KeyMissing: there is no such checkpoint.
        CorruptObject: the manifest is damaged, or speaks of another checkpoint.
    """
    key = keys.checkpoint_manifest(run_id, step)
    try:
        manifest = codecs.from_json(CheckpointManifest, store.get(key))
    except CorruptObject as error:
        raise CorruptObject(f"{key}: {error}") from error
    if (manifest.run_id, manifest.step) != (run_id, step):
        raise CorruptObject(f"{key}: is of step {manifest.step} of run {manifest.run_id}")
    return manifest


def stored_scores(store: Store, run_id: str, steps: Collection[int]) -> dict[int, float]:
    """Scores of those of the checkpoints that have one; a damaged one is none."""
    scores = {}
    for step in steps:
        with suppress(KeyMissing, CorruptObject):
            data = store.get(keys.checkpoint_score(run_id, step))
            scores[step] = codecs.from_json(CheckpointScore, data).value
    return scores


def put_score(store: Store, run_id: str, score: CheckpointScore) -> None:
    """Write down beside a checkpoint how good it is; its manifest stays as it is."""
    if store.exists(keys.checkpoint_manifest(run_id, score.step)):
        store.put(keys.checkpoint_score(run_id, score.step), codecs.to_json(score))


def steps_to_keep(steps: Collection[int], scores: Mapping[int, float], *, last: int, best: int) -> set[int]:
    """The newest `last` and the `best` of highest score (of equal ones the later); the very newest in any case."""
    newest_first = sorted(steps, reverse=True)
    by_score = sorted((step for step in newest_first if step in scores), key=lambda step: (-scores[step], -step))
    return {*newest_first[: max(last, 1)], *by_score[: max(best, 0)]}


def delete_checkpoint(store: Store, run_id: str, step: int) -> None:
    """Remove a checkpoint: at no moment is it there in part. One that is not there is no error."""
    store.delete(keys.checkpoint_manifest(run_id, step))
    _delete_objects(store, run_id, step, _objects(store, run_id).get(step, []))


def clear_leftovers(store: Store, run_id: str) -> list[int]:
    """Remove what is left of checkpoints without a manifest.

    Returns:
        Their steps, ascending.
    """
    left = {step: names for step, names in _objects(store, run_id).items() if _MANIFEST not in names}
    for step, names in left.items():
        _delete_objects(store, run_id, step, names)
    return sorted(left)


def _objects(store: Store, run_id: str) -> dict[int, list[str]]:
    """Names of a run's objects by step, of those that checkpoints consist of."""
    prefix = keys.checkpoints_prefix(run_id)
    objects: dict[int, list[str]] = {}
    for key in store.list(prefix):
        if found := _OWN.fullmatch(key.removeprefix(prefix)):
            objects.setdefault(int(found[1]), []).append(found[2])
    return objects


def _delete_objects(store: Store, run_id: str, step: int, names: Collection[str]) -> None:
    for name in names:
        store.delete(keys.checkpoint_prefix(run_id, step) + name)
