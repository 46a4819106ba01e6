"""The funnel as drawn bars: each bar is one whole, split into what goes on and what was lost for which reason."""

from collections.abc import Mapping
from dataclasses import dataclass

from gim.records import Funnel
from gim.report.words import reason_of


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar."""

    label: str
    count: int
    share: float  # of the bar's total, 0 to 1
    kind: str  # `kept`, `lost`, `between` (frames not sampled, no loss) or `end` (why a kept pair reaches no further)


@dataclass(frozen=True, slots=True)
class Bar:
    """One step; `zooms` says that its whole is the kept part of the bar above."""

    title: str
    total: int
    parts: list[Part]
    zooms: bool = False

    @property
    def kept_share(self) -> float:
        """Share of the part that goes on."""
        return sum(part.share for part in self.parts if part.kind == "kept")


def make_funnel(funnel: Funnel) -> list[Bar]:
    """Bars from decoded frames to kept pairs, and why the kept ones reach no further; empty steps are left out."""
    bars = [
        _bar("Frames decoded", funnel.frames_decoded, ("sampled", funnel.frames_sampled), {}, rest="between samples"),
        _bar("Frames sampled", funnel.frames_sampled, ("used", funnel.frames_used), funnel.frames_rejected, zooms=True),
    ]
    for matcher_id in sorted(funnel.pairs_attempted):
        name = matcher_id.rsplit("-", 1)[0]
        labelled = ("labelled", funnel.pairs_labelled.get(matcher_id, 0))
        losses = funnel.pairs_rejected.get(matcher_id, {})
        bars.append(_bar(f"Base pairs, {name}", funnel.pairs_attempted[matcher_id], labelled, losses))
    bars.append(_bar("Starts", funnel.starts, ("pair kept", funnel.pairs_kept), funnel.starts_rejected))
    if funnel.pairs_kept and funnel.chain_ends:
        ends = _parts(funnel.pairs_kept, funnel.chain_ends, "end")
        bars.append(Bar("Why no further", funnel.pairs_kept, ends, zooms=True))
    return [bar for bar in bars if bar.total]


def _bar(
    title: str, total: int, kept: tuple[str, int], losses: Mapping[str, int], *, rest: str = "", zooms: bool = False
) -> Bar:
    parts = [Part(kept[0], kept[1], _share(kept[1], total), "kept"), *_parts(total, losses, "lost")]
    missing = total - kept[1] - sum(losses.values())
    if missing > 0:
        parts.append(Part(rest or "no reason recorded", missing, _share(missing, total), "between" if rest else "lost"))
    return Bar(title, total, [part for part in parts if part.count or part.kind == "kept"], zooms)


def _parts(total: int, counts: Mapping[str, int], kind: str) -> list[Part]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Part(reason_of(code).text, count, _share(count, total), kind) for code, count in ranked if count]


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0
