"""Manifests of jobs that train: how many pods of what, where they meet, what of them counts as a failure."""

import copy

import pytest

from gim.errors import ConfigError
from gim.train_jobs.manifests import job, job_set, train_job
from gim.train_jobs.pod import base_pod
from gim.train_jobs.request import TrainJobRequest

IMAGE = "gim/trainer:0.1.0"
BIG = TrainJobRequest(
    name="train-big",
    recipe="gim_loftr",
    nodes=5,
    gpus=8,
    settings=("train.schedule.pairs=1000",),
    environment={"NCCL_DEBUG": "INFO"},
    claims={"megadepth": "/data/megadepth"},
    node_labels={"nvidia.com/gpu.product": "A100"},
)


def pod_of(manifest):
    spec = manifest["spec"]
    if manifest["kind"] == "JobSet":
        spec = spec["replicatedJobs"][0]["template"]["spec"]
    return spec["template"]["spec"]


def env_of(pod):
    return {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}


def names(entries):
    return [entry["name"] for entry in entries]


def test_a_job_has_a_pod_for_each_node_and_a_rank_for_each_gpu():
    made = job(BIG, base_pod(IMAGE))

    assert (made["spec"]["completionMode"], made["spec"]["completions"], made["spec"]["parallelism"]) == (
        "Indexed",
        5,
        5,
    )
    env = env_of(pod_of(made))
    assert (env["PET_NNODES"], env["PET_NPROC_PER_NODE"], env["NCCL_DEBUG"]) == ("5", "8", "INFO")
    assert env["GIM_RUN__THREADS"] == env["GIM_TRAIN__READER__THREADS"] == "8"
    resources = pod_of(made)["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]  # of the best quality of service: evicted last
    assert (resources["limits"]["nvidia.com/gpu"], resources["limits"]["cpu"]) == ("8", "64")
    assert pod_of(made)["containers"][0]["args"] == [
        "--set", "train.recipe=gim_loftr", "--set", "train.schedule.pairs=1000",
    ]  # fmt: skip


def test_all_pods_of_a_job_meet_at_the_name_of_its_first():
    of_job, of_set = pod_of(job(BIG, base_pod(IMAGE))), pod_of(job_set(BIG, base_pod(IMAGE)))

    assert (of_job["subdomain"], env_of(of_job)["PET_MASTER_ADDR"]) == ("trainer-ranks", "$(JOB_NAME)-0.trainer-ranks")
    assert job_set(BIG, base_pod(IMAGE))["spec"]["network"]["subdomain"] == of_set["subdomain"]
    assert env_of(of_set)["PET_MASTER_ADDR"] == "$(JOB_NAME)-0.train-big-jobset"
    for pod in (of_job, of_set):  # Kubernetes replaces only what stands above
        order = names(pod["containers"][0]["env"])
        assert order.index("JOB_NAME") < order.index("PET_MASTER_ADDR")


def test_only_what_a_rank_did_by_itself_counts_as_a_failure():
    rules = job(BIG, base_pod(IMAGE))["spec"]["podFailurePolicy"]["rules"]

    def action_of(exit_code, *conditions):
        for rule in rules:
            of_codes = rule.get("onExitCodes", {}).get("values", [])
            of_conditions = [condition["type"] for condition in rule.get("onPodConditions", [])]
            if exit_code in of_codes or set(conditions) & set(of_conditions):
                return rule["action"]
        return "Count"

    assert {code: action_of(code) for code in (1, 2, 3, 137, 143)} == {
        1: "Count",
        2: "FailJob",
        3: "Ignore",
        137: "Count",
        143: "Ignore",
    }
    assert action_of(137, "DisruptionTarget") == "Ignore"
    made = job(BIG, base_pod(IMAGE))["spec"]
    assert "backoffLimitPerIndex" not in made  # the run is one: a rank by itself can do nothing
    assert (made["backoffLimit"], made["template"]["spec"]["restartPolicy"]) == (6, "Never")
    assert made["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}


def test_several_ranks_have_no_probe_that_would_end_those_who_wait_for_a_lost_one():
    def probes(nodes, gpus):
        container = pod_of(job(TrainJobRequest(name="a", recipe="tiny", nodes=nodes, gpus=gpus), base_pod(IMAGE)))
        return sorted(name for name in container["containers"][0] if name.endswith("Probe"))

    assert probes(1, 0) == probes(1, 1) == ["livenessProbe", "readinessProbe", "startupProbe"]
    assert probes(2, 0) == probes(1, 2) == ["readinessProbe"]


def test_one_node_keeps_its_cache_and_several_have_one_each():
    def cache(nodes):
        pod = pod_of(job(TrainJobRequest(name="a", recipe="tiny", nodes=nodes), base_pod(IMAGE)))
        return next(volume for volume in pod["volumes"] if volume["name"] == "cache")

    assert cache(1)["persistentVolumeClaim"] == {"claimName": "trainer-cache"}
    assert cache(2)["emptyDir"] == {"sizeLimit": "64Gi"}


@pytest.mark.parametrize("gpus", [0, 1, 8])
@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("cpus", [0, 4])
def test_what_a_pod_may_write_fits_into_its_limit(nodes, gpus, cpus):
    pod = pod_of(job(TrainJobRequest(name="a", recipe="tiny", nodes=nodes, gpus=gpus, cpus=cpus), base_pod(IMAGE)))
    written = [volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if volume["name"] in ("cache", "tmp")
               and "emptyDir" in volume]  # fmt: skip
    limit = pod["containers"][0]["resources"]["limits"]["ephemeral-storage"]
    assert sum(int(size.removesuffix("Gi")) for size in written) <= int(limit.removesuffix("Gi"))


def test_gpus_bring_shared_memory_and_a_toleration_and_are_given_once():
    pod = pod_of(job(BIG, base_pod(IMAGE)))
    again = pod_of(job(BIG, pod))

    assert again == pod  # fitted to the same request a second time, as one that the cluster has may be
    assert names(pod["volumes"]) == ["s3", "cache", "tmp", "shm", "data-0"]
    assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]][-2:] == [
        "/dev/shm",
        "/data/megadepth",
    ]
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "A100"}
    plain = pod_of(job(TrainJobRequest(name="a", recipe="tiny"), base_pod(IMAGE)))
    assert "tolerations" not in plain
    assert "shm" not in names(plain["volumes"])


def test_the_pod_to_begin_with_stays_as_it_is_and_what_more_it_has_stays_too():
    template = base_pod(IMAGE)
    template["containers"][0]["env"].append({"name": "GIM_KAFKA__SASL_USERNAME", "value": "trainer"})
    template["containers"][0]["resources"]["limits"]["rdma/hca"] = "1"
    template["volumes"].append({"name": "kafka", "secret": {"secretName": "kafka-trainer"}})
    before = copy.deepcopy(template)

    pod = pod_of(job(BIG, template))

    assert template == before
    assert env_of(pod)["GIM_KAFKA__SASL_USERNAME"] == "trainer"
    assert pod["containers"][0]["resources"]["limits"]["rdma/hca"] == "1"
    assert "kafka" in names(pod["volumes"])


@pytest.mark.parametrize(
    ("changes", "is_suspended", "queue"),
    [({}, False, None), ({"is_suspended": True}, True, None), ({"queue": "trainer"}, True, "trainer")],
)
def test_what_waits_is_made_suspended(changes, is_suspended, queue):
    request = TrainJobRequest(name="a", recipe="tiny", **changes)
    for made in (job(request, base_pod(IMAGE)), job_set(request, base_pod(IMAGE)), train_job(request)):
        assert made["spec"].get("suspend", False) is is_suspended
        assert made["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") == queue


def test_a_job_set_is_that_job_and_is_made_anew_unless_settings_are_at_fault():
    made, plain = job_set(BIG, base_pod(IMAGE)), job(BIG, base_pod(IMAGE))
    (replicated,) = made["spec"]["replicatedJobs"]

    assert (made["apiVersion"], replicated["replicas"]) == ("jobset.x-k8s.io/v1alpha2", 1)
    inner = replicated["template"]["spec"]
    differing = {name for name in plain["spec"] if plain["spec"][name] != inner.get(name)}
    assert differing == {"template", "ttlSecondsAfterFinished"}  # where its pods meet; the latter is the whole set's
    assert made["spec"]["failurePolicy"]["rules"][0]["action"] == "FailJobSet"
    assert made["spec"]["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]


def test_a_train_job_says_what_differs_from_its_runtime():
    request = TrainJobRequest(name="a", recipe="gim_loftr", nodes=5, gpus=8, environment={"NCCL_DEBUG": "INFO"})
    made = train_job(request)

    assert (made["apiVersion"], made["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
    assert made["spec"]["runtimeRef"]["name"] == "gim-trainer"
    trainer = made["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (5, 8)
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "8"
    assert {"name": "NCCL_DEBUG", "value": "INFO"} in trainer["env"]
    assert "image" not in trainer  # the runtime's
    assert "resourcesPerNode" not in train_job(TrainJobRequest(name="a", recipe="tiny", nodes=2))["spec"]["trainer"]
    with pytest.raises(ConfigError, match="volumes of a TrainJob are those of its ClusterTrainingRuntime gim-trainer"):
        train_job(BIG)
    with pytest.raises(ConfigError, match="name trainer: a Service has it"):
        train_job(TrainJobRequest(name="trainer", recipe="tiny"))
