"""Two photographs matched by several matchers in turn: what fails for one says so and stops no other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gim.errors import GimError, InvalidInput
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher, matcher_names, matcher_status
from gim.photos.matching import draw_match, match_photos
from gim.photos.reading import read_photo
from gim.records import Uint8Array
from gim.settings import Settings


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one matcher."""

    matcher: str
    picture: Uint8Array | None  # RGB [H, W, 3]; None: it failed
    text: str  # counts and time, or the error, in one line


class Comparison:
    """The matchers that are offered, each loaded at its first use and kept."""

    def __init__(self, settings: Settings, wanted: Sequence[str] = ()) -> None:
        """Offer the matchers named, or all that run here.

        Raises:
            UnknownMatcher: no such matcher.
            InvalidInput: none of those named runs here.
        """
        reasons = {name: matcher_status(name) for name in wanted or matcher_names()}
        self.offered = [name for name, reason in reasons.items() if not reason]
        self.missing = {name: reason for name, reason in reasons.items() if reason}
        if not self.offered:
            raise InvalidInput("; ".join(f"matcher {name}: {reason}" for name, reason in self.missing.items()))
        self._settings = settings
        self._loaded: dict[str, Matcher] = {}

    @property
    def ticked(self) -> str:
        """The one to begin with: it needs no weights."""
        return "rootsift" if "rootsift" in self.offered else self.offered[0]

    def outcomes(self, path0: Path, path1: Path, names: Sequence[str]) -> Iterator[Outcome]:
        """Match two image files by each of the offered matchers named, in order, one at a time.

        Raises:
            InvalidInput: a file is not a readable image.
        """
        photo0, photo1 = (read_photo(path, self._settings.limits.max_pixels) for path in (path0, path1))
        for name in names:
            try:
                match = match_photos(self._matcher(name), photo0, photo1, self._settings.pairing.fit)
                yield Outcome(name, draw_match(photo0, photo1, match), match.title)
            except GimError as error:
                yield Outcome(name, None, f"{name}: {error}")
            except Exception as error:  # one matcher's bug leaves the page and the others alone
                yield Outcome(name, None, f"{name}: unexpected {type(error).__name__}: {error} (a bug)")

    def _matcher(self, name: str) -> Matcher:
        if name not in self._loaded:
            resources = ModelResources(self._settings.inference, self._settings.weights)
            self._loaded[name] = load_matcher(name, self._settings.matcher.get(name), resources)
        return self._loaded[name]
