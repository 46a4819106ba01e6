"""The real stages over a real store, drained by hand, with a record of every write."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from gim.adapters.store_file import FileStore
from gim.matchers.base import Matcher
from gim.matchers.registry import load_matcher
from gim.ports.telemetry import NullTelemetry
from gim.records import Correspondences
from gim.runtime.threads import one_thread_each
from gim.runtime.wiring import choose_guide
from gim.settings import Settings
from gim.stages.base import Stage
from gim.stages.ingest import IngestStage
from gim.stages.label import LabelStage, labels_id
from gim.stages.propagate import PropagateStage
from gim.video.segmenter import Segmenter
from gim.wire.topics import Event, topic_of
from gim.wire.v1 import events_pb2

SHORT_SEGMENTS = ("sampling.segment_samples=5", "pairing.fit.max_iterations=500", "propagation.shard_pairs=4")


class RecordingStore:
    """A FileStore that remembers in which order it was written to."""

    def __init__(self, root: Path) -> None:
        self._store = FileStore(root)
        self.written: list[str] = []
        self.deleted: list[str] = []

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        done = self._store.put(key, data, if_absent=if_absent)
        self.written.append(key)
        return done

    def put_file(self, key: str, path: Path) -> None:
        self._store.put_file(key, path)
        self.written.append(key)

    def get(self, key: str) -> bytes:
        return self._store.get(key)

    def fetch(self, key: str) -> AbstractContextManager[Path]:
        return self._store.fetch(key)

    def exists(self, key: str) -> bool:
        return self._store.exists(key)

    def size(self, key: str) -> int:
        return self._store.size(key)

    def list(self, prefix: str = "") -> Iterator[str]:
        return self._store.list(prefix)

    def usage(self, prefix: str = "") -> int:
        return self._store.usage(prefix)

    def delete(self, key: str) -> None:
        self._store.delete(key)
        self.deleted.append(key)

    def close(self) -> None:
        self._store.close()


class Broken(Matcher):
    """A matcher that always fails."""

    name: ClassVar[str] = "broken"

    def __init__(self, config: Any = None, error: Callable[[], Exception] = lambda: RuntimeError("no device")) -> None:
        super().__init__(config)
        self._error = error

    def match(self, image0: Any, image1: Any, mask0: Any = None, mask1: Any = None) -> Correspondences:
        raise self._error()


class Strided(Matcher):
    """A matcher without features: every third match of RootSIFT. Stands for a dense one."""

    name: ClassVar[str] = "strided"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._inner = quick_rootsift()

    def match(self, image0: Any, image1: Any, mask0: Any = None, mask1: Any = None) -> Correspondences:
        found = self._inner.match(image0, image1, mask0, mask1)
        return Correspondences(found.points[::3], found.confidence[::3])


def quick_rootsift() -> Matcher:
    """The real matcher with few keypoints."""
    return load_matcher("rootsift", {"max_keypoints": 500})


class Pipeline:
    """All stages of some settings; use as a context manager."""

    def __init__(
        self,
        root: Path,
        *sets: str,
        matchers: Sequence[Matcher] = (),
        segmenter: Segmenter | None = None,
        required: Sequence[str] = (),
        keep_features: bool = False,
        threads: int = 2,
    ) -> None:
        self.settings = Settings.load([*SHORT_SEGMENTS, *sets], None, None, {})
        self.store = RecordingStore(root)
        self._executor = ThreadPoolExecutor(threads)
        self._stack = ExitStack()
        self.matchers = list(matchers) or [quick_rootsift()]
        pairing, propagation = self.settings.pairing, self.settings.propagation
        self.matcher_ids = {matcher.name: labels_id(matcher, pairing, segmenter) for matcher in self.matchers}
        common = {"telemetry": NullTelemetry()}
        self.ingest = IngestStage(
            self.store,
            self.settings.source,
            self.settings.video_config(),
            work_dir=root / ".work",
            threads=threads,
            **common,
        )
        self.label = {
            matcher.name: LabelStage(
                self.store, matcher, pairing, executor=self._executor, segmenter=segmenter, **common
            )
            for matcher in self.matchers
        }
        self.propagate = PropagateStage(
            self.store,
            "standard",
            replace(propagation),
            pairing.base_intervals,
            matcher_ids=lambda: self.matcher_ids,
            required_matchers=required,
            guide_matcher=choose_guide(self.matchers),
            segmenter=segmenter,
            keep_features=keep_features,
            executor=self._executor,
            **common,
        )

    def __enter__(self) -> "Pipeline":
        self._stack.enter_context(one_thread_each())  # as every worker does
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.store.close()
        self._stack.close()

    @property
    def stages(self) -> list[Stage]:
        return [self.ingest, *self.label.values(), self.propagate]

    def run(self, source: Path) -> list[Event]:
        """Every event that follows from one requested source, in order."""
        events: list[Event] = [events_pb2.VideoRequested(source=str(source))]
        for event in events:
            for stage in self.stages:
                if stage.topic == topic_of(event):
                    events += [following for _, following in stage.handle(event)]
        return events

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        return {key: self.store.get(key) for key in self.store.list(prefix)}


def of_kind(events: Sequence[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]
