"""The trainer's manifests: what `kubectl kustomize` makes of them, and that `gim train-job` prints the same."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gim.cli.main import run_command
from gim.settings import Settings
from gim.train_jobs.manifests import job, job_spec, train_job
from gim.train_jobs.pod import LABELS, base_pod
from gim.train_jobs.request import TrainJobRequest
from gim.training.scaling import scaled_to
from tests.architecture.tree import ROOT
from tests.servers import needs_tool

K8S = ROOT / "k8s"
A100 = "nvidia.com/gpu.product=NVIDIA-A100-SXM4-80GB"
PUBLISHED = ["--nodes", "5", "--gpus", "8", "--recipe", "gim_loftr"]  # what the published recipes are for
IMAGE = "gim/trainer:0.1.0"
Json = dict[str, Any]
Render = dict[tuple[str, str], Json]


def rendered(folder: Path, *components: str) -> Render:
    """Objects by kind and name, of the trainer and the settings with these components, without the rest of the base."""
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "namespace: gim", "resources:"]
    lines += [f"  - {os.path.relpath(K8S / name, folder)}" for name in ("config", "services/trainer")]
    lines += ["labels:", "  - {pairs: {app.kubernetes.io/part-of: gim}, includeTemplates: true}", "components:"]
    names = ["images", *(f"components/{name}" for name in components)]
    lines += [f"  - {os.path.relpath(K8S / name, folder)}" for name in names]
    (folder / "kustomization.yaml").write_text("\n".join(lines))
    command = [str(needs_tool("kubectl")), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Render:
    return rendered(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def a100(tmp_path_factory: pytest.TempPathFactory) -> Render:
    return rendered(tmp_path_factory.mktemp("a100"), "gpu", "a100-trainer")


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Render:
    return rendered(tmp_path_factory.mktemp("all"), "a100-trainer", "jobset", "kubeflow-trainer", "kueue")


def job_of(render: Render) -> Json:
    return render["CronJob", "trainer"]["spec"]["jobTemplate"]["spec"]


def compared(spec: Json) -> Json:
    """A Job's specification in one order, without the settings' ConfigMap, whose name no command can know."""
    spec = yaml.safe_load(yaml.safe_dump(spec))
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    container["envFrom"] = [
        source for source in container["envFrom"] if "gim-settings" not in source["configMapRef"]["name"]
    ]
    container["env"].sort(key=lambda entry: entry["name"])
    container["volumeMounts"].sort(key=lambda mount: mount["mountPath"])
    pod["volumes"].sort(key=lambda volume: volume["name"])
    spec.pop("ttlSecondsAfterFinished", None)
    return spec


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run_command(["train-job", *arguments]) == 0
    return capsys.readouterr().out


def test_nothing_begins_by_itself_and_never_two_at_a_time(base):
    spec = base["CronJob", "trainer"]["spec"]
    assert (spec["suspend"], spec["concurrencyPolicy"]) == (True, "Forbid")


def test_the_cronjob_s_job_is_the_one_that_the_command_prints(base):
    request = TrainJobRequest(name="a", recipe="tiny")
    own = compared(job_spec(request, base_pod(IMAGE)))
    assert compared(job_of(base)) == own


def test_the_a100_component_is_what_the_command_prints_for_so_many(a100, capsys):
    text = printed(capsys, *PUBLISHED, "--image", IMAGE, "--node-label", A100)
    own, found = compared(yaml.safe_load(text)["spec"]), compared(job_of(a100))
    selector = found["template"]["spec"].pop("nodeSelector")
    assert own["template"]["spec"].pop("nodeSelector").items() <= selector.items()
    assert found == own


def test_the_a100_component_s_step_is_that_of_forty_devices(a100):
    train = Settings.load([], environ={}, training_recipe="gim_loftr").train
    scaled = scaled_to(train, 40)
    args = job_of(a100)["template"]["spec"]["containers"][0]["args"][1::2]
    assert Settings.load(args, environ={}).train == scaled


def test_pods_meet_by_a_service_that_knows_them_before_they_are_ready(base):
    service = base["Service", "trainer-ranks"]["spec"]
    pod = job_of(base)["template"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["subdomain"] == "trainer-ranks"
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert ports == {"http": 8080, "rendezvous": service["ports"][0]["port"]}


def test_metrics_are_asked_of_the_pod_that_has_rank_0(base):
    selector = base["Service", "trainer"]["spec"]["selector"]
    assert selector.pop("batch.kubernetes.io/job-completion-index") == "0"
    assert selector.items() <= job_of(base)["template"]["metadata"]["labels"].items()


def test_the_grace_of_a_pod_is_above_that_of_its_ranks(base):
    pod = job_of(base)["template"]["spec"]
    env = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
    assert float(env["GIM_SERVICE__GRACE_SECONDS"]) + 30 <= pod["terminationGracePeriodSeconds"]


def test_every_setting_of_its_environment_exists(base):
    container = job_of(base)["template"]["spec"]["containers"][0]
    names = [entry["name"] for entry in container["env"] if entry["name"].startswith("GIM_")]
    Settings.load(environ={entry["name"]: entry["value"] for entry in container["env"] if entry["name"] in names})


def test_pods_carry_the_same_labels_however_they_are_started(base):
    assert job_of(base)["template"]["metadata"]["labels"] == LABELS


def test_the_jobset_is_what_the_command_prints(everything, capsys):
    arguments = [*PUBLISHED, "--kind", "jobset", "--name", "trainer", "--suspend", "--image", "gim/trainer"]
    text = printed(capsys, *arguments, "--node-label", A100)
    assert (K8S / "components/jobset/jobset.yaml").read_text() == text
    pod = everything["JobSet", "trainer"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == IMAGE  # named once, in k8s/images
    assert ("Service", pod["subdomain"]) not in everything  # its controller makes that one


def test_the_trainjob_is_what_the_command_prints(everything, capsys):
    arguments = [*PUBLISHED, "--kind", "trainjob", "--name", "trainer-trainjob", "--suspend"]
    assert (K8S / "components/kubeflow-trainer/trainjob.yaml").read_text() == printed(capsys, *arguments)
    made = everything["TrainJob", "trainer-trainjob"]
    assert ("ClusterTrainingRuntime", made["spec"]["runtimeRef"]["name"]) in everything


def test_the_runtime_s_pod_is_the_job_s(everything):
    runtime = everything["ClusterTrainingRuntime", "gim-trainer"]["spec"]["template"]["spec"]
    (replicated,) = runtime["replicatedJobs"]
    request = TrainJobRequest(name="a", recipe="tiny", nodes=2, gpus=8)
    own = compared(job(request, base_pod(IMAGE))["spec"])
    found = compared(replicated["template"]["spec"])

    container, expected = found["template"]["spec"]["containers"][0], own["template"]["spec"]["containers"][0]
    assert (replicated["name"], container.pop("name")) == ("node", "node")  # as Kubeflow's Trainer wants them
    # Its plugin for torch says who a pod is; numbers, settings and resources are the TrainJob's.
    for name in ("name", "args"):
        expected.pop(name)
    for which, of_base in base_pod(IMAGE)["containers"][0]["resources"].items():
        changes = {"ephemeral-storage": "100Gi"} if which == "limits" else {}
        expected["resources"][which] = {**of_base, **changes}
    expected["env"] = [entry for entry in expected["env"] if not entry["name"].startswith(("PET_", "JOB_NAME"))]
    for entry in expected["env"]:
        if entry["name"].endswith("THREADS"):
            entry["value"] = "2"
    for name in ("completions", "parallelism"):
        own.pop(name)
    own["template"]["spec"].pop("subdomain")
    assert found == own
    set_by_job = {entry["name"] for entry in train_job(request)["spec"]["trainer"]["env"]}
    assert set_by_job == {"GIM_RUN__THREADS", "GIM_TRAIN__READER__THREADS"}


def test_kueue_has_room_for_the_run_and_knows_every_resource_of_it(everything):
    queue = everything["ClusterQueue", "gim"]["spec"]["resourceGroups"][0]
    requests = job_of(everything)["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert set(queue["coveredResources"]) == set(requests)
    quota = {resource["name"]: resource["nominalQuota"] for resource in queue["flavors"][0]["resources"]}
    number = {name: int(text.removesuffix("Gi")) for name, text in quota.items()}
    assert number == {name: 5 * int(text.removesuffix("Gi")) for name, text in requests.items()}
    assert everything["LocalQueue", "trainer"]["spec"]["clusterQueue"] == "gim"


def test_kueue_lets_everything_begin_that_trains(everything):
    queued = "kueue.x-k8s.io/queue-name"
    template = everything["CronJob", "trainer"]["spec"]["jobTemplate"]
    assert (template["metadata"]["labels"][queued], template["spec"]["suspend"]) == ("trainer", True)
    for found in (everything["JobSet", "trainer"], everything["TrainJob", "trainer-trainjob"]):
        assert (found["metadata"]["labels"][queued], found["spec"]["suspend"]) == ("trainer", True)


def test_kueue_queues_the_trainer_of_the_base_too(tmp_path):
    found = rendered(tmp_path, "kueue")
    assert job_of(found)["suspend"] is True
