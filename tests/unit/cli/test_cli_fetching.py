import pytest

from gim.cli._fetching import fetch_progress, fetch_weights
from gim.errors import Unavailable
from gim.matchers.registry import weight_names
from gim.runtime import wiring
from gim.settings import Settings
from gim.weights.config import WeightsConfig


def test_outside_a_terminal_a_fetch_is_one_line_however_often_it_tells(capsys):
    with fetch_progress("xfeat", plain_lines=True) as report:
        for done in range(0, 7_000_000, 1_000_000):
            report(done, 6_247_949)
    assert capsys.readouterr().err == "fetching weights xfeat, 6 MB\n"


def test_what_is_here_is_not_told_of(capsys):
    with fetch_progress("xfeat", plain_lines=True):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", [{"quiet": True, "plain_lines": True}, {"plain_lines": False}])
def test_nobody_is_told_where_nobody_looks(how):
    with fetch_progress("xfeat", **how) as report:
        assert report is None


def test_weights_that_cannot_be_had_are_an_error(tmp_path):
    with pytest.raises(Unavailable, match="GIM_WEIGHTS__DIR"):
        fetch_weights(["xfeat"], WeightsConfig(cache=str(tmp_path), offline=True))


def test_the_weights_of_a_run_are_those_of_its_matchers_and_segmenter():
    sets = ["matchers=rootsift,xfeat,xfeat_lighterglue", "matcher.xfeat.xfeat_weights=own.pth"]
    names = wiring.weight_names(Settings.load(sets, environ={}))
    assert names == ["own.pth", "xfeat", "xfeat_lighterglue"]
    segmented = Settings.load([*sets, "segmenter.name=lraspp"], environ={})
    assert set(names) < set(wiring.weight_names(segmented))
    assert weight_names("rootsift") == ()
