"""A run's curves as TensorBoard draws them, where its package is installed."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gim.errors import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardCurves:
    """Takes points of curves, see `gim.training.journal.Curves`. What cannot be written is said once."""

    def __init__(self, writer: "SummaryWriter", folder: Path, say: Callable[[str], None]) -> None:
        self._writer: SummaryWriter | None = writer
        self._folder, self._say = folder, say

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Draw one point of one curve."""
        if self._writer is None:
            return
        try:
            self._writer.add_scalar(tag, scalar_value, global_step)
        except OSError as error:  # raised here of what its own thread could not write
            self._give_up(error)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                self._give_up(error)
            self._writer = None

    def _give_up(self, error: OSError) -> None:
        self._writer = None
        self._say(f"{self._folder}: no more curves for TensorBoard ({error.strerror or error}); training goes on")


def open_tensorboard(
    folder: Path, *, from_step: int = 0, say: Callable[[str], None] = lambda _: None
) -> TensorBoardCurves:
    """Curves in a folder that `tensorboard --logdir` is given, or one above it; close them at the end.

    Args:
        folder: of one run: what is there already is another piece of its curves.
        from_step: steps done before; later points that a run which was interrupted left here are no longer shown.
        say: told in a line when nothing more can be written.

    Raises:
        ConfigError: TensorBoard is not installed, or the folder cannot be made.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            f"train.keep.tensorboard = {folder}: TensorBoard is not installed here: pip install "
            "'gim-pipeline[training]', or leave the setting empty (`gim train page` draws the curves too)"
        ) from error
    try:
        writer = SummaryWriter(str(folder), purge_step=from_step + 1 if from_step else None)
    except OSError as error:
        raise ConfigError(f"train.keep.tensorboard = {folder}: {error.strerror or error}") from error
    return TensorBoardCurves(writer, folder, say)
