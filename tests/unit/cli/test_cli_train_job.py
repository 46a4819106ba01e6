"""`gim train-job`: what it prints, what it hands to kubectl, what it refuses. kubectl here is a program of ours."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from gim.cli.main import run_command
from gim.train_jobs.pod import base_pod


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert run_command(["train-job", *arguments]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def args_of(manifest: dict) -> list[str]:
    return manifest["spec"]["template"]["spec"]["containers"][0]["args"][1::2]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run_command(["train-job", *arguments])
    (line,) = capsys.readouterr().err.splitlines()
    return code, line


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Notes what it is called with, and answers what lies beside it."""
    program = tmp_path / "kubectl"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, sys\n"
        "from pathlib import Path\n"
        "here = Path(__file__).parent\n"
        "called = {'arguments': sys.argv[1:], 'given': '' if 'get' in sys.argv else sys.stdin.read()}\n"
        "(here / 'called').write_text(json.dumps(called))\n"
        "answer = here / 'answer'\n"
        "if not answer.exists():\n"
        "    sys.exit('Error from server (NotFound): no such\\nthing')\n"
        "print(answer.read_text(), end='')\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_it_prints_a_job_of_so_many_nodes_and_gpus_with_the_recipe_scaled_to_them(capsys):
    made = printed(capsys, "--nodes", "5", "--gpus", "8", "--recipe", "gim_loftr")

    assert (made["kind"], made["metadata"]["namespace"], made["spec"]["parallelism"]) == ("Job", "gim", 5)
    assert args_of(made) == [
        "train.recipe=gim_loftr",
        "train.loop.canonical_batch=80",  # 64, in whole micro-batches of 40 ranks
        "train.optimiser.lr=0.00125",
        "train.optimiser.min_lr=6.25e-05",
    ]


def test_a_step_that_fits_stays_and_settings_are_handed_on_as_they_are(capsys):
    made = printed(capsys, "--recipe", "tiny", "--set", "train.schedule.pairs=80", "--set", "dataset.name=films")

    assert args_of(made) == ["train.recipe=tiny", "train.schedule.pairs=80", "dataset.name=films"]
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("gim/trainer:")
    assert not container["image"].endswith("latest")


def test_the_same_request_has_the_same_name_and_another_one_another(capsys):
    def name_of(*more: str) -> str:
        return printed(capsys, "--recipe", "gim_loftr", *more)["metadata"]["name"]

    assert name_of("--nodes", "2") == name_of("--nodes", "2")
    found = {name_of(), name_of("--nodes", "2"), name_of("--set", "dataset.name=a"), name_of("--kind", "jobset")}
    assert len(found) == 4
    assert all(name.startswith("train-gim-loftr-") for name in found)


def test_settings_of_this_machine_do_not_go_along(capsys, monkeypatch):
    monkeypatch.setenv("GIM_TRAIN__SCHEDULE__PAIRS", "7")
    monkeypatch.setenv("GIM_NO_SUCH_SETTING", "1")
    assert args_of(printed(capsys, "--recipe", "tiny")) == ["train.recipe=tiny"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "gim_lofter"], "unknown training recipe 'gim_lofter' (did you mean gim_loftr"),
        (["--recipe", "mine.toml"], "mine.toml: that file is not in the trainer's image"),
        (["--recipe", "tiny", "--set", "train.loop.batchsize=2"], "unknown setting 'train.loop.batchsize'"),
        (["--recipe", "tiny", "--set", "train.recipe=gim_dkm"], "train.recipe: name it by --recipe"),
        (["--recipe", "tiny", "--set", "s3.secret_key=abc"], "s3.secret_key: no secret belongs into a manifest"),
        (["--recipe", "tiny", "--env", "NCCL_DEBUG"], "--env NCCL_DEBUG: expected two words"),
        (["--recipe", "tiny", "--name", "Trainer"], "name 'Trainer': at most 54 small letters"),
        (["--recipe", "tiny", "--kind", "trainjob", "--volume", "a:/b"], "those of its ClusterTrainingRuntime"),
        (["--recipe", "tiny", "--kind", "trainjob", "--from-cluster"], "ClusterTrainingRuntime"),
        (["--recipe", "tiny", "--kind", "cronjob"], "--kind"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(capsys, arguments, words):
    code, line = refused(capsys, *arguments)
    assert (code, words in line) == (2, True), line
    assert "abc" not in line


def test_a_secret_s_file_may_be_named(capsys):
    assert "s3.secret_key_file=/keys/key" in args_of(
        printed(capsys, "--recipe", "tiny", "--set", "s3.secret_key_file=/keys/key")
    )


def test_it_is_handed_to_kubectl(kubectl, capsys):
    (kubectl / "answer").write_text("job.batch/a created\n")
    assert run_command(["train-job", "--recipe", "tiny", "--name", "a", "--apply"]) == 0

    out, err = capsys.readouterr()
    called = json.loads((kubectl / "called").read_text())
    assert out == "job.batch/a created\n"
    assert called["arguments"] == ["apply", "--filename", "-"]
    assert yaml.safe_load(called["given"])["metadata"]["name"] == "a"
    assert err.startswith("note: its log: kubectl logs --namespace gim ")


def test_the_pod_can_be_that_of_the_cluster(kubectl, capsys):
    pod = base_pod("registry/gim/trainer:7")
    pod["volumes"].append({"name": "kafka", "secret": {"secretName": "kafka-trainer"}})
    cronjob = {"spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}}
    (kubectl / "answer").write_text(json.dumps(cronjob))

    made = printed(capsys, "--recipe", "tiny", "--nodes", "2", "--from-cluster", "--namespace", "other")

    spec = made["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "registry/gim/trainer:7"
    assert "kafka" in [volume["name"] for volume in spec["volumes"]]
    assert json.loads((kubectl / "called").read_text())["arguments"][:5] == [
        "get", "cronjob", "trainer", "--namespace", "other",
    ]  # fmt: skip


def test_what_kubectl_says_is_the_error(kubectl, capsys):
    code, line = refused(capsys, "--recipe", "tiny", "--apply")
    assert code == 3
    assert line == "error: kubectl apply --filename -: Error from server (NotFound): no such thing"


def test_without_kubectl_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, line = refused(capsys, "--recipe", "tiny", "--apply")
    assert (code, "kubectl is not installed: print the manifest" in line) == (2, True)
