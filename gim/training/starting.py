"""The weights that a run begins with: none, a file, a published one, or those of an earlier run."""

from dataclasses import dataclass, field

from gim.errors import CorruptObject, InvalidInput
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.records import UsedWeights
from gim.training.checkpoints.reading import checked_file
from gim.training.runs import PREFIX, checkpoint_name, find_checkpoint
from gim.weights.checkpoint import StateDict, read_checkpoint
from gim.weights.files import UNKNOWN, find_weights


@dataclass(frozen=True, slots=True)
class Start:
    """Weights to begin with."""

    name: str = ""  # as messages call them; empty: from scratch
    sha256: str = ""
    licence: str = ""  # that what is made of them inherits
    state: StateDict = field(default_factory=dict)

    @property
    def used(self) -> UsedWeights | None:
        """What the weights that are made of them have to say of them; None: from scratch."""
        return UsedWeights("start", self.name, self.sha256, self.licence) if self.state else None


def start_weights(store: Store, start: str, resources: ModelResources) -> Start:
    """The weights that a recipe's `start` names.

    Args:
        store: of the runs.
        start: a name of the catalogue, a file, `run:<id>` or `run:<id>@<step>`; empty: none.
        resources: where weights lie.

    Raises:
        InvalidInput: there is no such run, it has no such step, or it is not finished and no step is given.
        CorruptObject: the run's weights are damaged.
        ConfigError: no such weights.
        Unavailable: they are not here and cannot be fetched.
    """
    if not start:
        return Start()
    if start.startswith(PREFIX):
        return _of_run(store, start)
    file = find_weights(start, resources.weights)
    return Start(file.name, file.sha256, file.licence, read_checkpoint(file.path))


def _of_run(store: Store, start: str) -> Start:
    try:
        manifest = find_checkpoint(store, start)
    except CorruptObject:
        raise
    except InvalidInput as error:
        raise InvalidInput(f"train.start = {start}: {error}") from error
    with checked_file(store, manifest.files[0]) as path:
        name, sha256 = checkpoint_name(manifest), manifest.files[0].sha256
        return Start(name, sha256, manifest.licence or UNKNOWN, read_checkpoint(path))
