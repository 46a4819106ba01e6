"""How long to be patient, and with what."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from gim.errors import DiskFull, Unavailable

Result = TypeVar("Result")
_TELL_SECONDS = 60.0
_SLICE_SECONDS = 0.05  # how late a stop may be noticed while waiting


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What is tried again, how often, and for how long."""

    bug_attempts: int = 3  # of one message, when something fails that no error of ours describes
    bug_pause_seconds: float = 0.1
    first_pause_seconds: float = 0.5  # while something is unavailable: drawn from 0 to this, doubling
    longest_pause_seconds: float = 30.0
    max_deliveries: int = 0  # of one message that nobody lives to finish, where the bus counts them; 0 = no limit
    unavailable_seconds: float = 0.0  # then a message is set aside as a dead letter; 0 = never, it waits for ever


PATIENT = RetryPolicy()  # for services: they outlive what is away


class Patience:
    """Waits for what is unavailable, on one budget of time: it runs from a first failure until something succeeds.

    So a full disk costs the budget once, not once per message. The bus and the work itself have a budget each.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        stop: Callable[[], bool],
        on_wait: Callable[[str, BaseException], None] = lambda _what, _error: None,
    ) -> None:
        """Wait as the policy says, until `stop`.

        Args:
            policy: for how long.
            stop: asked while waiting.
            on_wait: told what is away, and why, when the waiting begins and once a minute.
        """
        self.policy = policy
        self.stop = stop
        self._on_wait = on_wait
        self._told_at: dict[str, float] = {}
        self._failing_since: dict[str, float] = {}

    def call(self, what: Literal["work", "bus"], function: Callable[[], Result]) -> Result:
        """The result of `function`, tried again with growing pauses while it raises `Unavailable`.

        Raises:
            Unavailable: the budget is spent, or a stop was asked for.
        """

        def is_spent(state: RetryCallState) -> bool:
            failing_since = self._failing_since.setdefault(what, time.monotonic())
            limit = self.policy.unavailable_seconds
            error = state.outcome.exception() if state.outcome else None
            # Where somebody waits for the end, waiting for them to make room is pointless.
            is_over = isinstance(error, DiskFull) or time.monotonic() - failing_since >= limit
            if error is not None:
                self._tell(what, error)
            return self.stop() or (limit > 0 and is_over)

        retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_random_exponential(self.policy.first_pause_seconds, self.policy.longest_pause_seconds),
            stop=is_spent,
            sleep=self._sleep,
            reraise=True,
        )
        result = retrying(function)
        self._failing_since.pop(what, None)
        self._told_at.pop(what, None)
        return result

    def _tell(self, what: str, error: BaseException) -> None:
        now = time.monotonic()
        if now - self._told_at.get(what, -math.inf) >= _TELL_SECONDS:
            self._told_at[what] = now
            self._on_wait(what, error)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stop() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_SECONDS))
