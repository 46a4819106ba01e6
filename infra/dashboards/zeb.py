"""Scores of runs on ZEB: dataset by dataset, over runs, and beside the table that was published."""

from grafana_foundation_sdk.models import units

from infra.dashboards.board import Board, Query, Row, Variable, bars, lines, matrix
from infra.dashboards.published import AUC, MEAN

_RUN = 'run_id=~"$run_id"'
_OWN = f'dataset_method_run_id:gim_zeb_auc5:max{{{_RUN}, dataset=~"$dataset"}}'
_PUBLISHED = f'{AUC}{{method="$method", dataset=~"$dataset"}}'

_TABLE = Row(
    "Beside the published table",
    (
        matrix(
            "AUC at 5°, by dataset and run",
            units.Percent,
            "The last report of each run on each dataset, and the published method that is chosen above.",
            Query(
                f"max by (dataset, run_id) ({_OWN})"
                f' or max by (dataset, run_id) (label_replace({_PUBLISHED}, "run_id", "$1", "method", "(.*)"))',
                "{{dataset}} {{run_id}}",
            ),
            labels=("dataset", "run_id"),
        ),
        bars(
            "Mean AUC at 5°",
            units.Percent,
            "Runs: mean over the datasets that a run has a report on; published: mean over all twelve.",
            Query(f'max by (method, run_id) (gim_zeb_auc_mean{{{_RUN}, threshold_deg="5"}})', "{{method}} {{run_id}}"),
            Query(MEAN, "published: {{method}}"),
            width=12,
            height=16,
        ),
        lines(
            "Points above the published method",
            units.Percent,
            "AUC at 5° less that of the published method that is chosen above, for datasets that go by ZEB's names.",
            Query(
                f"max by (dataset, run_id) ({_OWN}) - on (dataset) group_left () max by (dataset) ({_PUBLISHED})",
                "{{dataset}} {{run_id}}",
            ),
            width=12,
        ),
        lines(
            "Mean AUC, by threshold",
            units.Percent,
            "Mean over the datasets that a run has a report on, at 5, 10 and 20 degrees.",
            Query(
                f"max by (run_id, threshold_deg) (gim_zeb_auc_mean{{{_RUN}}})",
                "{{run_id}} {{threshold_deg}}°",
            ),
            width=12,
        ),
    ),
)

_RUNS = Row(
    "Over runs",
    (
        lines(
            "AUC at 5°, by dataset",
            units.Percent,
            "The last report of each run, as it was at the time.",
            Query(_OWN, "{{dataset}} {{run_id}}"),
        ),
        lines(
            "Mean rank",
            units.Short,
            "Mean rank among the runs shown, 1 the best, on the datasets that all of them have.",
            Query(f"max by (method, run_id) (gim_zeb_rank{{{_RUN}}})", "{{method}} {{run_id}}"),
        ),
        lines(
            "Pairs without a pose",
            units.PercentUnit,
            "Share of a dataset's pairs for which no pose was found.",
            Query(
                f"max by (dataset, run_id) (gim_zeb_failures{{{_RUN}}} / gim_zeb_pairs{{{_RUN}}})",
                "{{dataset}} {{run_id}}",
            ),
            top=1,
        ),
        lines(
            "Step of the checkpoint",
            units.Short,
            "Training step of the checkpoint that the last report is of.",
            Query(f"max by (dataset, run_id) (gim_zeb_step{{{_RUN}}})", "{{dataset}} {{run_id}}"),
            width=12,
        ),
        lines(
            "Pairs",
            units.Short,
            "Pairs of a dataset that the last report is of.",
            Query(f"max by (dataset, run_id) (gim_zeb_pairs{{{_RUN}}})", "{{dataset}} {{run_id}}"),
            width=12,
        ),
    ),
)

BOARD = Board(
    "zeb",
    "GIM: ZEB",
    "Scores of the runs that were reported last. A dataset is compared with the published table where its benchmark has"
    " the name of ZEB's folder: gl3d, kitti, and so on.",
    (_TABLE, _RUNS),
    (
        Variable("run_id", "Run", "gim_zeb_auc"),
        Variable("dataset", "Dataset", "gim_zeb_auc"),
        Variable("method", "Published method", AUC, is_single=True),
    ),
    period="7d",
)
