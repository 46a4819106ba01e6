"""Where weights are kept and which may be used. Imports no torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class WeightsConfig:
    """Where weight files are looked for, whether they may be fetched, and which licences are accepted."""

    dir: str = ""  # folder of weight files, looked in first and never written to: for sites without a network
    cache: str = ""  # folder fetched files are kept in; empty = $XDG_CACHE_HOME/gim/weights, else ~/.cache/gim/weights
    offline: bool = False  # never fetch
    licences: Literal["any", "permissive"] = "any"  # permissive refuses weights for research only, and unknown ones
