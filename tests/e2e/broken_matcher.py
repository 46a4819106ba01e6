"""A matcher service whose matcher, named as the settings name it, fails on every pair."""

import sys
from typing import NoReturn

from gim.matchers.rootsift import RootSift, RootSiftConfig
from gim.runtime.service import run_service
from gim.runtime.service_parts import Parts, Work
from gim.stages.label import LabelStage


def build(parts: Parts) -> Work:
    (name,) = parts.settings.matchers

    class Broken(RootSift):
        def match_features(self, *_: object) -> NoReturn:
            raise ZeroDivisionError("this matcher is broken")

    Broken.name = name
    matcher = Broken(RootSiftConfig())
    stage = LabelStage(parts.store, matcher, parts.settings.pairing, executor=parts.executor, telemetry=parts.telemetry)
    stage.announce(name)
    return Work([stage])


if __name__ == "__main__":
    sys.exit(run_service("matcher", build))
