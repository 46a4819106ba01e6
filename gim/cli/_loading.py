"""How the commands that match have their matcher: weights fetched where the user sees it, then loaded."""

from gim.cli._fetching import fetch_weights
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher, weight_names
from gim.runtime.trained import with_run
from gim.settings import Settings


def loaded_matcher(name: str, settings: Settings, *, plain_lines: bool = True) -> Matcher:
    """A matcher as the settings have it, ready.

    Args:
        name: see `gim ls matchers`; or a run of the settings' store, see `gim ls runs`.
        settings: of the command line.
        plain_lines: whether a line is printed where the progress of a download cannot be drawn.

    Raises:
        ConfigError, InvalidInput, LicenceRefused, UnknownMatcher, Unavailable: as for weights, matchers and runs.
    """
    settings, name = with_run(settings, name)
    own = settings.matcher.get(name)
    fetch_weights(weight_names(name, own), settings.weights, plain_lines=plain_lines)
    return load_matcher(name, own, ModelResources(settings.inference, settings.weights))
