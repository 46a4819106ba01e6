"""Manifests of a job that trains, as plain dictionaries: an Indexed Job, a JobSet, or a TrainJob of Kubeflow.

All three start the same image, whose ranks meet at the first pod's name (`gim.training.torchrun`); they differ in who
starts lost pods again. A failed attempt counts only where a rank failed by itself: being stopped, evicted, or left
alone by others does not, so no number of lost nodes ends a run.
"""

import copy

from gim.errors import ConfigError
from gim.train_jobs.pod import LABELS, Json, arguments, fitted, resources_of, threads
from gim.train_jobs.request import TrainJobRequest

RUNTIME = "gim-trainer"  # the ClusterTrainingRuntime of `k8s/components/kubeflow-trainer`

# Services of `k8s/`: a TrainJob makes one of its own name.
_TAKEN = (
    "alertmanager",
    "downloader",
    "evaluator",
    "grafana",
    "kafka",
    "kafka-headless",
    "matcher",
    "matcher-grpc",
    "minio",
    "prometheus",
    "propagator",
    "trainer",
    "trainer-ranks",
)
_BACKOFF_LIMIT = 6
_MAX_RESTARTS = 3
_KEPT_SECONDS = 604800  # a week, for its logs
_REPLICATED = "node"  # the name that Kubeflow's Trainer gives it, too


def job(request: TrainJobRequest, pod: Json) -> Json:
    """An Indexed Job: Kubernetes alone, every pod that is lost is made again under its name.

    Args:
        request: checked.
        pod: to fit, as `base_pod` makes it.
    """
    spec = {**job_spec(request, fitted(pod, request)), "ttlSecondsAfterFinished": _KEPT_SECONDS}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(request),
        "spec": {**_suspended(request), **spec},
    }


def job_set(request: TrainJobRequest, pod: Json) -> Json:
    """A JobSet of one Job: as a Job, and once that has failed all of it is made anew.

    Args:
        request: checked.
        pod: to fit, as `base_pod` makes it.
    """
    subdomain = f"{request.name}-jobset"  # its controller makes that Service
    spec = job_spec(request, fitted(pod, request, subdomain=subdomain))
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": _metadata(request),
        "spec": {
            **_suspended(request),
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "network": {"enableDNSHostnames": True, "subdomain": subdomain, "publishNotReadyAddresses": True},
            "failurePolicy": {
                "maxRestarts": _MAX_RESTARTS,
                "rules": [{"name": "settings", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
            },
            "replicatedJobs": [{"name": _REPLICATED, "replicas": 1, "template": {"spec": spec}}],
        },
    }


def train_job(request: TrainJobRequest) -> Json:
    """A TrainJob: what differs from the ClusterTrainingRuntime, which has the pod.

    Args:
        request: checked.

    Raises:
        ConfigError: it asks for what only the runtime can have.
    """
    if request.name in _TAKEN:
        raise ConfigError(f"name {request.name}: a Service has it, and a TrainJob makes one of its own name")
    for what, found in (("volumes", request.claims), ("labels of nodes", request.node_labels)):
        if found:
            raise ConfigError(f"{what} of a TrainJob are those of its ClusterTrainingRuntime {RUNTIME}: put them there")
    environment = {**threads(request), **request.environment}
    trainer: Json = {
        "numNodes": request.nodes,
        "numProcPerNode": request.ranks_per_node,
        "args": arguments(request),
        "env": [{"name": name, "value": value} for name, value in environment.items()],
    }
    if request.image:
        trainer["image"] = request.image
    if resources := resources_of(request):
        trainer["resourcesPerNode"] = resources
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": _metadata(request),
        "spec": {
            **_suspended(request),
            "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime", "name": RUNTIME},
            "trainer": trainer,
        },
    }


def job_spec(request: TrainJobRequest, pod: Json) -> Json:
    """The specification of an Indexed Job with so many of these pods."""
    return {
        "completionMode": "Indexed",
        "completions": request.nodes,
        "parallelism": request.nodes,
        "backoffLimit": _BACKOFF_LIMIT,
        # Exit codes: docs/operating.md. 2: no start can help. 3: servers or other ranks are away. 143: told to stop.
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}},
                {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [3, 143]}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        # Rank 0 ends last. A pod that is lost after that has nobody left to meet.
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
        "template": {"metadata": {"labels": copy.copy(LABELS)}, "spec": pod},
    }


def _metadata(request: TrainJobRequest) -> Json:
    queue = {"kueue.x-k8s.io/queue-name": request.queue} if request.queue else {}
    return {"name": request.name, "namespace": request.namespace, "labels": {**LABELS, **queue}}


def _suspended(request: TrainJobRequest) -> Json:
    return {"suspend": True} if request.is_suspended or request.queue else {}
