"""The bridge to what runs of training have made: `run:<id>@<step>` is a matcher of ours with the weights of a run.

Which matcher, and where its weights lie, only the store of the run knows: `gim.runtime.trained` looks it up and writes
it into the matcher's own settings, `matcher` and those of the weights. Nothing here looks into a store.
"""

from collections.abc import Mapping
from typing import Any

from gim import keys
from gim.errors import UnknownMatcher
from gim.matchers.base import Matcher

PREFIX = "run:"
MATCHER = "matcher"  # the setting that says whose weights they are


def matcher_behind(name: str, config: Mapping[str, Any] | None) -> str:
    """The matcher whose weights a run has made.

    Raises:
        UnknownMatcher: the settings do not say: nobody has looked for the run.
    """
    behind = (config or {}).get(MATCHER)
    if not isinstance(behind, str) or behind.startswith(PREFIX):
        raise UnknownMatcher(
            f"matcher {name!r}: its run was not looked up; commands look into their store, elsewhere "
            "gim.runtime.trained.with_run does it"
        )
    return behind


def without_matcher(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of the matcher behind."""
    return {name: value for name, value in (config or {}).items() if name != MATCHER}


def trained_class(name: str, behind: type[Matcher]) -> type[Matcher]:
    """The class behind, under the run's own name: so both can be used side by side, and ids tell them apart."""
    named = {"name": keys.matcher_name(name), "__module__": __name__, "__doc__": behind.__doc__}
    return type(f"{behind.__name__}[{name}]", (behind,), named)
