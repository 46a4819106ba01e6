"""The pipeline on a cluster: videos are taken in, labelled by every matcher, propagated; checkpoints are scored.

Time passes from one planned change to the next; in between, the groups advance in the order of the pipeline, each with
what the one before it published (gim/simulation/group.py).
"""

import math
from dataclasses import dataclass, field

import numpy as np

from gim.simulation.agenda import Agenda
from gim.simulation.assignment import first_partition, turn_partitions
from gim.simulation.costs import Costs, ingest_costs, label_costs, propagate_costs, share_costs
from gim.simulation.fleet import Fleet
from gim.simulation.group import Group, Taken
from gim.simulation.messages import SHARED, Floats, Ints, Messages
from gim.simulation.plan import EVALUATE, INGEST, PROPAGATE, MatcherPlan, Plan, PodsPlan, label_group
from gim.simulation.sharing import waiting_seconds
from gim.simulation.videos import Videos, draw_seconds, split

_DAY = 86400.0
_CHUNK = 256


@dataclass(slots=True)
class Stage:
    """A consumer group with its pods, and what was seen of both."""

    name: str  # of the group
    plan: PodsPlan
    group: Group
    fleet: Fleet
    video_seconds: float = 0.0  # done with
    lags: list[float] = field(default_factory=list)  # at every record, and so are these
    pods: list[int] = field(default_factory=list)

    def counts(self) -> dict[str, float]:
        """All that only grows."""
        group = self.group
        return {
            "video_seconds": self.video_seconds,
            "held_seconds": self.fleet.held_seconds(),
            "busy_seconds": group.busy_seconds,
            "device_seconds": group.device_seconds,
            "lost_seconds": group.lost_seconds,
            "rebalancing_seconds": group.rebalancing_seconds,
            "done": float(group.num_done),
            "returned": float(group.num_returned),
            "failures": float(self.fleet.num_failures),
        }


class Pipeline:
    """One simulation. Deterministic: a plan with its seed gives the same, bit by bit."""

    def __init__(self, plan: Plan) -> None:
        """Make the pods and the queues; nothing has been asked for yet.

        Raises:
            ConfigError: see `Plan.check`.
        """
        plan.check()
        self.plan = plan
        self.agenda = Agenda()
        # One generator for each purpose: more pods change neither the videos nor when which of them fails.
        self._of_videos, self._of_requests, self._of_work, self._of_checkpoints, *of_fleets = (
            np.random.default_rng(seed) for seed in np.random.SeedSequence(plan.seed).spawn(4 + len(plan.pods_plans()))
        )
        self.stages = {
            name: self._stage(name, stage, rng)
            for (name, stage), rng in zip(plan.pods_plans().items(), of_fleets, strict=True)
        }
        self._ingest, self._propagate = self.stages[INGEST], self.stages[PROPAGATE]
        self._labels = [(self.stages[label_group(name)], matcher) for name, matcher in plan.matchers.items()]
        self._requested = _Moments(plan.videos.per_day, self._of_requests)
        self._stored = _Moments(plan.evaluator.checkpoints_per_day, self._of_checkpoints)
        self._capacity = capacities(plan)
        self._is_limited = bool(np.isfinite(self._capacity).any())
        self._videos = Videos()
        self._is_held_back = False
        self._held_back_since, self.held_back_seconds = 0.0, 0.0
        self._seconds_to_pairs: list[Floats] = []
        self._last_end = 0.0
        self.record_times: list[float] = []
        self._reserve = self._least_waiting()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        if self.agenda.now == 0.0:
            self._begin()
        end = self.agenda.now + seconds
        while self.agenda.now < end:
            until = min(self.agenda.next_time, end)
            if until > self.agenda.now:
                self._advance(self.agenda.now, until)
            self.agenda.run_due(until)

    @property
    def seconds_to_pairs(self) -> Floats:
        """From a downloader's taking a video to its pairs, of all videos that came to their end, the latest last."""
        return np.concatenate([np.empty(0), *self._seconds_to_pairs])

    @property
    def num_videos(self) -> int:
        """That came to their end."""
        return self._propagate.group.num_done

    def run_until_done(self, most_seconds: float) -> float | None:
        """Let time pass until the plan's number of videos came to their end.

        Returns:
            When that was, seconds; None: not within so many seconds.
        """
        step = min(self.plan.downloader.pressure_seconds, self.plan.record_seconds)
        while self.num_videos < self.plan.videos.number and self.agenda.now < most_seconds:
            self.run(min(step, most_seconds - self.agenda.now))
        return self._last_end if self.num_videos >= self.plan.videos.number else None

    def units_done(self) -> Floats:
        """What all stages took of the shared servers so far, float64 [len(SHARED)]."""
        return sum((stage.group.units_done for stage in self.stages.values()), np.zeros(len(SHARED)))

    def held_back(self) -> float:
        """Seconds in which no video was begun, up to now."""
        return self.held_back_seconds + (self.agenda.now - self._held_back_since) * self._is_held_back

    def _stage(self, name: str, plan: PodsPlan, rng: np.random.Generator) -> Stage:
        kafka = self.plan.kafka
        group = Group(
            self.agenda,
            num_partitions=kafka.partitions,
            max_pods=plan.most_pods,
            rebalance_seconds=kafka.rebalance_seconds,
            session_seconds=kafka.session_timeout_seconds,
        )
        return Stage(name, plan, group, Fleet(self.agenda, plan, group, self.plan.autoscaler, rng))

    def _begin(self) -> None:
        self.agenda.every(self.plan.downloader.pressure_seconds, self._look)
        if any(stage.plan.max_pods for stage in self.stages.values()):
            self.agenda.every(self.plan.autoscaler.poll_seconds, self._poll)
        self.agenda.every(self.plan.record_seconds, self._record)

    # --- what happens at a moment

    def _look(self) -> None:
        """As gim/runtime/pressure.py: no further video is begun while any matcher lags too far behind."""
        limit = self.plan.downloader.max_label_lag
        is_held_back = any(stage.group.lag > limit for stage, _ in self._labels)
        if is_held_back != self._is_held_back:
            self.held_back_seconds = self.held_back()
            self._held_back_since, self._is_held_back = self.agenda.now, is_held_back

    def _poll(self) -> None:
        for stage in self.stages.values():
            stage.fleet.poll()

    def _record(self) -> None:
        self.record_times.append(self.agenda.now)
        for stage in self.stages.values():
            stage.lags.append(stage.group.lag)
            stage.pods.append(stage.fleet.held)

    # --- what happens between two moments

    def _advance(self, begin: float, until: float) -> None:
        if self._is_limited:
            delays = waiting_seconds([stage.group.in_hand for stage in self.stages.values()], self._capacity)
            for stage in self.stages.values():
                stage.group.slow_down(delays)
        self._ingest.group.publish(self._requests(begin, until))
        taken_in = self._ingest.group.advance(until, may_begin=not self._is_held_back)
        labelled = []
        for stage, matcher in self._labels:
            stage.group.publish(self._segments(taken_in, matcher))
            labelled.append(stage.group.advance(until))
        self._note_taken_in(taken_in)
        self._propagate.group.publish(self._bells(labelled))
        self._note_propagated(self._propagate.group.advance(until))
        if self.plan.has_evaluations:
            self.stages[EVALUATE].group.publish(self._shares(until))
            self.stages[EVALUATE].group.advance(until)

    def _requests(self, begin: float, until: float) -> Messages:
        """Videos that are asked for meanwhile."""
        videos, partitions = self.plan.videos, self.plan.kafka.partitions
        if videos.number:
            arrival = np.zeros(0 if self._videos.num else videos.number)
        elif videos.per_day:
            arrival = self._requested.until(until)
        elif self._ingest.group.fewest_waiting() < self._reserve:
            # There are always more: as many as no partition can run out of meanwhile.
            partition = np.tile(np.arange(partitions), self._reserve)
            return self._asked_for(np.full(len(partition), begin), partition)
        else:
            return Messages.none()
        if not len(arrival):
            return Messages.none()
        return self._asked_for(arrival, first_partition(self._of_requests, len(arrival), partitions))

    def _asked_for(self, arrival: Floats, partition: Ints) -> Messages:
        seconds = draw_seconds(self.plan.videos, self._of_videos, len(arrival))
        rows = self._videos.add(self.plan.videos, seconds, self._of_videos)
        return _messages(arrival, partition, rows, ingest_costs(self.plan, seconds, self._videos.samples[rows]))

    def _segments(self, taken_in: Taken, matcher: MatcherPlan) -> Messages:
        """What one matcher is to label of the videos that were taken in."""
        if not len(taken_in):
            return Messages.none()
        rows = taken_in.messages.item
        samples = self._videos.samples[rows]
        segments = split(self.plan.videos, samples)
        costs = label_costs(self.plan, matcher, segments, samples)
        if matcher.spread:
            sigma = math.sqrt(math.log1p(matcher.spread**2))
            factor = self._of_work.lognormal(-(sigma**2) / 2, sigma, len(segments.video))
            costs = Costs(costs.work * factor, costs.device * factor, costs.units)
        of = rows[segments.video]
        partition = turn_partitions(self._videos.hash[of], segments.number, self.plan.kafka.partitions)
        self._videos.left[rows] += self._videos.segments[rows]
        return _messages(taken_in.finish[segments.video], partition, of, costs)

    def _note_taken_in(self, taken_in: Taken) -> None:
        if not len(taken_in):
            return
        rows = taken_in.messages.item
        self._videos.taken[rows] = taken_in.start
        self._ingest.video_seconds += float(self._videos.seconds[rows].sum())

    def _bells(self, labelled: list[Taken]) -> Messages:
        """The labels' messages of the videos of which all are there now: the work of all is done with the last."""
        videos, ended = self._videos, []
        for (stage, _), done in zip(self._labels, labelled, strict=True):
            if len(done):
                rows = done.messages.item
                np.subtract.at(videos.left, rows, 1)
                np.maximum.at(videos.labelled, rows, done.finish)
                stage.video_seconds += float((videos.seconds[rows] / videos.segments[rows]).sum())
                ended.append(rows[videos.left[rows] == 0])
        if not sum(map(len, ended)):
            return Messages.none()
        # A video all of whose labels are there may have been met before its last matcher was counted.
        rows = np.unique(np.concatenate(ended))
        rows = rows[videos.left[rows] == 0]
        number = videos.segments[rows]
        costs = propagate_costs(self.plan, videos.samples[rows], number)
        partitions = self.plan.kafka.partitions
        bells = _messages(videos.labelled[rows], videos.hash[rows] // partitions % partitions, rows, costs)
        bells.weight[:] = number * len(self._labels)
        return bells

    def _note_propagated(self, done: Taken) -> None:
        if len(done):
            rows = done.messages.item
            self._propagate.video_seconds += float(self._videos.seconds[rows].sum())
            self._last_end = max(self._last_end, float(done.finish.max()))
            self._seconds_to_pairs.append(done.finish - self._videos.taken[rows])

    def _shares(self, until: float) -> Messages:
        """Of the checkpoints that are stored meanwhile."""
        arrival = self._stored.until(until)
        first = first_partition(self._of_checkpoints, len(arrival), self.plan.kafka.partitions)
        return Messages.joined([self._shares_of(*each) for each in zip(arrival, first, strict=True)])

    def _shares_of(self, arrival: float, first: int) -> Messages:
        costs = share_costs(self.plan.evaluator)
        turn = np.arange(len(costs.work))
        partition = turn_partitions(np.full(len(turn), first), turn, self.plan.kafka.partitions)
        return _messages(np.full(len(turn), arrival), partition, np.zeros(len(turn), np.int64), costs)

    def _least_waiting(self) -> int:
        """Requests that a partition may not have fewer of, where there are always more: what one pod could take."""
        seconds = draw_seconds(self.plan.videos, np.random.default_rng(0), 256)
        work = ingest_costs(self.plan, seconds, np.ones(256, np.int64)).work
        longest = min(self.plan.downloader.pressure_seconds, self.plan.autoscaler.poll_seconds)
        return 1 + math.ceil(longest / max(float(np.quantile(work, 0.1)), 0.1))


class _Moments:
    """When what comes by chance comes: a Poisson process, the same however it is asked about."""

    def __init__(self, per_day: float, rng: np.random.Generator) -> None:
        self._per_day, self._rng = per_day, rng
        self._known = np.empty(0)
        self._last = 0.0  # that was told

    def until(self, time: float) -> Floats:
        """Those not told yet, up to a time."""
        if not self._per_day:
            return self._known
        while not len(self._known) or self._known[-1] <= time:
            last = self._known[-1] if len(self._known) else self._last
            gaps = self._rng.exponential(_DAY / self._per_day, _CHUNK)
            self._known = np.concatenate([self._known, last + np.cumsum(gaps)])
        number = int(np.searchsorted(self._known, time, "right"))
        told, self._known = self._known[:number], self._known[number:]
        self._last = float(told[-1]) if number else self._last
        return told


def capacities(plan: Plan) -> Floats:
    """What the shared servers can do a second, float64 [len(SHARED)]; infinite where the plan has no limit."""
    limits = {
        "source videos": plan.origin.videos_per_hour / 3600.0,
        "source bytes": plan.origin.bytes_per_second,
        "store bytes read": plan.store.read_bytes_per_second,
        "store bytes written": plan.store.write_bytes_per_second,
        "store requests": plan.store.requests_per_second,
        "bus messages": plan.kafka.messages_per_second,
    }
    return np.array([limits[name] or math.inf for name in SHARED])


def _messages(arrival: Floats, partition: Ints, item: Ints, costs: Costs) -> Messages:
    return Messages.of(arrival, partition, costs.work, item, device=costs.device, units=costs.units)
