"""The store: what the services ask of it and how it answers, and what MinIO says of itself."""

from grafana_foundation_sdk.models import units

from infra.dashboards.board import Board, Query, Row, lines, number, stack

_SERVICES = Row(
    "As the services see it",
    (
        stack(
            "Calls",
            units.RequestsPerSecond,
            "Calls of the store, a second, by operation.",
            Query("sum by (operation) (rate(gim_store_requests_total[$__rate_interval]))", "{{operation}}"),
        ),
        lines(
            "Share of calls that fail",
            units.PercentUnit,
            "Calls that ended in an error, of all that a service made in five minutes; a missing key is no error.",
            Query("service:gim_store_errors:share5m", "{{service}}"),
            top=1,
        ),
        lines(
            "Seconds of a call, 95 %",
            units.Seconds,
            "What 95 of 100 calls of an operation do not pass, retries included.",
            Query(
                "histogram_quantile(0.95, sum by (le, operation) (rate(gim_store_seconds_bucket[$__rate_interval])))",
                "{{operation}}",
            ),
        ),
        lines(
            "Bytes",
            units.BytesPerSecondIEC,
            "Bytes read from the store (in) and written to it (out), a second, by service.",
            Query(
                "sum by (service, direction) (rate(gim_store_bytes_total[$__rate_interval]))",
                "{{service}} {{direction}}",
            ),
        ),
        lines(
            "Missing keys",
            units.RequestsPerSecond,
            "Calls about a key that is not there, a second: stages look whether their work is done.",
            Query(
                'sum by (operation) (rate(gim_store_requests_total{outcome="missing"}[$__rate_interval]))',
                "{{operation}}",
            ),
        ),
        lines(
            "Errors",
            units.RequestsPerSecond,
            "Calls that ended in an error, a second, by operation.",
            Query(
                'sum by (operation) (rate(gim_store_requests_total{outcome="error"}[$__rate_interval]))',
                "{{operation}}",
            ),
        ),
    ),
)

_MINIO = Row(
    "MinIO",
    (
        number(
            "Room that is left",
            units.PercentUnit,
            "Free share of what can be used of the drives.",
            Query("cluster:minio_free:share", "free"),
            colours=((0, "red"), (0.15, "green")),
        ),
        number(
            "Free",
            units.BytesIEC,
            "Bytes that can still be stored.",
            Query("max(minio_cluster_capacity_usable_free_bytes)", "free"),
        ),
        number(
            "Drives away",
            units.Short,
            "Drives that are offline.",
            Query("max(minio_cluster_drive_offline_total)", "offline"),
            colours=((0, "green"), (1, "red")),
        ),
        number(
            "Servers that answer",
            units.Short,
            "Servers of MinIO whose metrics Prometheus could read.",
            Query('sum(up{job="minio"})', "up"),
        ),
        number(
            "Requests in flight",
            units.Short,
            "S3 requests that are being answered now.",
            Query("sum(minio_s3_requests_inflight_total) or vector(0)", "in flight"),
        ),
        number(
            "Requests that wait",
            units.Short,
            "S3 requests that wait for their turn.",
            Query("sum(minio_s3_requests_waiting_total)", "waiting"),
        ),
        lines(
            "Capacity",
            units.BytesIEC,
            "What is free, and all that can be used.",
            Query("max(minio_cluster_capacity_usable_free_bytes)", "free"),
            Query("max(minio_cluster_capacity_usable_total_bytes)", "in all"),
        ),
        stack(
            "S3 requests",
            units.RequestsPerSecond,
            "Requests of all clients, a second, by call.",
            Query("sum by (api) (rate(minio_s3_requests_total[$__rate_interval]))", "{{api}}"),
        ),
        lines(
            "S3 errors",
            units.RequestsPerSecond,
            "Requests answered by 4xx (a missing key among them) and by 5xx, a second.",
            Query("sum(rate(minio_s3_requests_4xx_errors_total[$__rate_interval])) or vector(0)", "4xx"),
            Query("sum(rate(minio_s3_requests_5xx_errors_total[$__rate_interval])) or vector(0)", "5xx"),
        ),
        lines(
            "S3 traffic",
            units.BytesPerSecondIEC,
            "Bytes that clients sent and got, a second.",
            Query("sum(rate(minio_s3_traffic_received_bytes[$__rate_interval]))", "received"),
            Query("sum(rate(minio_s3_traffic_sent_bytes[$__rate_interval]))", "sent"),
            width=24,
        ),
    ),
)

BOARD = Board("storage", "GIM: storage", "Calls of the store, and MinIO's own numbers.", (_SERVICES, _MINIO))
