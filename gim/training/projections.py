"""What a whole run costs, by a rule from what a few micro-batches have cost. Imports no torch.

Of a step every device computes an equal number of the micro-batches, one after another; features that are kept are made
by all devices together. Not counted: the exchange of gradients, the scoring of benchmarks, and processor cores that
several devices of one machine would have to share.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

_GIB, _MIB = 2**30, 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """Where the time of one micro-batch and one step of the optimiser goes, in seconds."""

    data: float  # waiting for samples
    batch: float  # onto the device; of features that are not kept, finding them
    forward: float  # network and loss
    backward: float  # and clipping
    optimiser: float  # and the average of weights; once a step, however many micro-batches it has

    @property
    def micro_batch(self) -> float:
        """What every micro-batch takes."""
        return self.data + self.batch + self.forward + self.backward

    @property
    def shares(self) -> dict[str, float]:
        """Of the whole."""
        total = max(self.micro_batch + self.optimiser, 1e-12)
        return {item.name: getattr(self, item.name) / total for item in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCost:
    """Of features that are kept before the first step; a pair counts once for each augmentation."""

    num_pairs: int
    seconds_per_pair: float
    bytes_per_pair: float
    max_bytes: float  # that may be kept; beyond, features are made anew in every step

    @property
    def seconds(self) -> float:
        """By one device, where nothing is kept yet."""
        return self.num_pairs * self.seconds_per_pair

    @property
    def num_bytes(self) -> float:
        """On disk, if there is room."""
        return self.num_pairs * self.bytes_per_pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The whole run on so many devices."""

    num_devices: int
    seconds: float
    device_hours: float
    cost: float | None  # in the unit of the price; None: no price was given


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What was measured, and what of the run it is measured for."""

    recipe: str
    architecture: str
    dataset_id: str
    device: str  # its name
    precision: str
    num_parameters: int  # that are trained
    num_measured: int  # micro-batches
    batch_size: int  # pairs of a micro-batch
    num_lanes: int  # micro-batches of a step
    num_steps: int  # of the schedule
    num_validation_batches: int  # micro-batches of all validations
    seconds: StepSeconds
    memory_bytes: int  # most at one time
    memory_of: str  # what was measured as memory
    checkpoint_bytes: int  # of one
    num_checkpoints: int  # kept at the end
    features: FeatureCost | None
    price_per_device_hour: float | None = None

    @property
    def step_seconds(self) -> float:
        """One step on this device alone."""
        return self.num_lanes * self.seconds.micro_batch + self.seconds.optimiser

    @property
    def pairs_per_second(self) -> float:
        """On this device alone."""
        return self.batch_size * self.num_lanes / self.step_seconds

    @property
    def data_wait_share(self) -> float:
        """Of the time of a step."""
        return self.num_lanes * self.seconds.data / self.step_seconds

    def on(self, num_devices: int) -> Projection:
        """The whole run on so many devices like this one."""
        per_device, times = -(-self.num_lanes // num_devices), self.seconds
        training = self.num_steps * (per_device * times.micro_batch + times.optimiser)
        validation = self.num_validation_batches / num_devices * (times.data + times.batch + times.forward)
        features = self.features.seconds / num_devices if self.features else 0.0
        seconds = training + validation + features
        hours = seconds * num_devices / 3600
        cost = None if self.price_per_device_hour is None else hours * self.price_per_device_hour
        return Projection(num_devices=num_devices, seconds=seconds, device_hours=hours, cost=cost)

    @property
    def projections(self) -> list[Projection]:
        """For every number of devices that can share the micro-batches of a step."""
        return [self.on(num) for num in range(1, self.num_lanes + 1) if self.num_lanes % num == 0]

    def facts(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        derived = ("step_seconds", "pairs_per_second", "data_wait_share")
        return asdict(self) | {name: getattr(self, name) for name in derived} | {
            "projections": [asdict(item) for item in self.projections]
        }  # fmt: skip


def estimate_text(estimate: Estimate) -> str:
    """All of it for a person, in lines."""
    seconds = estimate.seconds
    pairs = estimate.num_steps * estimate.batch_size * estimate.num_lanes
    parts = ", ".join(f"{name} {100 * share:.1f} %" for name, share in seconds.shares.items())
    lines = [
        f"{estimate.recipe} ({estimate.architecture}, {estimate.num_parameters:,} weights) on {estimate.dataset_id}: "
        f"{estimate.num_measured} micro-batches of {estimate.batch_size} pairs measured on {estimate.device}, "
        f"{estimate.precision}",
        f"speed       {estimate.pairs_per_second:.3g} pairs/s, {estimate.step_seconds:.3g} s for a step of "
        f"{estimate.num_lanes} micro-batches",
        f"time        {parts}",
        f"data wait   {100 * estimate.data_wait_share:.1f} % of the time",
        f"memory      {estimate.memory_bytes / _GIB:.2f} GiB ({estimate.memory_of})",
        f"checkpoints {estimate.num_checkpoints} kept of {estimate.checkpoint_bytes / _MIB:.1f} MiB each",
    ]
    if features := estimate.features:
        lines.append(_features_text(features))
    lines.append(f"schedule    {pairs:,} pairs in {estimate.num_steps:,} steps; the whole run takes, by devices:")
    lines += [_projection_text(item) for item in estimate.projections]
    return "\n".join(lines)


def _features_text(features: FeatureCost) -> str:
    room = "" if features.num_bytes <= features.max_bytes else (
        f"; more than features.max_cache_gib = {features.max_bytes / _GIB:g}, the rest is made anew in every step"
    )  # fmt: skip
    return (
        f"features    {features.num_pairs:,} pairs to be kept, {features.seconds_per_pair:.3g} s and "
        f"{features.bytes_per_pair / _MIB:.2f} MiB each: {_duration(features.seconds)} and "
        f"{features.num_bytes / _GIB:.2f} GiB{room}"
    )


def _projection_text(item: Projection) -> str:
    cost = "" if item.cost is None else f", cost {item.cost:,.2f}"
    return f"  {item.num_devices:>4}  {_duration(item.seconds):>12}, {item.device_hours:,.2f} device-hours{cost}"


def _duration(seconds: float) -> str:
    """In the unit that a person would take."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
