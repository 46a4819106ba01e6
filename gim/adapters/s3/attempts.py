"""One request, tried a few times: what passes by itself within seconds is nobody else's business."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_random_exponential

from gim.adapters.s3.errors import FAILURES, Request, is_passing, translated

Result = TypeVar("Result")
_FIRST_PAUSE_SECONDS = 0.2  # drawn from 0 to this, doubling: those who failed together do not come back together
_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often a request is tried, and the errors of ours that it ends in."""

    max_attempts: int

    def make(self, request: Request, function: Callable[[], Result]) -> Result:
        """What `function` returns at its first success.

        Raises:
            Unavailable: every attempt met something that passes by itself.
            GimError: what else the server said; not tried again.
        """
        retrying = Retrying(
            retry=retry_if_exception(is_passing),
            stop=stop_after_attempt(self.max_attempts),
            wait=wait_random_exponential(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS),
            reraise=True,
        )
        try:
            return retrying(function)
        except FAILURES as error:
            raise translated(error, request) from error
