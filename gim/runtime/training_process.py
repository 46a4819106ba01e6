"""What one process of a training run has open: its place among the ranks, the store, its ear for signals."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gim.datasets.manifest import DatasetManifest
from gim.inference.device import choose_device
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.runtime.interrupt import Interruption
from gim.runtime.opening import open_store
from gim.runtime.threads import network_threads, one_thread_each
from gim.runtime.training_judge import TrainingJudge
from gim.settings import Settings
from gim.training.config import TrainingConfig
from gim.training.distributed import Ranks, connected
from gim.training.journal import Curves
from gim.training.looking.pictures import FixedPairs
from gim.training.looking.tensorboard import open_tensorboard
from gim.training.run import RunRequest


@dataclass(frozen=True, slots=True)
class TrainingProcess:
    """One process of a run."""

    settings: Settings
    ranks: Ranks
    store: Store
    interruption: Interruption

    @property
    def resources(self) -> ModelResources:
        """Where weights lie, and this process's own device."""
        inference = replace(self.settings.inference, device=str(self.ranks.device))
        return ModelResources(inference, self.settings.weights)

    def request(
        self,
        dataset: DatasetManifest,
        config: TrainingConfig | None = None,
        *,
        run_id: str = "",
        say: Callable[[str], None] = lambda _: None,
    ) -> RunRequest:
        """What `train` is asked for; `dataclasses.replace` adds whom to tell.

        Args:
            dataset: of the store.
            config: of the run; by default that of the settings.
            run_id: a name for the run; empty: made of what shapes its weights.
            say: told what a person should know, in lines.
        """
        config = config or self.settings.train
        keep = config.keep
        pictures = FixedPairs(
            self.store, dataset, config, self.resources, self.settings.dataset.posed_roots, run_id=run_id, say=say
        )
        return RunRequest(
            store=self.store,
            dataset=dataset,
            config=config,
            run_id=run_id,
            say=say,
            draw=pictures if keep.num_pictures else None,
            judge=TrainingJudge(self.store, keep.benchmarks, self.resources) if keep.benchmarks else None,
            curves=partial(self._curves, keep.tensorboard, say) if keep.tensorboard else None,
            resources=self.resources,
            ranks=self.ranks,
            posed_roots=self.settings.dataset.posed_roots,
            is_told_to_stop=self.interruption.requested,
        )

    @staticmethod
    def _curves(folder: str, say: Callable[[str], None], run_id: str, step: int) -> Curves:
        return open_tensorboard(Path(folder) / run_id, from_step=step, say=say)


@contextmanager
def training_process(
    settings: Settings,
    *,
    environment: Mapping[str, str] = os.environ,
    observed: Callable[[Store], Store] = lambda store: store,
) -> Iterator[TrainingProcess]:
    """A process of a run for as long as the block lasts; inside it the first SIGTERM or Ctrl-C is only noted.

    Args:
        settings: the store, the device, the threads.
        environment: torchrun's variables.
        observed: given the opened store, gives the one to use.

    Raises:
        ConfigError: the settings or the environment make no sense; the store is none.
        Unavailable: the store or another process is away.
    """
    device, interruption = choose_device(settings.inference.device), Interruption()
    timeout_seconds = settings.train.loop.timeout_seconds
    with ExitStack() as stack:
        ranks = stack.enter_context(connected(environment, device=device.type, timeout_seconds=timeout_seconds))
        # Not before: a process that waits for another one in vain has to be ended by its first signal.
        stack.enter_context(interruption.listening())
        stack.enter_context(one_thread_each())
        stack.enter_context(network_threads(settings.run.threads or len(os.sched_getaffinity(0))))
        store = stack.enter_context(closing(open_store(settings)))
        yield TrainingProcess(settings, ranks, observed(store), interruption)
