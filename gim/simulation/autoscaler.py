"""How many pods an autoscaler wants: KEDA's lag trigger and the HorizontalPodAutoscaler, as in k8s/components/keda."""

import math
from collections import deque

from gim.simulation.plan import AutoscalerPlan

_STEP_PODS = 4  # by default a step up adds as many as there are, and at least these


class Autoscaler:
    """Asked at every poll; remembers what it wanted of late, since fewer pods must have sufficed for a while."""

    def __init__(self, config: AutoscalerPlan, *, least: int, most: int, lag_per_pod: float) -> None:
        """Args:
        config: of all autoscalers.
        least: pods there always are; 0: none while nothing waits.
        most: pods; not above the partitions, as KEDA sees to.
        lag_per_pod: messages, not acknowledged, per pod.
        """
        self._config = config
        self._least, self._most, self._lag_per_pod = least, most, lag_per_pod
        self._wanted: deque[tuple[float, int]] = deque()
        self._fewer_at = -math.inf  # when pods were taken away last
        self._active_at = 0.0  # when there last was a message

    def wanted(self, now: float, lag: float, pods: int) -> int:
        """The number of pods to have from now on.

        Args:
            now: seconds, never less than before.
            lag: messages that are not acknowledged.
            pods: that are there or about to be.
        """
        config = self._config
        if lag > 0:
            self._active_at = now
        elif not self._least and now - self._active_at >= config.cool_down_seconds:
            return 0  # KEDA's doing, as is the first pod again; the steps between are the other's
        if not pods:
            return max(self._least, int(lag > 0))
        if not self._wanted:
            self._wanted.append((now, pods))
        self._wanted.append((now, self._recommended(lag, pods)))
        while self._wanted[0][0] < now - config.cool_down_seconds:
            self._wanted.popleft()
        newest, sufficed = self._wanted[-1][1], max(number for _, number in self._wanted)
        if newest > pods:
            return min(newest, pods + max(pods, _STEP_PODS))
        if sufficed < pods and now - self._fewer_at >= config.step_down_seconds:
            self._fewer_at = now
            return max(sufficed, pods - config.step_down_pods)
        return pods

    def _recommended(self, lag: float, pods: int) -> int:
        near = abs(lag / (self._lag_per_pod * pods) - 1) <= self._config.tolerance
        wanted = pods if near else math.ceil(lag / self._lag_per_pod)
        return max(self._least, 1, min(wanted, self._most))
