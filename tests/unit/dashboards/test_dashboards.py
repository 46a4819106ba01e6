"""The dashboards ask for what there is, say what they show, and are those that the code makes."""

import json
import re
import warnings

import pytest
from grafana_foundation_sdk.models import units

from infra.dashboards import __main__ as command
from infra.dashboards.board import Board, Query, Row, Variable, lines
from infra.dashboards.files import BOARDS, DASHBOARDS, RESOURCES, RULES, made_files, stale_files, write_files
from infra.dashboards.rendering import as_json
from infra.state import ROOT
from tests.unit.dashboards.known import KNOWN, mistakes
from tests.unit.dashboards.panels import boards, panel_queries, panels

_BOARDS = boards()
_QUERIES = panel_queries()
_UNITS = {value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)}


def test_what_is_committed_is_what_the_code_makes(capsys):
    assert list(stale_files()) == []
    assert command.main(["--check"]) == 0


def test_what_is_stale_is_named_and_written(tmp_path, capsys):
    (tmp_path / RULES).mkdir(parents=True)
    (tmp_path / RULES / "some.yml").write_text("# why\ngroups:\n  - name: some\n    rules: []\n")
    assert set(stale_files(tmp_path)) == set(made_files(tmp_path))
    written = write_files(tmp_path)
    assert len(written) == len(BOARDS) + 2
    assert list(stale_files(tmp_path)) == []
    resources = (tmp_path / RESOURCES).read_text()
    assert "name: gim-some\n" in resources
    assert "spec:\n  groups:\n    - name: some\n      rules: []\n" in resources
    (tmp_path / DASHBOARDS / "overview.json").write_text("{}")
    (tmp_path / DASHBOARDS / "gone.json").write_text("{}")
    assert list(stale_files(tmp_path)) == [DASHBOARDS / "overview.json", DASHBOARDS / "gone.json"]
    write_files(tmp_path)
    assert not (tmp_path / DASHBOARDS / "gone.json").exists()


def test_every_dashboard_that_the_issue_asks_for_is_there():
    assert set(_BOARDS) == {"overview", "matcher", "storage", "training", "zeb"}
    uids = [board["uid"] for board in _BOARDS.values()]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[\w-]{1,40}", uid) for uid in uids)


@pytest.mark.parametrize("name", _BOARDS)
def test_ids_differ_and_panels_fill_the_grid_without_overlap(name):
    board = _BOARDS[name]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", _BOARDS)
def test_every_panel_says_what_it_shows(name):
    board = _BOARDS[name]
    assert board["description"]
    assert len({panel["id"] for panel in panels(board)}) == len(panels(board)) > 5
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in _UNITS, panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_titles_tell_the_panels_of_a_row_apart():
    for board in BOARDS:
        for row in board.rows:
            titles = [panel.title for panel in row.panels]
            assert len(set(titles)) == len(titles), row.title


@pytest.mark.parametrize("query", _QUERIES, ids=lambda query: f"{query.board}: {query.panel}")
def test_queries_name_metrics_and_labels_that_there_are(query):
    assert mistakes(query.filled(), legend=query.legend_labels) == []


@pytest.mark.parametrize("query", _QUERIES, ids=lambda query: f"{query.board}: {query.panel}")
def test_counters_are_shown_as_rates(query):
    counters = [metric for metric in KNOWN if re.fullmatch(r"(gim|process)_\w+_(total|bucket|sum|count)", metric)]
    bare = re.sub(r"(rate|increase)\([^()]*\)", "", query.query)
    assert [metric for metric in counters if re.search(rf"\b{metric}\b", bare)] == []


@pytest.mark.parametrize("name", _BOARDS)
def test_the_source_and_the_choices_are_variables(name):
    board = _BOARDS[name]
    source, *choices = board["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    places = [panel["datasource"] for panel in panels(board)] + [
        target["datasource"] for panel in panels(board) for target in panel["targets"]
    ]
    assert {place["uid"] for place in places} == {"${datasource}"}
    text = json.dumps(board["panels"], ensure_ascii=False)
    for choice in choices:
        metric, label = re.fullmatch(r"label_values\(([\w:]+), (\w+)\)", choice["query"]).groups()
        assert label == choice["name"]
        assert label in KNOWN[metric].labels
        assert f"${label}" in text, f"nothing depends on {label}"
    asked = {name for query in _QUERIES if query.board == board["uid"][4:] for name in _variables(query.query)}
    assert asked <= {choice["name"] for choice in choices}


def _variables(query):
    return set(re.findall(r"\$([a-z]\w*)", query))


def test_every_metric_of_the_issue_is_shown():
    shown = " ".join(query.query for query in _QUERIES)
    for metric in (
        "gim_labelled_video_hours:per_day",
        "gim_labelled_pairs:rate5m",
        "gim_in_hand_seconds",
        "gim_dead_letters_total",
        "gim_bus_lag",
        "gim_starts_total",
        "gim_rpc_batch_size",
        "gim_device_memory_bytes",
        "gim_correspondences_per_pair",
        "gim_store_requests_total",
        "gim_training_value",
        "gim_trained_pairs_total",
        "gim_zeb_auc",
        "gim:published_auc5:percent",
    ):
        assert metric in shown, metric


def test_grafana_reads_back_what_was_written():
    """Fields that the model does not know are dropped by it, so a misspelt one would be missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.cog.plugins import register_default_plugins
        from grafana_foundation_sdk.models.dashboard import Dashboard

        register_default_plugins()
    for board in _BOARDS.values():
        again = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
        assert again["panels"] == board["panels"]
        assert again["templating"] == board["templating"]


def test_panels_go_to_the_next_line_when_a_line_is_full():
    query = Query("up", "{{job}}")
    wide = [lines(f"Panel {number}", units.Short, "One.", query, width=10) for number in range(3)]
    made = json.loads(as_json(Board("some", "Some", "Some.", (Row("First", tuple(wide)), Row("Second", (wide[0],))))))
    places = [(panel["type"], panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]]
    kind = "timeseries"
    assert places == [("row", 0, 0), (kind, 0, 1), (kind, 10, 1), (kind, 0, 9), ("row", 0, 17), (kind, 0, 18)]


def test_a_panel_wider_than_the_grid_is_refused():
    panel = lines("Wide", units.Short, "One.", Query("up", "up"), width=25)
    with pytest.raises(ValueError, match="Wide: 25 columns of 24"):
        as_json(Board("some", "Some", "Some.", (Row("First", (panel,)),)))


def test_a_single_choice_has_no_all():
    single = Variable("method", "Method", "up", is_single=True)
    made = json.loads(as_json(Board("some", "Some", "Some.", (), (single,))))
    _, choice = made["templating"]["list"]
    assert choice["includeAll"] is False
    assert "allValue" not in choice


def test_made_files_are_where_kubernetes_looks():
    assert {path.parent for path in made_files()} == {DASHBOARDS, RULES, RESOURCES.parent}
    assert all((ROOT / path).exists() for path in made_files())
