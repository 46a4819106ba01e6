"""Writes the cards of a run into its store, from what the store holds of it."""

from contextlib import suppress

from gim import keys
from gim.datasets.manifest import DatasetManifest, read_dataset
from gim.errors import CorruptObject, InvalidInput
from gim.ports.store import Store
from gim.training.checkpoints.listing import read_manifest
from gim.training.journal import read_points
from gim.training.publishing.data_card import data_card, video_lengths
from gim.training.publishing.model_card import Trained, model_card
from gim.training.runs import read_run

_OF_CHECKPOINTS = ("validation/", "auc/")  # curves that say how good weights are


def publish_cards(store: Store, run_id: str, dataset: DatasetManifest | None = None) -> tuple[str, str]:
    """Write the model card and the data card of a finished run; again, and they are written again.

    Args:
        store: holds the run's record and its checkpoints.
        run_id: of the run.
        dataset: that it was trained on; None: as it stands in the store.

    Returns:
        Their keys.

    Raises:
        InvalidInput: there is no such run, or it is not finished.
        CorruptObject: a record of it is damaged.
        Unavailable: the store is full or away.
    """
    run = read_run(store, run_id)
    if run.result is None or run.record is None:
        raise InvalidInput(f"run {run_id} is not finished: it has no cards yet")
    dataset = dataset or read_dataset(store, run.record.dataset_id)
    measured: dict[str, float] = {}
    with suppress(CorruptObject):  # a card without curves is better than none
        for point in read_points(store, run_id):
            if point.step == run.result:
                measured |= {name: value for name, value in point.values.items() if name.startswith(_OF_CHECKPOINTS)}
    trained = Trained(
        record=run.record,
        checkpoint=read_manifest(store, run_id, run.result),
        dataset=dataset,
        scores=run.scores,
        measured=measured,
    )
    cards = {
        keys.model_card(run_id): model_card(trained),
        keys.data_card(run_id): data_card(dataset, video_lengths(store, dataset)),
    }
    for key, text in cards.items():
        store.put(key, text.encode())
    model, data = cards
    return model, data
