"""The two passes of an evaluation: correspondences of every pair, and from them what a protocol says of every pair.

Both are kept in a Store, some pairs at a time, so that an evaluation goes on where it was stopped, another protocol
scores the same correspondences, and shards of one evaluation may run anywhere. What is kept is a cache: what is
missing or damaged is made again, and the bytes are the same where the matcher is exact.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gim import codecs, keys
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.evaluation.matching import ViewMatching
from gim.evaluation.views import Views
from gim.matchers.base import Matcher
from gim.ports.store import Store
from gim.ports.telemetry import NullTelemetry, Telemetry
from gim.records import Correspondences, Float32Array, Float64Array, Int64Array

REVISION = 1  # bumped when the same matcher gives other correspondences of the same views
CHUNK = 16  # pairs of one object of the store
_MOST_PENDING = 4  # chunks that are scored while others are matched


class Scorer(Protocol):
    """Says of correspondences how right they are, as numbers. Called from many threads."""

    @property
    def id(self) -> str:
        """Names what the numbers are: the protocol with its revision, and a hash of the truth."""

    def score(self, pair: int, points: Float32Array) -> Float64Array:
        """The numbers of one pair, of the same shape for each.

        Args:
            pair: place in the views' pairs.
            points: [N, 4] rows (x0, y0, x1, y1), pixels of the images as given.
        """


@dataclass(frozen=True, slots=True)
class Shard:
    """A share of an evaluation: one of so many runs of chunks, for neighbouring pairs share images."""

    index: int = 0
    number: int = 1

    def chunks(self, num_pairs: int) -> range:
        """Those of its chunks."""
        num_chunks = -(-num_pairs // CHUNK)
        return range(num_chunks * self.index // self.number, num_chunks * (self.index + 1) // self.number)

    @classmethod
    def covering(cls, num_pairs: int, most_pairs: int) -> "list[Shard]":
        """The fewest shards that hold no more pairs than this each, but for one chunk, and nearly the same number."""
        num_chunks = -(-num_pairs // CHUNK)
        number = -(-num_chunks // max(most_pairs // CHUNK, 1))
        return [cls(index, number) for index in range(number)]

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard of a text `I/N`, I from 0 to N - 1.

        Raises:
            InvalidInput: it is none.
        """
        index, slash, number = text.partition("/")
        if not (slash and index.isdecimal() and number.isdecimal() and int(index) < int(number)):
            raise InvalidInput(f"shard {text!r}: expected I/N with I from 0 to N - 1, as in 0/4")
        return cls(int(index), int(number))


@dataclass(frozen=True, slots=True)
class Predictions:
    """Correspondences of consecutive pairs, one after the other; pair i owns rows offsets[i]:offsets[i + 1]."""

    offsets: Int64Array  # [P + 1]
    points: Float32Array  # [N, 4] pixels of the images as given
    confidence: Float32Array  # [N]

    @classmethod
    def pack(cls, found: Sequence[Correspondences]) -> "Predictions":
        """Put those of some pairs, at least one, together."""
        return cls(
            np.cumsum([0, *(len(item.points) for item in found)], dtype=np.int64),
            np.concatenate([item.points for item in found]).astype(np.float32),
            np.concatenate([item.confidence for item in found]).astype(np.float32),
        )

    def points_of(self, pair: int) -> Float32Array:
        """The rows of one pair."""
        return self.points[self.offsets[pair] : self.offsets[pair + 1]]


@dataclass(frozen=True, slots=True)
class _Rows:
    values: Float64Array  # [P, ...] what a scorer says of consecutive pairs


def predictor_id(matcher: Matcher) -> str:
    """Names a matcher with all that changes what it finds, and how much is kept in one object."""
    return keys.config_id(matcher.name, REVISION, CHUNK, matcher.identity)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One matcher on one benchmark under one protocol: where both passes are kept, and how they are made."""

    store: Store
    views: Views
    scorer: Scorer
    matcher: Matcher

    @property
    def predictor_id(self) -> str:
        """See `predictor_id`."""
        return predictor_id(self.matcher)

    def run(
        self,
        executor: Executor,
        *,
        shard: Shard | None = None,
        telemetry: Telemetry | None = None,
        run_id: str = "",
        on_pairs: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Match and score what is not there yet, and keep it.

        Args:
            executor: threads; scoring goes on in them while the next pairs are matched.
            shard: which share; all by default.
            telemetry: told of steps and counts, under `run_id`.
            run_id: see `telemetry`.
            on_pairs: called with the number of pairs that have just been done, or were there.

        Returns:
            The number of pairs that were matched.

        Raises:
            InvalidInput: an image cannot be read.
        """
        listener = telemetry or NullTelemetry()
        matching = ViewMatching(self.matcher, self.views, executor)
        pending: deque[tuple[int, list[Future[Float64Array]]]] = deque()
        there = set(self.store.list(keys.predictions_prefix(self.views.id, self.predictor_id)))
        num_matched = 0

        def keep_first() -> None:
            chunk, rows = pending.popleft()
            values = np.stack([row.result() for row in rows])
            self.store.put(self._scores_key(chunk), codecs.to_npz(_Rows(values)))
            on_pairs(len(rows))

        for chunk in (shard or Shard()).chunks(len(self.views.pairs)):
            places = self._places(chunk)
            if self._scores_key(chunk) in there and self._read_rows(chunk) is not None:
                on_pairs(len(places))
                continue
            known = self._read_predictions(chunk) if self._predictions_key(chunk) in there else None
            if known is None:
                with self._timed(listener, "matching", run_id, len(places)):
                    known = Predictions.pack(matching.match([self.views.pairs[place] for place in places]))
                self.store.put(self._predictions_key(chunk), codecs.to_npz(known))
                num_matched += len(places)
            pending.append((chunk, [self._submit(executor, listener, run_id, known, place) for place in places]))
            while len(pending) > _MOST_PENDING:
                keep_first()
        while pending:
            keep_first()
        return num_matched

    def num_scored(self, *, outside: Shard | None = None) -> int:
        """How many pairs have their scores in the store, those of one shard left out; reads none of them."""
        num_pairs = len(self.views.pairs)
        there = set(self.store.list(keys.prediction_scores_prefix(self.views.id, self.predictor_id, self.scorer.id)))
        left_out = outside.chunks(num_pairs) if outside else ()
        chunks = (chunk for chunk in Shard().chunks(num_pairs) if chunk not in left_out)
        return sum(len(self._places(chunk)) for chunk in chunks if self._scores_key(chunk) in there)

    def rows(self) -> Float64Array | None:
        """What the scorer says of all pairs: [num_pairs, ...]; None while a shard is missing."""
        found = [self._read_rows(chunk) for chunk in Shard().chunks(len(self.views.pairs))]
        whole = [values for values in found if values is not None]
        return np.concatenate(whole) if whole and len(whole) == len(found) else None

    def predictions(self) -> Iterator[Float32Array]:
        """The correspondences [N, 4] of each pair, in order; none of those whose shard is missing."""
        for chunk in Shard().chunks(len(self.views.pairs)):
            known = self._read_predictions(chunk)
            for place in range(len(self._places(chunk))):
                yield known.points_of(place) if known else np.empty((0, 4), np.float32)

    def points(self, place: int) -> Float32Array | None:
        """The correspondences [N, 4] of one pair; None where they are not there."""
        known = self._read_predictions(place // CHUNK)
        return known.points_of(place % CHUNK) if known else None

    @contextmanager
    def _timed(self, telemetry: Telemetry, step: str, run_id: str, num_pairs: int = 1) -> Iterator[None]:
        """Tell of a step, and of the seconds that each of its pairs took."""
        started = time.perf_counter()
        with telemetry.step(step, run_id):
            yield
        seconds = (time.perf_counter() - started) / num_pairs
        for _ in range(num_pairs):
            telemetry.observe("evaluated_pair_seconds", seconds, run_id, matcher=self.matcher.name, step=step)

    def _submit(
        self, executor: Executor, telemetry: Telemetry, run_id: str, known: Predictions, place: int
    ) -> "Future[Float64Array]":
        def score() -> Float64Array:
            with self._timed(telemetry, "scoring", run_id):
                return self.scorer.score(place, known.points_of(place % CHUNK))

        return executor.submit(score)

    def _places(self, chunk: int) -> range:
        return range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self.views.pairs)))

    def _predictions_key(self, chunk: int) -> str:
        return keys.predictions(self.views.id, self.predictor_id, chunk)

    def _scores_key(self, chunk: int) -> str:
        return keys.prediction_scores(self.views.id, self.predictor_id, self.scorer.id, chunk)

    def _read_predictions(self, chunk: int) -> Predictions | None:
        with suppress(KeyMissing, CorruptObject):
            known = codecs.from_npz(Predictions, self.store.get(self._predictions_key(chunk)))
            if len(known.offsets) == len(self._places(chunk)) + 1 and known.offsets[-1] == len(known.points):
                return known
        return None

    def _read_rows(self, chunk: int) -> Float64Array | None:
        with suppress(KeyMissing, CorruptObject):
            values = codecs.from_npz(_Rows, self.store.get(self._scores_key(chunk))).values
            if len(values) == len(self._places(chunk)):
                return values
        return None
