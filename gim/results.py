"""Which finished results a store holds: one for every video and recipe whose pairs manifest was written."""

from collections.abc import Iterator, Sequence

from gim import codecs, keys
from gim.errors import InvalidInput
from gim.ports.store import Store
from gim.records import PairsManifest


def find_results(store: Store, video_ids: Sequence[str] = (), recipe_id: str | None = None) -> list[PairsManifest]:
    """The finished results of these videos, in the order given and by recipe.

    Args:
        store: where runs have written.
        video_ids: empty takes every video of the store.
        recipe_id: takes only the results of one recipe.

    Raises:
        InvalidInput: a video that was named, or the whole store, has no such result.
    """
    found: list[PairsManifest] = []
    for video_id in dict.fromkeys(video_ids):
        own = list(results_of(store, keys.validate_video_id(video_id), recipe_id))
        if not own:
            raise InvalidInput(f"{video_id} has no finished result{_of(recipe_id)} in this store; see `gim ls`")
        found += own
    if not video_ids:
        found = [result for video_id in _video_ids(store) for result in results_of(store, video_id, recipe_id)]
    if not found:
        raise InvalidInput(f"the store holds no finished result{_of(recipe_id)}: run `gim run` first")
    return found


def results_of(store: Store, video_id: str, recipe_id: str | None = None) -> Iterator[PairsManifest]:
    """The finished results of one video, by recipe; of one recipe, if given."""
    for key in list(store.list(keys.pairs_prefix(video_id))):
        recipe = key.removeprefix(keys.pairs_prefix(video_id)).removesuffix("/manifest.json")
        if key == f"{keys.pairs_prefix(video_id)}{recipe}/manifest.json" and recipe_id in (None, recipe):
            yield codecs.from_json(PairsManifest, store.get(key))


def one_of_each_video(results: Sequence[PairsManifest]) -> list[PairsManifest]:
    """The same results, when no video has two.

    Raises:
        InvalidInput: one has; the message names its recipes.
    """
    recipes: dict[str, list[str]] = {}
    for result in results:
        recipes.setdefault(result.video_id, []).append(result.recipe_id)
    for video_id, found in recipes.items():
        if len(found) > 1:
            raise InvalidInput(
                f"{video_id} has results of {len(found)} recipes: choose one by --recipe-id ({', '.join(found)})"
            )
    return list(results)


def _video_ids(store: Store) -> list[str]:
    names = (
        key.removeprefix("pairs/").partition("/")[0] for key in store.list("pairs/") if key.endswith("/manifest.json")
    )
    return list(dict.fromkeys(names))


def _of(recipe_id: str | None) -> str:
    return f" of recipe {recipe_id}" if recipe_id else ""
