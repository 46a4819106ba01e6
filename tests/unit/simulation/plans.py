"""A small plan whose numbers are easy to reckon with."""

from dataclasses import replace

from gim.simulation.plan import DownloaderPlan, KafkaPlan, MatcherPlan, Plan, PropagatorPlan, VideosPlan

# Of an hour of video: 18,000 samples, 563 segments. A segment of 32 samples and 96 pairs takes a matcher 9.6 s.
SMALL = Plan(
    hours=6.0,
    warm_up_hours=3.0,
    videos=VideosPlan(median_seconds=640.0, spread=0.0),  # 3,200 samples, 100 segments
    kafka=KafkaPlan(partitions=12, rebalance_seconds=1.0),
    downloader=DownloaderPlan(pods=2, video_seconds=4.0, decode_seconds=0.05, max_label_lag=1000),
    matchers={
        "net": MatcherPlan(
            pods=4, gpus=1, message_seconds=0.0, load_seconds=0.0, frame_seconds=0.0, pair_seconds=0.1, fit_seconds=0.0
        )
    },
    propagator=PropagatorPlan(pods=2, bell_seconds=0.01, sample_seconds=0.02),
)


def changed(plan: Plan = SMALL, **sections) -> Plan:
    """The plan with some fields of some sections in place of its own; `net` is its matcher."""
    for name, fields in sections.items():
        if name == "net":
            plan = replace(plan, matchers={**plan.matchers, name: replace(plan.matchers[name], **fields)})
        elif isinstance(fields, dict):
            plan = replace(plan, **{name: replace(getattr(plan, name), **fields)})
        else:
            plan = replace(plan, **{name: fields})
    return plan
