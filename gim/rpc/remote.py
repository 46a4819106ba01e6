"""A matcher on a server, as a Matcher: whatever takes one takes this."""

from collections.abc import Sequence
from typing import Any

from gim.errors import UnknownMatcher
from gim.geometry.colour import check_image
from gim.matchers.base import Matcher
from gim.records import Correspondences, ImagePair, Teacher, Uint8Array
from gim.rpc.client import MatcherClient, PairSource


class RemoteMatcher(Matcher):
    """One of a server's matchers. What it finds is that matcher's, so it bears its name, licence and weights."""

    is_batched = True  # many pairs in one call share a stream

    def __init__(self, client: MatcherClient, name: str = "") -> None:
        """Ask the server what it is.

        Args:
            client: how to reach it; stays the caller's.
            name: of the matcher; empty: the server's default.

        Raises:
            UnknownMatcher: the server has no such matcher.
            ConfigError, Unavailable: it cannot be asked.
        """
        super().__init__(None)
        served = {matcher.name: matcher for matcher in client.list_matchers()}
        name = name or next(iter(served), "")
        if name not in served:
            raise UnknownMatcher(f"no matcher {name!r} at {client.address}; there are: {', '.join(served) or 'none'}")
        self._client = client
        self.served = served[name]
        # One class for every name: what other matchers say of their class, this one says of itself.
        self.name = name  # type: ignore[misc]
        self.licence = self.served.teacher.licence  # type: ignore[misc]
        self.dense = self.served.is_dense  # type: ignore[misc]
        self.is_exact = self.served.is_exact  # type: ignore[misc]

    @property
    def identity(self) -> tuple[Any, ...]:
        """The server's word for everything that changes the output."""
        return (self.name, self.served.identity)

    @property
    def teacher(self) -> Teacher:
        return self.served.teacher

    def match(
        self,
        image0: Uint8Array,
        image1: Uint8Array,
        mask0: Uint8Array | None = None,
        mask1: Uint8Array | None = None,
    ) -> Correspondences:
        check_image(image0, mask0)
        check_image(image1, mask1)
        return self._client.match(image0, image1, mask0, mask1, matcher=self.name)

    def match_pairs(self, pairs: Sequence[ImagePair]) -> list[Correspondences]:
        sources = [PairSource(pair.image0, pair.image1, pair.mask0, pair.mask1) for pair in pairs]
        return list(self._client.match_many(sources, matcher=self.name))
