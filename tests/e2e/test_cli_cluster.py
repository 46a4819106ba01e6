"""A cluster from the command line: made, asked, looked at, its dead letters handled, its videos read and purged."""

import json
from contextlib import closing
from functools import partial

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.cli.main import run_command
from gim.runtime.opening import open_bus, open_store
from gim.settings import Settings
from gim.wire import topics
from gim.wire.topics import parse_event
from gim.wire.v1.events_pb2 import LabelsReady
from tests.e2e.commands import error_lines, run_gim
from tests.integration.small_cluster import remove_cluster, server_sets
from tests.labelled_clip import SETS, label_clip

NOWHERE = ["--set", "store=s3://films", "--set", "s3.endpoint=http://127.0.0.1:9", "--set", "s3.access_key=a"]
NOWHERE += ["--set", "s3.secret_key=hidden-key", "--set", "kafka.bootstrap_servers=127.0.0.1:9"]


def _words(sets):
    return [word for text in sets for word in ("--set", text)]


@pytest.fixture
def sets(kafka_servers, minio_server, unique):
    return server_sets(kafka_servers, minio_server, unique, SETS)


@pytest.fixture
def run(sets, capsys):
    """Runs a command on a cluster of its own that is there; gives its exit code, stdout and stderr."""

    def command(*words, code=0):
        assert run_command([*words, *_words(sets)]) == code
        return capsys.readouterr()

    command("cluster", "init")
    yield command
    remove_cluster(Settings.load(sets, environ={}))


@pytest.fixture
def bus(run, sets):
    with closing(open_bus(Settings.load(sets, environ={}))) as opened:
        yield opened


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return label_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def filled(run, sets, made):
    """The bucket holds what a real run has made."""
    with closing(FileStore(made.root)) as source, closing(open_store(Settings.load(sets, environ={}))) as store:
        for key in source.list():
            store.put(key, source.get(key))
    return made


def test_a_cluster_is_made_once_and_found_again(sets, capsys):
    words = _words(sets)
    assert run_command(["doctor", *words]) == 1
    missing = capsys.readouterr().out
    assert "does not exist: make it with `gim cluster init`" in missing
    assert "topics are missing" in missing
    assert run_command(["cluster", "status", *words]) == 2
    assert "there is no such bucket" in capsys.readouterr().err
    try:
        assert run_command(["cluster", "init", "--json", *words]) == 0
        first = json.loads(capsys.readouterr().out)
        assert (first["store_made"], len(first["topics_made"]), first["topics_found"]) == (True, 14, [])
        assert run_command(["cluster", "init", *words]) == 0
        again = capsys.readouterr().out
        assert "there already: store s3://" in again
        assert "there already: 14 topics: gim.ingest.v1, gim.ingest.v1.dead" in again
        assert run_command(["doctor", "--json", *words]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert set(facts["servers"].values()) == {""}
        assert facts["clients"]["crc32c"]
    finally:
        remove_cluster(Settings.load(sets, environ={}))


def test_requests_are_published_and_counted(run, bus, tmp_path):
    listing = tmp_path / "list.txt"
    listing.write_text('# films\nhttps://example.org/a.mp4 licence="CC BY 4.0"\nmine.mp4\n')
    printed = run("publish", "dQw4w9WgXcQ", "--from-file", str(listing), "--json", code=2)
    told = json.loads(printed.out)
    assert [request["key"] for request in told["published"]] == ["yt-dQw4w9WgXcQ", "https://example.org/a.mp4"]
    assert "mine.mp4" in printed.err
    assert printed.err.count("\n") == 1
    events = [parse_event(topics.INGEST, message.value) for message in bus.read(topics.INGEST)]
    assert {event.source for event in events} == {request["source"] for request in told["published"]}
    status = json.loads(run("cluster", "status", "--json").out)
    ingest = status["topics"][0]
    assert (ingest["topic"], ingest["partitions"], ingest["lag"]) == (topics.INGEST, 2, {"ingest": 2})
    assert status["store"] == {"videos": 0, "results": 0, "without_result": 0, "purged": 0}
    assert "ingest=2" in run("cluster", "status").out


def test_dead_letters_are_listed_shown_replayed_and_dropped(run, bus):
    event = LabelsReady(video_id="file-0123456789abcdef", num_pairs=7)
    original = {"gim-type": "gim.wire.v1.LabelsReady", "traceparent": "00-1-2-03"}
    why = {"error": "ZeroDivisionError", "message": "oh\x1b[2Jno", "stage": "propagate", "attempts": "3"}
    why |= {"source-topic": topics.LABELS, "source-partition": "1", "source-offset": "4", "stack": "line 1\nline 2"}
    for key, value in [("file-0123456789abcdef", event.SerializeToString()), ("k", b"\xff")]:
        bus.publish(f"{topics.LABELS}.dead", key, value, original | why)
    bus.flush()
    first, second = json.loads(run("dead", "ls", "--json").out)["letters"]
    assert (first["subject"], first["error"], first["attempts"]) == ("file-0123456789abcdef", "ZeroDivisionError", 3)
    assert run("dead", "ls", "--topic", "ingest").out == "none\n"
    assert run("dead", "ls", "--error", "Other").out == "none\n"
    assert "\x1b" not in run("dead", "ls").out
    shown = run("dead", "show", first["id"]).out
    assert "line 2" in shown
    assert '"num_pairs": 7' in shown
    assert "1-4" in shown
    short = first["id"].split(":")[1]
    assert "replayed labels:" in run("dead", "replay", short).out
    (back,) = bus.read(topics.LABELS)
    assert (back.key, back.value, dict(back.headers)) == (first["subject"], event.SerializeToString(), original)
    assert "settled already" in run("dead", "replay", first["id"], code=2).err
    assert "ids, or all of them by --all" in run("dead", "drop", code=2).err
    assert json.loads(run("dead", "drop", "--all", "--json").out) == {"dropped": [second["id"]]}
    assert run("dead", "ls").out == "none\n"
    states = json.loads(run("dead", "ls", "--all-states", "--json").out)["letters"]
    assert [letter["state"] for letter in states] == ["replayed", "dropped"]


def test_what_a_bucket_holds_is_read_as_from_a_folder(run, filled, tmp_path, capsys):
    on_folder = ["--store", str(filled.root)]
    for words in (["ls", "--json"], ["check", "--truth", str(filled.truth), "--json"]):
        assert run_command([*words, *on_folder]) == 0
        of_the_folder = capsys.readouterr().out
        assert run(*words).out == of_the_folder
    assert json.loads(run("ls", "--json").out)["videos"][0]["video_id"] == filled.video_id
    run("report", str(tmp_path / "page.html"))
    assert filled.video_id in (tmp_path / "page.html").read_text()
    run("export", str(tmp_path / "pairs"), "--format", "npz")
    assert run_command(["export", str(tmp_path / "same"), "--format", "npz", *on_folder]) == 0
    names = sorted(path.relative_to(tmp_path / "same") for path in (tmp_path / "same").rglob("*") if path.is_file())
    assert names
    assert all((tmp_path / "pairs" / name).read_bytes() == (tmp_path / "same" / name).read_bytes() for name in names)


def test_a_video_is_purged_from_a_bucket_and_what_was_made_of_it_is_named(run, filled, sets):
    with closing(open_store(Settings.load(sets, environ={}))) as store:
        dataset, checkpoint = keys.dataset_manifest("all-00000000"), keys.checkpoint_manifest("run", 3)
        store.put(dataset, json.dumps({"shards": [keys.pairs_shard(filled.video_id, "r", 0)]}).encode())
        store.put(checkpoint, b'{"dataset_id": "all-00000000"}')
        store.put(keys.checkpoint_manifest("other", 3), b'{"dataset_id": "none-00000000"}')
        report = keys.evaluation_report("run", 3, "walk")
        store.put(report, b"{}")
        purge = partial(run, "purge", filled.video_id, "--json", "--grace", "0")
        (planned,) = json.loads(purge("--dry-run").out)["videos"]
        (done,) = json.loads(purge("--yes").out)["videos"]
        assert sorted(trace["name"] for trace in done["removed"]) == sorted(
            trace["name"] for trace in planned["removed"]
        )
        made_of = (["all-00000000"], ["run/00000003"], [report])
        assert (done["datasets"], done["checkpoints"], done["reports"]) == made_of
        about = [key for key in store.list() if filled.video_id in key or filled.video_id.encode() in store.get(key)]
        assert set(about) - {key for key in about if key.startswith("audit/purged-")} == {done["record"], dataset}
        (again,) = json.loads(purge("--yes").out)["videos"]
        assert (again["removed"], bool(again["purged_before"])) == ([], True)
        assert run("ls").out == "none\n"


def test_reconcile_publishes_for_a_bucket(run, filled, bus, sets):
    assert "has not started on this store yet" in run("reconcile", code=3).err
    with closing(open_store(Settings.load(sets, environ={}))) as store:
        labels_id = next(store.list("labels/")).split("/")[3]
        announced = json.dumps({"schema": 1, "name": "rootsift", "labels_id": labels_id})
        store.put(keys.deployed_matcher("rootsift"), announced.encode())
        assert "nothing has stopped" in run("reconcile").out
        for key in list(store.list("pairs/")):
            store.delete(key)
    assert "published what makes it go on; lacks pairs" in run("reconcile").out
    (bell,) = bus.read(topics.LABELS)
    assert parse_event(topics.LABELS, bell.value).video_id == filled.video_id


@pytest.mark.parametrize(
    "words",
    [
        ["cluster", "status"],
        ["ls"],
        ["reconcile"],
        ["purge", "file-0123456789abcdef", "--yes"],
    ],
    ids=" ".join,
)
def test_a_server_that_is_away_is_one_line_each_and_exit_code_3(words):
    quick = ["--set", "kafka.request_timeout_seconds=1", "--set", "s3.max_attempts=1"]
    ended = run_gim(*words, *NOWHERE, *quick)  # a process: what a client logs would show on its stderr
    assert (ended.returncode, ended.stdout) == (3, "")
    assert len(error_lines(ended.stderr)) == (2 if words == ["cluster", "status"] else 1)
    assert "hidden-key" not in ended.stderr


def test_a_run_does_not_take_a_bucket_for_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["run", "a.mp4", *NOWHERE]) == 2
    assert "`gim publish` asks a cluster" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["dead", "ls"], ["publish", "dQw4w9WgXcQ"], ["cluster", "init"]], ids=" ".join)
def test_without_a_cluster_the_way_out_is_said(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(words) == 2
    assert "set kafka.bootstrap_servers" in capsys.readouterr().err
