"""The trainer's pod: as the CronJob `trainer` of `k8s/services/trainer` has it, and fitted to a request.

The two are written down twice, here and there; a test keeps them alike. Where the cluster's own CronJob has more (TLS,
keys of another Kafka), that one can be fitted in place of this.
"""

import copy
from typing import Any

from gim.train_jobs.request import TrainJobRequest

Json = dict[str, Any]

LABELS = {
    "app.kubernetes.io/name": "trainer",
    "app.kubernetes.io/part-of": "gim",
    "app.kubernetes.io/component": "service",
}
SUBDOMAIN = "trainer-ranks"  # the headless Service by which pods of a Job find each other
PORT = "29400"
CONTAINER = "trainer"

_CPUS_PER_GPU = 8
_GIB_PER_GPU = 64
_TMP_GIB_PER_RANK = 4  # shards that are being read
_CACHE = "64Gi"  # of each node, where there are several
_DISK = "100Gi"  # room for both, with eight ranks
_SHARED_MEMORY = "16Gi"  # for NCCL and CUDA's processes; a container's own is 64 MiB
_LABEL_OF_JOB = "metadata.labels['batch.kubernetes.io/job-name']"
_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


def base_pod(image: str) -> Json:
    """The pod of the CronJob `trainer`: one rank on the processor. Of `gim-settings` nothing: its name has a hash."""
    container = {
        "name": CONTAINER,
        "image": image,
        "env": [
            {"name": "JOB_NAME", "valueFrom": {"fieldRef": {"fieldPath": _LABEL_OF_JOB}}},
            {"name": "PET_NNODES", "value": "1"},
            {"name": "PET_NPROC_PER_NODE", "value": "1"},
            {"name": "PET_NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}},
            {"name": "PET_MASTER_ADDR", "value": f"$(JOB_NAME)-0.{SUBDOMAIN}"},
            {"name": "PET_MASTER_PORT", "value": PORT},
            {"name": "GIM_SERVICE__GRACE_SECONDS", "value": "540"},
            {"name": "GIM_RUN__THREADS", "value": "2"},
            {"name": "GIM_TRAIN__READER__THREADS", "value": "2"},
            {"name": "GIM_TRAIN__FEATURES__CACHE", "value": "/var/cache/gim/features"},
            {"name": "GIM_WEIGHTS__CACHE", "value": "/var/cache/gim/weights"},
            {"name": "GIM_S3__ACCESS_KEY_FILE", "value": "/var/run/gim/s3/access-key"},
            {"name": "GIM_S3__SECRET_KEY_FILE", "value": "/var/run/gim/s3/secret-key"},
        ],
        "envFrom": [{"configMapRef": {"name": "gim-servers"}}],
        "ports": [
            {"name": "http", "containerPort": 8080},
            {"name": "rendezvous", "containerPort": int(PORT)},
        ],
        "resources": {
            "requests": {"cpu": "250m", "memory": "1Gi", "ephemeral-storage": "64Mi"},
            "limits": {"cpu": "2", "memory": "8Gi", "ephemeral-storage": "8Gi"},
        },
        "startupProbe": _probe("/healthz", period=2, failures=300),
        "readinessProbe": _probe("/readyz", period=5, failures=3),
        "livenessProbe": _probe("/healthz", period=15, failures=4),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "s3", "mountPath": "/var/run/gim/s3", "readOnly": True},
            {"name": "cache", "mountPath": "/var/cache/gim"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  a pod's own
        ],
    }
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": "gim-batch",
        "restartPolicy": "Never",
        "subdomain": SUBDOMAIN,
        "terminationGracePeriodSeconds": 600,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "s3", "secret": {"secretName": "s3-trainer", "defaultMode": 0o440}},
            {"name": "cache", "persistentVolumeClaim": {"claimName": "trainer-cache"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": f"{_TMP_GIB_PER_RANK}Gi"}},
        ],
    }


def fitted(pod: Json, request: TrainJobRequest, *, subdomain: str = SUBDOMAIN) -> Json:
    """A pod for a request.

    Args:
        pod: to begin with; its first container is the trainer. It stays as it is.
        request: checked.
        subdomain: the headless Service by which this kind of job's pods find each other.
    """
    pod = copy.deepcopy(pod)
    container = pod["containers"][0]
    pod["subdomain"] = subdomain
    if request.image:
        container["image"] = request.image
    container["args"] = arguments(request)
    container["resources"] = _resources(request, container["resources"])
    environment = {
        "PET_NNODES": str(request.nodes),
        "PET_NPROC_PER_NODE": str(request.ranks_per_node),
        "PET_MASTER_ADDR": f"$(JOB_NAME)-0.{subdomain}",
        **threads(request),
        **request.environment,
    }
    _put(container["env"], "name", *({"name": name, "value": value} for name, value in environment.items()))
    if request.ranks_per_node > 1:
        limit = f"{_TMP_GIB_PER_RANK * request.ranks_per_node}Gi"
        _put(pod["volumes"], "name", {"name": "tmp", "emptyDir": {"sizeLimit": limit}})
    if request.ranks > 1:
        # Ranks watch each other, and while they wait for a lost one nobody answers over HTTP: that is no reason to die.
        for probe in ("startupProbe", "livenessProbe"):
            container.pop(probe, None)
    if request.nodes > 1:  # a claim that one node can mount at a time is of no use to several
        _put(pod["volumes"], "name", {"name": "cache", "emptyDir": {"sizeLimit": _CACHE}})
        container["resources"]["limits"]["ephemeral-storage"] = _DISK
    if request.gpus:
        _put(pod["volumes"], "name", {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _SHARED_MEMORY}})
        _put(container["volumeMounts"], "mountPath", {"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108
        _put(
            pod.setdefault("tolerations", []),
            "key",
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        )
    if request.node_labels:
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **request.node_labels}
    for number, (claim, folder) in enumerate(request.claims.items()):
        name = f"data-{number}"
        _put(pod["volumes"], "name", {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
        _put(container["volumeMounts"], "mountPath", {"name": name, "mountPath": folder, "readOnly": True})
    return pod


def arguments(request: TrainJobRequest) -> list[str]:
    """What the trainer's program is told."""
    return [word for text in (f"train.recipe={request.recipe}", *request.settings) for word in ("--set", text)]


def resources_of(request: TrainJobRequest) -> Json | None:
    """What a pod of the request is given; None: what its template says."""
    if not (request.gpus or request.cpus or request.memory):
        return None
    given = {
        "cpu": str(request.cpus or _CPUS_PER_GPU * request.gpus or 2),
        "memory": request.memory or f"{_GIB_PER_GPU * request.gpus or 8}Gi",
    }
    if request.gpus:
        given["nvidia.com/gpu"] = str(request.gpus)
    asked = _DISK if request.gpus else "64Mi"
    return {"requests": {**given, "ephemeral-storage": asked}, "limits": {**given, "ephemeral-storage": _DISK}}


def threads(request: TrainJobRequest) -> dict[str, str]:
    """Threads of each rank: by itself each would take all cores of its node."""
    cpus = request.cpus or _CPUS_PER_GPU * request.gpus or 2
    each = str(max(cpus // request.ranks_per_node, 1))
    return {"GIM_RUN__THREADS": each, "GIM_TRAIN__READER__THREADS": each}


def _resources(request: TrainJobRequest, of_template: Json) -> Json:
    found = resources_of(request) or {}
    return {which: {**of_template.get(which, {}), **found.get(which, {})} for which in ("requests", "limits")}


def _put(entries: list[Json], key: str, *new: Json) -> None:
    """Put entries into a list, in the place of those that have the same key."""
    places = {entry.get(key): number for number, entry in enumerate(entries)}
    for entry in new:
        if entry[key] in places:
            entries[places[entry[key]]] = entry
        else:
            entries.append(entry)


def _probe(path: str, *, period: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
