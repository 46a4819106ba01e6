"""Training: whether a run learns, how fast it is, what holds it up, and how its evaluation gets on."""

from grafana_foundation_sdk.models import units

from infra.dashboards.board import Board, Query, Row, Variable, lines, number, stack

_RUN = 'run_id=~"$run_id"'


def _curve(pattern: str) -> str:
    return f'run_id_curve:gim_training_value:max{{{_RUN}, curve=~"{pattern}"}}'


_NOW = Row(
    "Now",
    (
        number(
            "Step",
            units.Short,
            "Steps of the optimiser that a run has done.",
            Query(f"max by (run_id) (gim_training_step{{{_RUN}}})", "{{run_id}}"),
        ),
        number("Loss", units.Short, "The last point of a run's loss.", Query(_curve("loss"), "{{run_id}}")),
        number(
            "Pairs",
            units.CountsPerSecond,
            "Pairs that a run saw over all of its processes, a second over the last five minutes.",
            Query(f"sum by (run_id) (rate(gim_trained_pairs_total{{{_RUN}}}[5m]))", "{{run_id}}"),
        ),
        number(
            "Waiting for data",
            units.PercentUnit,
            "Share of its time that a run's processes waited for data.",
            Query(_curve("data_wait_share"), "{{run_id}}"),
            colours=((0, "green"), (0.5, "red")),
        ),
        number(
            "Last checkpoint",
            units.Seconds,
            "How long ago a run stored its last checkpoint.",
            Query(f"time() - max by (run_id) (gim_training_checkpoint_time_seconds{{{_RUN}}})", "{{run_id}}"),
        ),
        number(
            "Bad steps",
            units.Short,
            "Steps whose gradient was no number, in the last point's stretch of the run.",
            Query(_curve("bad_steps"), "{{run_id}}"),
            colours=((0, "green"), (1, "red")),
        ),
    ),
)

_LEARNING = Row(
    "Learning",
    (
        lines(
            "Loss",
            units.Short,
            "Mean loss since the point before, and of the held-out pairs.",
            Query(_curve("loss|validation/loss"), "{{run_id}} {{curve}}"),
        ),
        lines(
            "Parts of the loss",
            units.Short,
            "Terms of the loss by part of the mixture, and whatever else a step measures of a part.",
            Query(_curve("(video|homography|posed)/.+"), "{{run_id}} {{curve}}"),
        ),
        lines(
            "Scores of checkpoints",
            units.Percent,
            "AUC of pose errors of the checkpoints on the benchmarks that judge them.",
            Query(_curve("auc/.+"), "{{run_id}} {{curve}}"),
        ),
        lines(
            "Learning rate",
            units.ScientificNotation,
            "What the schedule says.",
            Query(_curve("lr"), "{{run_id}}"),
        ),
        lines(
            "Norm of the gradient",
            units.Short,
            "Mean norm before clipping since the point before, of steps that were numbers.",
            Query(_curve("gradient_norm"), "{{run_id}}"),
        ),
        stack(
            "Bad steps",
            units.Short,
            "Steps in the hour before each point whose gradient was no number: they changed no weights.",
            Query(f"sum by (run_id) (increase(gim_training_bad_steps_total{{{_RUN}}}[1h]))", "{{run_id}}"),
        ),
    ),
)

_SPEED = Row(
    "Speed",
    (
        lines(
            "Pairs",
            units.CountsPerSecond,
            "Pairs that a run saw over all of its processes, a second.",
            Query(f"sum by (run_id) (rate(gim_trained_pairs_total{{{_RUN}}}[$__rate_interval]))", "{{run_id}}"),
        ),
        lines(
            "Waiting for data",
            units.PercentUnit,
            "Share of its time that a run's processes waited for data.",
            Query(_curve("data_wait_share"), "{{run_id}}"),
            top=1,
        ),
        stack(
            "Pairs without a sample",
            units.Short,
            "Pairs in the hour before each point that gave no sample, by part of the mixture and reason.",
            Query(
                f"sum by (part, reason) (increase(gim_training_skipped_pairs_total{{{_RUN}}}[1h]))",
                "{{part}}: {{reason}}",
            ),
        ),
        lines(
            "Age of the last checkpoint",
            units.Seconds,
            "How long ago a run stored its last checkpoint: what a lost pod costs.",
            Query(f"time() - max by (run_id) (gim_training_checkpoint_time_seconds{{{_RUN}}})", "{{run_id}}"),
        ),
        lines(
            "GPU memory",
            units.BytesIEC,
            "GPU memory of a run's first process as torch counts it; 0 without a GPU.",
            Query(
                'sum by (instance, kind) (gim_device_memory_bytes{service="trainer", kind!="total"})',
                "{{instance}} {{kind}}",
            ),
        ),
        lines(
            "Memory",
            units.BytesIEC,
            "Resident memory of a run's first process.",
            Query('max by (instance) (process_resident_memory_bytes{service="trainer"})', "{{instance}}"),
        ),
    ),
)

_EVALUATION = Row(
    "Evaluation",
    (
        lines(
            "Pairs evaluated",
            units.PercentUnit,
            "Share of a benchmark's pairs that are scored, of the benchmarks in hand.",
            Query(
                'max by (run_id, benchmark) (gim_evaluation_pairs{state="done"}'
                ' / ignoring(state) gim_evaluation_pairs{state="all"})',
                "{{run_id}} {{benchmark}}",
            ),
            top=1,
        ),
        lines(
            "Speed of the evaluators",
            units.CountsPerSecond,
            "Pairs matched and scored, a second.",
            Query(
                "sum by (matcher, benchmark) (rate(gim_evaluated_pairs_total[$__rate_interval]))",
                "{{matcher}} {{benchmark}}",
            ),
        ),
        lines(
            "Seconds of a pair",
            units.Seconds,
            "Seconds to match a pair of a benchmark, or to score it, that half of them do not pass.",
            Query(
                "histogram_quantile(0.5, sum by (le, matcher, step) "
                "(rate(gim_evaluated_pair_seconds_bucket[$__rate_interval])))",
                "{{matcher}} {{step}}",
            ),
        ),
    ),
)

BOARD = Board(
    "training",
    "GIM: training",
    "Runs of training: loss, speed, checkpoints, and how far their evaluation is.",
    (_NOW, _LEARNING, _SPEED, _EVALUATION),
    (Variable("run_id", "Run", "gim_training_step"),),
)
