"""The reader of queries finds what they name, so that the other tests here can fail."""

import pytest

from tests.unit.dashboards import promql
from tests.unit.dashboards.known import mistakes


def test_metrics_labels_and_what_is_left_are_found():
    query = 'sum by (le, matcher) (rate(gim_x_bucket{stage="label", step=~"a|b"}[5m])) / ignoring(kind) y:z:w'
    named = promql.read(query)
    assert named.metrics == {"gim_x_bucket", "y:z:w"}
    assert dict(named.selectors)["gim_x_bucket"] == {"stage": ("=", "label"), "step": ("=~", "a|b")}
    assert named.grouped == {"le", "matcher", "kind"}
    assert named.kept == {"le", "matcher"}


def test_functions_operators_and_numbers_are_no_metrics():
    query = 'clamp_min(time() - max(up offset 2h) or vector(0), 1e-9) > Inf unless on() absent(up{job="gim"})'
    named = promql.read(query)
    assert named.metrics == {"up"}


def test_labels_that_are_made_are_found():
    named = promql.read('max by (run_id) (label_replace(up{job="gim"}, "run_id", "$1", "service", "(.*)"))')
    assert named.made == {"run_id"}


@pytest.mark.parametrize("query", ["sum(up", "sum(up))", "up ; down", 'up{job~"gim"}'])
def test_what_is_no_query_is_refused(query):
    with pytest.raises((ValueError, IndexError)):
        promql.read(query)


@pytest.mark.parametrize(
    ("query", "legend", "said"),
    [
        ("sum(gim_video_total)", (), "no metric gim_video_total"),
        ('sum(gim_videos_total{result="failed"})', (), "no label result"),
        ('sum(gim_videos_total{outcome="fail"})', (), "never fail"),
        ('sum(gim_step_seconds_total{step=~"feature|matching"})', (), "never feature"),
        ("sum by (matcher) (gim_videos_total)", (), "grouped by matcher"),
        ("sum by (outcome) (gim_videos_total)", ("reason",), "legend names reason"),
        ("sum(gim_stage_seconds)", (), "no metric gim_stage_seconds"),
    ],
)
def test_mistakes_are_told(query, legend, said):
    (found,) = mistakes(query, legend=legend)
    assert said in found


def test_what_is_right_is_no_mistake():
    query = 'sum by (outcome, reason) (increase(gim_videos_total{outcome!="kept", service="downloader"}[1h]))'
    assert mistakes(query, legend=("outcome",)) == []
