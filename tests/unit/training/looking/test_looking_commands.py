"""`gim train inspect` and `gim train page` on a run of a small network that a test has trained."""

from unittest import mock

import pytest

from gim.adapters.store_file import FileStore
from gim.cli._train_looking import inspect, page
from gim.errors import InvalidInput
from gim.training.looking import inspection
from tests.unit.training.looking import runs
from tests.unit.training.run_small import Pixels, small_dataset, train_small


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a store with a run, and the run's id."""
    folder = tmp_path_factory.mktemp("finished")
    store = FileStore(folder / "store")
    result, _ = train_small(store, runs.put_dataset(store, small_dataset(store)))
    store.close()
    return str(folder / "store"), result.run_id


@pytest.fixture(autouse=True)
def pixels(tmp_path, monkeypatch):
    """Every architecture is `Pixels`; pages without a name are put into a folder of the test's."""
    monkeypatch.chdir(tmp_path)
    with mock.patch.object(inspection, "build_trainable", lambda _, settings, __: Pixels(**settings)):
        yield


def test_inspect_shows_every_pair_of_the_step(finished, tmp_path, capsys):
    store, run = finished
    inspect(f"run:{run}", 5, store=store, folder=tmp_path / "pictures")
    assert capsys.readouterr().out == f"{run}-00000005.html\n"
    text = (tmp_path / f"{run}-00000005.html").read_text()
    assert text.count("<img ") == 4
    assert "No pair was skipped on the way here" in text
    assert "Lane 3: " in text
    assert "labels; of all other pixels nothing is known" in text or "every pixel" in text
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == [f"lane-{lane:03d}-000.jpg" for lane in range(4)]


def test_inspect_of_one_lane_shows_that_lane(finished, tmp_path):
    store, run = finished
    inspect(run, 5, lane=2, out=tmp_path / "lane.html", store=store)
    text = (tmp_path / "lane.html").read_text()
    assert "Lane 2: " in text
    assert "Lane 1: " not in text


def test_page_tells_of_the_run(finished, tmp_path, capsys):
    store, run = finished
    page(f"run:{run}", store=store)
    assert capsys.readouterr().out == f"{run}.html\n"
    assert "Finished." in (tmp_path / f"{run}.html").read_text()


def test_mistakes_are_one_line_and_leave_no_file(finished, tmp_path):
    store, run = finished
    (tmp_path / "taken").write_text("")
    for options, line in (
        ({"step": 99}, r"has the steps 1 to 8, and no step 99"),
        ({"step": 5, "bad": True}, r"has no dump of step 5"),
        ({"step": 5, "bad": True, "lane": 0}, r"--bad .* leave out --lane"),
        ({"step": 5, "folder": tmp_path / "taken"}, r"--folder .*taken: a file"),
        ({"step": 5, "out": tmp_path}, r"page .*: a folder; name the HTML file"),
    ):
        with pytest.raises(InvalidInput, match=line):
            inspect(run, store=store, **options)
    with pytest.raises(InvalidInput, match=r"no run 'nothing' in this store"):
        page("nothing", store=store)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
