"""Counting what becomes of the starts of a video, for the funnel of its manifest."""

from collections import Counter
from collections.abc import Sequence

from gim.ports.store import Store
from gim.records import FrameManifest, Funnel
from gim.stages.labelled import count_outcomes


class Tally:
    """Starts kept and lost, with a reason each."""

    def __init__(self) -> None:
        self._kept: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()

    def keep(self, ended: str) -> None:
        """A pair was kept; `ended` says why its chain goes no further."""
        self._kept[ended] += 1

    def lose(self, reason: str) -> None:
        """A start without a pair."""
        self._lost[reason] += 1

    def main_reason(self) -> str:
        """The commonest reason for losing a start; empty when none was lost."""
        return min(self._lost, key=lambda reason: (-self._lost[reason], reason), default="")

    def funnel(self, store: Store, manifest: FrameManifest, matcher_ids: Sequence[str]) -> Funnel:
        """The whole funnel of a video, from decoded frames to kept pairs."""
        attempted, labelled, rejected = count_outcomes(store, manifest, matcher_ids)
        frames_rejected: Counter[str] = Counter()
        for shot in manifest.shots:
            if shot.rejected:
                frames_rejected[shot.rejected] += shot.num_samples
        num_sampled = len(manifest.frame_indices)
        return Funnel(
            frames_decoded=manifest.num_frames,
            frames_sampled=num_sampled,
            frames_used=num_sampled - frames_rejected.total(),
            frames_rejected=dict(sorted(frames_rejected.items())),
            pairs_attempted=attempted,
            pairs_labelled=labelled,
            pairs_rejected=rejected,
            starts=self._kept.total() + self._lost.total(),
            pairs_kept=self._kept.total(),
            starts_rejected=dict(sorted(self._lost.items())),
            chain_ends=dict(sorted(self._kept.items())),
        )
