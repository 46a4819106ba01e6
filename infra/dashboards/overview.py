"""The pipeline at a glance: how much is labelled, what is lost where and why, what waits, who is there."""

from grafana_foundation_sdk.models import units

from infra.dashboards.board import Board, Query, Row, bars, lines, number, stack

_NOW = Row(
    "Now",
    (
        number(
            "Labelled video a day",
            units.Hours,
            "Hours of video that a matcher would label in a day at the pace of the last hour.",
            Query("matcher:gim_labelled_video_hours:per_day", "{{matcher}}"),
        ),
        number(
            "Labelled pairs",
            units.CountsPerSecond,
            "Base pairs that got labels, a second over the last five minutes.",
            Query("matcher:gim_labelled_pairs:rate5m", "{{matcher}}"),
        ),
        number(
            "Messages that wait",
            units.Short,
            "Messages of all topics that their groups have not acknowledged, those in hand included.",
            Query("sum(topic_group:gim_bus_lag:max)", "waiting"),
        ),
        number(
            "Oldest message in hand",
            units.Seconds,
            "For how long the message that has been worked on longest has been in hand.",
            Query("max(gim_in_hand_seconds)", "oldest"),
        ),
        number(
            "Dead letters in a day",
            units.Short,
            "Messages that were given up in the last 24 hours; `gim dead ls` shows them.",
            Query("sum(increase(gim_dead_letters_total[24h]))", "dead letters"),
            colours=((0, "green"), (0.5, "red")),
        ),
        number(
            "Alerts",
            units.Short,
            "Alerts that fire now; docs/alerts.md says what each means and what to do.",
            Query('count(ALERTS{alertstate="firing"}) or vector(0)', "firing"),
            colours=((0, "green"), (1, "red")),
        ),
    ),
)

_LABELS = Row(
    "Labels",
    (
        lines(
            "Labelled video a day, by matcher",
            units.Hours,
            "Hours of video a day at the pace of the hour before each point.",
            Query("matcher:gim_labelled_video_hours:per_day", "{{matcher}}"),
        ),
        lines(
            "Labelled pairs, by matcher",
            units.CountsPerSecond,
            "Base pairs that got labels, a second.",
            Query("matcher:gim_labelled_pairs:rate5m", "{{matcher}}"),
        ),
        lines(
            "Share of pairs that get labels",
            units.PercentUnit,
            "Of the base pairs that a matcher was given, those that got labels.",
            Query(
                'sum by (matcher) (rate(gim_pairs_total{outcome="labelled"}[$__rate_interval]))'
                " / sum by (matcher) (rate(gim_pairs_total[$__rate_interval]))",
                "{{matcher}}",
            ),
            top=1,
        ),
    ),
)

_FUNNEL = Row(
    "Funnel, over the time shown",
    (
        bars(
            "From frames to training pairs",
            units.Short,
            "How many of each there were, every stage a part of what the one before left.",
            Query("sum(increase(gim_frames_sampled_total[$__range]))", "frames sampled"),
            Query("sum(increase(gim_pairs_total[$__range]))", "base pairs"),
            Query('sum(increase(gim_pairs_total{outcome="labelled"}[$__range]))', "base pairs with labels"),
            Query("sum(increase(gim_starts_total[$__range]))", "starts"),
            Query("sum(increase(gim_training_pairs_total[$__range]))", "training pairs"),
        ),
        bars(
            "Base pairs without labels",
            units.Short,
            "Base pairs that got no labels, by the reason.",
            Query('sum by (outcome) (increase(gim_pairs_total{outcome!="labelled"}[$__range]))', "{{outcome}}"),
        ),
        bars(
            "Starts without a training pair",
            units.Short,
            "Sampled frames at which a training pair could begin and none does, by the reason.",
            Query('sum by (outcome) (increase(gim_starts_total{outcome!="kept"}[$__range]))', "{{outcome}}"),
        ),
        stack(
            "Videos at their end",
            units.Short,
            "Videos that ended in the hour before each point: kept, rightly rejected, skipped or failed, and why.",
            Query("sum by (outcome, reason) (increase(gim_videos_total[1h]))", "{{outcome}}: {{reason}}"),
        ),
        lines(
            "Training pairs",
            units.CountsPerSecond,
            "Training pairs stored, a second.",
            Query("sum(rate(gim_training_pairs_total[$__rate_interval]))", "stored"),
        ),
        lines(
            "Reach of training pairs",
            units.Seconds,
            "Video seconds between the two frames of a training pair: of half of them, and of nine in ten, no more.",
            Query(
                "histogram_quantile(0.5, sum by (le) (rate(gim_propagated_interval_seconds_bucket[$__rate_interval])))",
                "median",
            ),
            Query(
                "histogram_quantile(0.9, sum by (le) (rate(gim_propagated_interval_seconds_bucket[$__rate_interval])))",
                "90 %",
            ),
        ),
    ),
)

_QUEUES = Row(
    "Queues",
    (
        lines(
            "Messages that wait, by group",
            units.Short,
            "Messages of a topic that a group has not acknowledged.",
            Query("topic_group:gim_bus_lag:max", "{{group}} of {{topic}}"),
        ),
        lines(
            "Oldest message in hand, by service",
            units.Seconds,
            "For how long a service has been at the message that it has been at longest; 0 when it has none.",
            Query("max by (service) (gim_in_hand_seconds)", "{{service}}"),
        ),
        lines(
            "Messages done",
            units.MessagesPerSecond,
            "Messages that were handled to their end, a second.",
            Query('sum by (stage) (rate(gim_messages_total{outcome="done"}[$__rate_interval]))', "{{stage}}"),
        ),
        stack(
            "Dead letters",
            units.Short,
            "Messages given up in the hour before each point, by stage and error.",
            Query("sum by (stage, error) (increase(gim_dead_letters_total[1h]))", "{{stage}}: {{error}}"),
        ),
        lines(
            "Seconds of a message, 95 %",
            units.Seconds,
            "Wall seconds from taken to acknowledged that 95 of 100 messages of a stage do not pass.",
            Query(
                "histogram_quantile(0.95, sum by (le, stage) "
                '(rate(gim_stage_seconds_bucket{outcome="done"}[$__rate_interval])))',
                "{{stage}}",
            ),
        ),
        lines(
            "Held back",
            units.BoolOnOff,
            "On while the downloader begins no further video, because of lag or want of room.",
            Query('max by (service) (gim_paused{service="downloader"})', "{{service}}"),
            top=1,
        ),
    ),
)

_SERVICES = Row(
    "Services",
    (
        lines(
            "Pods that answer",
            units.Short,
            "Pods of a service whose metrics Prometheus could read.",
            Query('sum by (service) (up{job="gim"})', "{{service}}"),
        ),
        lines(
            "Alerts that fire",
            units.Short,
            "Alerts by name; docs/alerts.md says what each means and what to do.",
            Query(
                'count by (alertname) (ALERTS{alertstate="firing"})'
                ' or label_replace(vector(0), "alertname", "none", "", "")',
                "{{alertname}}",
            ),
        ),
        stack(
            "Where the time goes",
            units.Short,
            "Busy thread seconds a second of the steps within stages; those of one message run side by side.",
            Query("sum by (step) (rate(gim_step_seconds_total[$__rate_interval]))", "{{step}}"),
        ),
        lines(
            "Processors",
            units.Short,
            "Processor seconds a second, of all pods of a service.",
            Query('sum by (service) (rate(process_cpu_seconds_total{job="gim"}[$__rate_interval]))', "{{service}}"),
            width=12,
        ),
        lines(
            "Memory",
            units.BytesIEC,
            "Resident memory of all pods of a service, children that decode not included.",
            Query('sum by (service) (process_resident_memory_bytes{job="gim"})', "{{service}}"),
            width=12,
        ),
    ),
)

BOARD = Board(
    "overview",
    "GIM: pipeline",
    "From requested videos to training pairs: how much, what is lost, what waits.",
    (_NOW, _LABELS, _FUNNEL, _QUEUES, _SERVICES),
)
