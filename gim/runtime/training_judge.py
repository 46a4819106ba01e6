"""How good the weights of a run are on benchmarks of its store: what says which checkpoint is best."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from gim.adapters.store_file import FileStore
from gim.benchmarks.stored import StoredBenchmark, choose_benchmarks
from gim.evaluation.passes import Evaluation
from gim.evaluation.pose_scorer import pose_scorer, posed_results
from gim.evaluation.protocols import protocol_named
from gim.evaluation.scores import score_results
from gim.evaluation.views import stored_views
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.training.looking.matching import matcher_of
from gim.training.models.base import Trainable
from gim.weights.checkpoint import StateDict

_PROTOCOL = "strict"


class TrainingJudge:
    """Gives the AUC of poses, "auc/<benchmark>/<degrees>" in percent; keeps nothing in the run's store."""

    def __init__(self, store: Store, names: Sequence[str], resources: ModelResources) -> None:
        """Find the benchmarks, so that a name that is none is told before training.

        Args:
            store: holds them.
            names: or ids.
            resources: where networks run, and where weights that are not trained are found.

        Raises:
            ConfigError: the store has no such benchmark.
        """
        self._benchmarks = choose_benchmarks(store, names)
        self._resources = resources

    def __call__(self, model: Trainable, published: StateDict) -> Mapping[str, float]:
        """The AUC of published weights on every benchmark."""
        with matcher_of(model, published, self._resources) as matcher:
            scores = [self._scores(benchmark, matcher) for benchmark in self._benchmarks]
        return {name: value for of_benchmark in scores for name, value in of_benchmark.items()}

    @staticmethod
    def _scores(benchmark: StoredBenchmark, matcher: Matcher) -> dict[str, float]:
        protocol, pairs, name = protocol_named(_PROTOCOL), benchmark.pairs(), benchmark.manifest.name
        views = stored_views(benchmark, [(pair.image0, pair.image1) for pair in pairs], protocol.size_rule)
        with TemporaryDirectory(prefix="gim-judge-") as folder, ThreadPoolExecutor() as executor:
            with closing(FileStore(Path(folder))) as kept:  # of weights that change in a moment
                evaluation = Evaluation(kept, views, pose_scorer(pairs, protocol, views), matcher)
                evaluation.run(executor)
                rows = evaluation.rows()
        assert rows is not None
        score = score_results(name, posed_results(pairs, rows))
        return {f"auc/{name}/{degrees}": value for degrees, value in score.auc.items()}
