"""The matcher: what its labels are like, how busy its pods and GPUs are, how it answers over gRPC."""

from grafana_foundation_sdk.models import units

from infra.dashboards.board import Board, Query, Row, Variable, lines, stack


def _quantile(share: str, metric: str, *labels: str, where: str = "") -> str:
    by = ", ".join(("le", *labels))
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket{{{where}}}[$__rate_interval])))"


def _mean(metric: str) -> str:
    total, count = (f"sum by (matcher) (rate({metric}_{part}{{{_CHOSEN}}}[$__rate_interval]))" for part in _PARTS)
    return f"{total} / {count}"


_PARTS = ("sum", "count")
_CHOSEN = 'matcher=~"$matcher"'
_DONE = 'stage="label", outcome="done"'

_LABELS = Row(
    "Labels",
    (
        stack(
            "Pairs, by outcome",
            units.CountsPerSecond,
            "Base pairs that the matcher was given, a second: labelled, or the reason why not.",
            Query(f"sum by (outcome) (rate(gim_pairs_total{{{_CHOSEN}}}[$__rate_interval]))", "{{outcome}}"),
        ),
        lines(
            "Correspondences per pair",
            units.Short,
            "Correspondences of a labelled pair after the robust fit: what 10, 50 and 90 of 100 pairs do not pass.",
            Query(_quantile("0.1", "gim_correspondences_per_pair", "matcher", where=_CHOSEN), "{{matcher}} 10 %"),
            Query(_quantile("0.5", "gim_correspondences_per_pair", "matcher", where=_CHOSEN), "{{matcher}} median"),
            Query(_quantile("0.9", "gim_correspondences_per_pair", "matcher", where=_CHOSEN), "{{matcher}} 90 %"),
        ),
        lines(
            "Seconds of a segment",
            units.Seconds,
            "Wall seconds from a segment taken to its labels acknowledged: what 50 and 95 of 100 do not pass.",
            Query(_quantile("0.5", "gim_stage_seconds", where=_DONE), "median"),
            Query(_quantile("0.95", "gim_stage_seconds", where=_DONE), "95 %"),
        ),
        lines(
            "Segments, by pod",
            units.MessagesPerMinute,
            "Segments that a pod labelled, a minute.",
            Query(
                f'60 * sum by (instance) (rate(gim_messages_total{{{_DONE}, service="matcher"}}[$__rate_interval]))',
                "{{instance}}",
            ),
        ),
        lines(
            "Segment in hand, by pod",
            units.Seconds,
            "For how long a pod has been at the segment that it has in hand.",
            Query('max by (instance) (gim_in_hand_seconds{service="matcher"})', "{{instance}}"),
        ),
        lines(
            "Segments that wait",
            units.Short,
            "Segments that a matcher's group has not acknowledged.",
            Query('topic_group:gim_bus_lag:max{topic=~".*segments[.]v1"}', "{{group}}"),
        ),
    ),
)

_DEVICE = Row(
    "GPU and processor",
    (
        lines(
            "GPU memory",
            units.BytesIEC,
            "GPU memory of a pod's process as torch counts it; 0 without a GPU.",
            Query(
                'sum by (instance, kind) (gim_device_memory_bytes{service="matcher", kind!="total"})',
                "{{instance}} {{kind}}",
            ),
        ),
        lines(
            "Share of GPU memory",
            units.PercentUnit,
            "What torch has reserved of all memory of a pod's GPUs; 0 without a GPU.",
            Query(
                'sum by (instance) (gim_device_memory_bytes{service="matcher", kind="reserved"})'
                ' / clamp_min(sum by (instance) (gim_device_memory_bytes{service="matcher", kind="total"}), 1)',
                "{{instance}}",
            ),
            top=1,
        ),
        lines(
            "GPU use",
            units.Short,
            "Seconds a second that a pod computes features or matches: near 1 a network's GPU never waits for data;"
            " without a GPU it counts busy threads.",
            Query(
                "sum by (instance) "
                '(rate(gim_step_seconds_total{service="matcher", step=~"features|matching"}[$__rate_interval]))',
                "{{instance}}",
            ),
        ),
        stack(
            "Where the time goes",
            units.Short,
            "Busy thread seconds a second of the steps of labelling, over all pods.",
            Query(
                'sum by (step) (rate(gim_step_seconds_total{service="matcher"}[$__rate_interval]))',
                "{{step}}",
            ),
        ),
        lines(
            "Processors, by pod",
            units.Short,
            "Processor seconds a second.",
            Query(
                'sum by (instance) (rate(process_cpu_seconds_total{service="matcher"}[$__rate_interval]))',
                "{{instance}}",
            ),
        ),
        lines(
            "Memory, by pod",
            units.BytesIEC,
            "Resident memory of a pod's process.",
            Query('max by (instance) (process_resident_memory_bytes{service="matcher"})', "{{instance}}"),
        ),
    ),
)

_RPC = Row(
    "gRPC",
    (
        stack(
            "Requests",
            units.RequestsPerSecond,
            "Requests answered, a second, by method and status code.",
            Query("sum by (method, code) (rate(gim_rpc_requests_total[$__rate_interval]))", "{{method}} {{code}}"),
        ),
        lines(
            "Latency",
            units.Seconds,
            "Seconds from a request to its answer: what 50, 95 and 99 of 100 do not pass.",
            Query(_quantile("0.5", "gim_rpc_seconds", "method"), "{{method}} median"),
            Query(_quantile("0.95", "gim_rpc_seconds", "method"), "{{method}} 95 %"),
            Query(_quantile("0.99", "gim_rpc_seconds", "method"), "{{method}} 99 %"),
        ),
        lines(
            "Parts of the latency",
            units.Seconds,
            "Mean seconds that a request waited for its batch, its images took to decode, and its batch to compute.",
            Query(_mean("gim_rpc_queue_seconds"), "{{matcher}} waiting"),
            Query(_mean("gim_rpc_decode_seconds"), "{{matcher}} decoding"),
            Query(_mean("gim_rpc_compute_seconds"), "{{matcher}} computing"),
        ),
        lines(
            "Batch size",
            units.Short,
            "Requests computed together, as each of them saw it: the mean, and what 90 of 100 do not pass.",
            Query(_mean("gim_rpc_batch_size"), "{{matcher}} mean"),
            Query(_quantile("0.9", "gim_rpc_batch_size", "matcher", where=_CHOSEN), "{{matcher}} 90 %"),
        ),
        lines(
            "Waiting requests and open streams",
            units.Short,
            "Requests that wait for a batch, and streams that are open.",
            Query(f"sum by (matcher) (gim_rpc_waiting{{{_CHOSEN}}})", "{{matcher}} waiting"),
            Query("sum(gim_rpc_streams)", "streams"),
        ),
        lines(
            "Bytes",
            units.BytesPerSecondIEC,
            "Bytes of requests and of their answers, a second.",
            Query("sum by (direction) (rate(gim_rpc_bytes_total[$__rate_interval]))", "{{direction}}"),
        ),
    ),
)

BOARD = Board(
    "matcher",
    "GIM: matcher",
    "Base labels and gRPC calls: rates, latencies, GPUs.",
    (_LABELS, _DEVICE, _RPC),
    (Variable("matcher", "Matcher", "gim_labelled_pairs_total"),),
)
