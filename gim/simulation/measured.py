"""Stage times out of what a real run told: its metrics (Prometheus's text, or the answer of its API), or its journal.

Metrics have the wall seconds of whole messages, waiting for servers included; a journal has thread seconds of the steps
within. Either is a sum since the processes began: the longer they worked, the less their start matters.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gim.errors import InvalidInput
from gim.simulation.plan import MatcherPlan, Plan

_LINE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_COUNT = re.compile(r"(\w+)(?:\{(.*)\})?")
_INGEST_STEPS = ("fetch", "decode", "analysis", "encode")
_FIT_STEPS = ("fitting", "zooming")
_PROPAGATE_STEPS = ("linking", "guided", "refining", "quality", "shards")
_NO_WAIT = 1e15  # bits a second: what was measured holds the transfer already

_Sample = tuple[str, Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class Work:
    """What was done, and how long it took; what nothing was told of is 0."""

    is_wall: bool  # seconds of messages are told; else only those of steps
    sampled: float = 0.0  # frames
    starts: float = 0.0  # sampled frames at which a training pair could begin
    pairs: Mapping[str, float] = field(default_factory=dict)  # base pairs, by matcher
    labelled_seconds: Mapping[str, float] = field(default_factory=dict)  # of video, by matcher
    evaluated_pairs: float = 0.0
    messages: Mapping[str, float] = field(default_factory=dict)  # by stage; of labels by `label NAME`
    seconds: Mapping[str, float] = field(default_factory=dict)  # of these messages
    steps: Mapping[str, float] = field(default_factory=dict)  # thread seconds; of labels by `NAME step`


def read_measured(text: str) -> Work:
    """What a file of metrics or a journal tells.

    Args:
        text: Prometheus's text format (of one pod, or of several one after the other), the JSON of its API's answer to
            an instant query such as `{__name__=~"gim_.*"}`, or lines of a telemetry journal.

    Raises:
        InvalidInput: it is none of these, or tells of no work.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        if first.startswith("{") and '"video": ' in first:
            work = _work_of_journal(json.loads(line) for line in text.splitlines() if line.strip())
        elif first.startswith(("{", "[")):
            work = _work_of_samples(_api_samples(json.loads(text)))
        else:
            work = _work_of_samples(_text_samples(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"neither Prometheus's text or JSON nor a journal: {error}") from error
    if not (work.sampled or work.pairs or work.starts or work.evaluated_pairs):
        raise InvalidInput("it tells of no work: no frames sampled, no pairs labelled, nothing propagated or evaluated")
    return work


def with_measured(plan: Plan, work: Work) -> Plan:
    """The plan with the times that were measured in place of its own; what was not measured stays.

    Raises:
        InvalidInput: it is of a matcher that the plan does not have, or of several that it does not tell apart.
    """
    unknown = sorted(set(work.pairs) - set(plan.matchers))
    if unknown:
        raise InvalidInput(f"measured with {', '.join(unknown)}, and the plan has {', '.join(plan.matchers)}")
    if not work.is_wall and len(work.pairs) > 1:
        raise InvalidInput(f"a journal does not tell the times of {', '.join(work.pairs)} apart: run one at a time")
    matchers = {
        name: _with_labels(matcher, name, work) if work.pairs.get(name) else matcher
        for name, matcher in plan.matchers.items()
    }
    plan = replace(plan, matchers=matchers)
    plan = _with_used_share(plan, work) if work.sampled and work.labelled_seconds else plan
    plan = _with_ingest(plan, work) if work.sampled else plan
    plan = _with_propagation(plan, work) if work.starts else plan
    seconds = work.seconds.get("evaluate-shard")
    if seconds and work.evaluated_pairs:
        evaluator = replace(plan.evaluator, share_seconds=0.0, pair_seconds=seconds / work.evaluated_pairs)
        plan = replace(plan, evaluator=evaluator)
    return plan


def changed_times(plan: Plan, measured: Plan) -> dict[str, tuple[Any, Any]]:
    """Path -> (what the plan had, what was measured), of all that differs."""
    before, after = dict(plan.leaves()), dict(measured.leaves())
    return {path: (before.get(path), value) for path, value in after.items() if before.get(path) != value}


def _with_used_share(plan: Plan, work: Work) -> Plan:
    """Every matcher labels all that is used; one that was measured for a part of the time has seen less."""
    used_share = max(work.labelled_seconds.values()) / (work.sampled * plan.videos.interval_seconds)
    return replace(plan, videos=replace(plan.videos, used_share=min(used_share, 1.0)))


def _with_ingest(plan: Plan, work: Work) -> Plan:
    stage = plan.downloader
    video_seconds = work.sampled * plan.videos.interval_seconds
    if work.is_wall:
        if not work.seconds.get("ingest"):
            return plan
        decode = work.seconds["ingest"] / video_seconds
        return replace(
            plan, downloader=replace(stage, video_seconds=0.0, decode_seconds=decode, bits_per_second=_NO_WAIT)
        )
    decode = sum(work.steps.get(step, 0.0) for step in _INGEST_STEPS) / video_seconds / stage.cores
    return replace(plan, downloader=replace(stage, decode_seconds=decode, bits_per_second=_NO_WAIT))


def _with_labels(matcher: MatcherPlan, name: str, work: Work) -> MatcherPlan:
    pairs = work.pairs[name]

    def thread_seconds(*steps: str) -> float:
        return sum(work.steps.get(f"{name} {step}", 0.0) for step in steps)

    if not work.is_wall:
        frames = work.sampled or pairs / 3
        return replace(
            matcher,
            frame_seconds=thread_seconds("features") / frames,
            pair_seconds=thread_seconds("matching") / pairs,
            fit_seconds=thread_seconds(*_FIT_STEPS) / pairs,
            load_seconds=0.0,
        )
    seconds, messages = work.seconds.get(f"label {name}", 0.0), work.messages.get(f"label {name}", 0.0)
    if not (seconds and messages):
        return matcher
    # One thread is at the GPU, so its busy seconds are wall seconds; the rest of a message is not of the GPU.
    network = min(thread_seconds("features", "matching"), seconds) if matcher.gpus else seconds
    other = (seconds - network) / messages
    return replace(
        matcher,
        frame_seconds=0.0,
        load_seconds=0.0,
        fit_seconds=0.0,
        batch_seconds=0.0,
        pair_seconds=network / pairs * (1.0 if matcher.gpus else matcher.cores),
        message_seconds=other,
    )


def _with_propagation(plan: Plan, work: Work) -> Plan:
    stage = plan.propagator
    if work.is_wall:
        bells = work.messages.get("propagate", 0.0) * (stage.bell_seconds or 0.0)
        seconds = max(work.seconds.get("propagate", 0.0) - bells, 0.0) * stage.cores
    else:
        seconds = sum(work.steps.get(step, 0.0) for step in _PROPAGATE_STEPS)
    if not seconds:
        return plan
    return replace(plan, propagator=replace(stage, sample_seconds=seconds / work.starts))


# --- what was told


def _text_samples(text: str) -> Iterator[_Sample]:
    """Of Prometheus's text: dumps of several pods may follow each other, each begins with its first comment anew."""
    dump, seen = 0, set[str]()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            metric = line.split()[2]
            if metric in seen:
                dump, seen = dump + 1, set()
            seen.add(metric)
        elif line.strip() and not line.startswith("#"):
            found = _LINE.fullmatch(line.strip())
            if found is None:
                raise ValueError(f"no metric: {line[:80]!r}")
            labels = {name: _unescaped(value) for name, value in _LABEL.findall(found[2] or "")}
            yield found[1], {"instance": str(dump), **labels}, float(found[3])


def _unescaped(value: str) -> str:
    return value.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")


def _api_samples(document: Any) -> Iterator[_Sample]:
    """Of the answer of `/api/v1/query`."""
    for series in document["data"]["result"] if isinstance(document, dict) else document:
        labels = dict(series["metric"])
        yield labels.pop("__name__"), labels, float(series["value"][1])


def _work_of_samples(samples: Iterator[_Sample]) -> Work:
    """Sums over pods; a pod's labelling is its matcher's, of which it has one."""
    by_pod: dict[str, list[_Sample]] = defaultdict(list)
    for name, labels, value in samples:
        if name.startswith("gim_") and math.isfinite(value):
            by_pod[labels.get("pod") or labels.get("instance", "")].append((name, labels, value))
    total = _Tally()
    for of_pod in by_pod.values():
        matchers = {labels["matcher"] for name, labels, value in of_pod if name == "gim_pairs_total" and value}
        matcher = matchers.pop() if len(matchers) == 1 else ""
        for name, labels, value in of_pod:
            total.add(name, labels, value, matcher)
    return total.work(is_wall=True)


def _work_of_journal(lines: Iterator[Mapping[str, Any]]) -> Work:
    total = _Tally()
    entries = list(lines)
    counts = [(*_counter(line["count"]), float(line["value"])) for line in entries if "count" in line]
    matchers = {labels["matcher"] for name, labels, _ in counts if name == "pairs"}
    matcher = matchers.pop() if len(matchers) == 1 else ""
    for name, labels, value in counts:
        total.add(f"gim_{name}_total", labels, value, matcher)
    for line in entries:
        if "step" in line:
            total.add("gim_step_seconds_total", {"step": str(line["step"])}, float(line["seconds"]), matcher)
    return total.work(is_wall=False)


def _counter(name: str) -> tuple[str, dict[str, str]]:
    """`pairs{matcher=rootsift,outcome=labelled}` as name and labels."""
    found = _COUNT.fullmatch(name)
    if found is None:
        raise ValueError(f"no count: {name!r}")
    return found[1], dict(label.split("=", 1) for label in (found[2] or "").split(",") if label)


class _Tally:
    """Adds samples up."""

    def __init__(self) -> None:
        self._sampled = self._starts = self._evaluated = 0.0
        self._pairs: defaultdict[str, float] = defaultdict(float)
        self._labelled_seconds: defaultdict[str, float] = defaultdict(float)
        self._messages: defaultdict[str, float] = defaultdict(float)
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._steps: defaultdict[str, float] = defaultdict(float)

    def add(self, name: str, labels: Mapping[str, str], value: float, matcher: str) -> None:
        """One sample of a pod whose matcher is this one."""
        stage = labels.get("stage", "")
        stage = f"label {matcher}" if stage == "label" else stage
        if name == "gim_frames_sampled_total":
            self._sampled += value
        elif name == "gim_starts_total":
            self._starts += value
        elif name == "gim_evaluated_pairs_total":
            self._evaluated += value
        elif name == "gim_pairs_total" and value:
            self._pairs[labels["matcher"]] += value
        elif name == "gim_labelled_video_seconds_total" and value:
            self._labelled_seconds[labels["matcher"]] += value
        elif name == "gim_stage_seconds_sum" and labels.get("outcome") == "done":
            self._seconds[stage] += value
        elif name == "gim_stage_seconds_count" and labels.get("outcome") == "done":
            self._messages[stage] += value
        elif name == "gim_step_seconds_total":
            step = labels["step"]
            self._steps[f"{matcher} {step}" if step in ("features", "matching", *_FIT_STEPS) else step] += value

    def work(self, *, is_wall: bool) -> Work:
        """All of it."""
        return Work(
            is_wall=is_wall,
            sampled=self._sampled,
            starts=self._starts,
            pairs=dict(self._pairs),
            labelled_seconds=dict(self._labelled_seconds),
            evaluated_pairs=self._evaluated,
            messages=dict(self._messages),
            seconds=dict(self._seconds),
            steps=dict(self._steps),
        )
