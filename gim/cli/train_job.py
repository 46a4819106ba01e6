"""`gim train-job`: training on a cluster, on as many nodes and GPUs as are asked for."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gim.cli._terminal import say_note
from gim.errors import ConfigError

if TYPE_CHECKING:
    from gim.train_jobs.request import TrainJobRequest

_SCALED = ("train.loop.canonical_batch", "train.optimiser.lr", "train.optimiser.min_lr")


def register(app: typer.Typer) -> None:
    """Add `gim train-job`."""
    app.command("train-job")(train_job)


def train_job(
    *,
    recipe: Annotated[str, typer.Option("--recipe", metavar="NAME", help="See `gim ls recipes`.")],
    nodes: Annotated[int, typer.Option("--nodes", min=1, metavar="N", help="Pods, of one rank or more each.")] = 1,
    gpus: Annotated[
        int, typer.Option("--gpus", min=0, metavar="N", help="Of each node, with a rank for each; 0: one on its CPU.")
    ] = 0,
    kind: Annotated[
        Literal["job", "jobset", "trainjob"],
        typer.Option("--kind", help="The last two need a controller."),
    ] = "job",
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="By default made of what is asked for.")
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", metavar="NAME", help="Where the pipeline runs.")] = "gim",
    image: Annotated[
        str | None, typer.Option("--image", metavar="IMAGE", help="By default gim/trainer of this release.")
    ] = None,
    cpus: Annotated[int, typer.Option("--cpus", min=0, metavar="N", help="Of each node; by default 8 a GPU.")] = 0,
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="Of each node; by default 64Gi a GPU.")] = "",
    queue: Annotated[str, typer.Option("--queue", metavar="NAME", help="Of Kueue, which lets the job begin.")] = "",
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="A setting of the trainer, repeatable."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="Of the ranks, as NCCL_DEBUG=INFO.")
    ] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option("--volume", metavar="CLAIM:/FOLDER", help="Read only: posed sets, weights."),
    ] = None,
    node_label: Annotated[
        list[str] | None, typer.Option("--node-label", metavar="KEY=VALUE", help="Of the nodes that may be used.")
    ] = None,
    suspend: Annotated[bool, typer.Option("--suspend", help="Make it, and let somebody else begin it.")] = False,
    from_cluster: Annotated[
        bool, typer.Option("--from-cluster", help="Fit the pod of the cluster's CronJob `trainer`: its TLS, its keys.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Hand it to `kubectl apply` instead of printing it.")] = False,
) -> None:
    """Print the manifest of a job that trains on a cluster; `k8s/` has to be applied there. See docs/training.md.

    The recipe's step is scaled to the number of ranks, as by `gim train --devices`.
    """
    from gim.cli._kubectl import kubectl
    from gim.train_jobs.request import TrainJobRequest
    from gim.yaml_text import yaml_text

    settings = _settings(recipe, sets or [], nodes * max(gpus, 1))
    request = TrainJobRequest(
        name=name or _name_of(recipe, kind, nodes, gpus, settings),
        namespace=namespace,
        recipe=recipe,
        nodes=nodes,
        gpus=gpus,
        cpus=cpus,
        memory=memory,
        image=image or "",
        settings=tuple(settings),
        environment=_pairs("--env", env, "="),
        claims=_pairs("--volume", volume, ":"),
        node_labels=_pairs("--node-label", node_label, "="),
        queue=queue,
        is_suspended=suspend,
    )
    request.check()
    text = yaml_text([_manifest(kind, request, from_cluster=from_cluster)])
    if not apply:
        print(text, end="")
        return
    print(kubectl("apply", "--filename", "-", given=text), end="")
    say_note(
        f"its log: kubectl logs --namespace {namespace} --follow --selector "
        f"app.kubernetes.io/name=trainer,batch.kubernetes.io/job-completion-index=0"
    )


def _settings(recipe: str, sets: Sequence[str], num_ranks: int) -> list[str]:
    """What the trainer is told: what was asked for, checked here, and the step for so many ranks."""
    from gim.settings import Settings
    from gim.toml_files import is_path
    from gim.training.recipe_files import training_recipe_names
    from gim.training.scaling import scaled_to

    if recipe not in training_recipe_names() and is_path(recipe):
        raise ConfigError(
            f"--recipe {recipe}: that file is not in the trainer's image; name a recipe and --set the rest"
        )
    settings = Settings.load(sets, environ={}, training_recipe=recipe)  # nothing of this machine's environment
    shown = settings.redacted()
    for path in (text.partition("=")[0].strip() for text in sets):
        if path == "train.recipe":
            raise ConfigError(f"--set {path}: name it by --recipe")
        if shown.get(path) == "***" and not path.endswith("_file"):
            raise ConfigError(f"--set {path}: no secret belongs into a manifest; the trainer reads its own from a file")
    own, scaled = settings.train, scaled_to(settings.train, num_ranks)
    changed = [] if scaled == own else [scaled.loop.canonical_batch, scaled.optimiser.lr, scaled.optimiser.min_lr]
    return [*sets, *(f"{path}={value!r}" for path, value in zip(_SCALED, changed, strict=False))]


def _name_of(recipe: str, kind: str, nodes: int, gpus: int, settings: Sequence[str]) -> str:
    """The same for the same run: to ask for it again changes nothing."""
    from gim.keys import config_id

    return config_id(f"train-{recipe.replace('_', '-')}", [kind, nodes, gpus], list(settings))


def _pairs(option: str, texts: Sequence[str] | None, between: str) -> dict[str, str]:
    found = {}
    for text in texts or ():
        key, sign, value = text.partition(between)
        if not (key and sign):
            raise ConfigError(f"{option} {text}: expected two words with a {between} between them")
        found[key] = value
    return found


def _manifest(kind: str, request: "TrainJobRequest", *, from_cluster: bool) -> dict[str, Any]:
    from gim.train_jobs.manifests import job, job_set, train_job
    from gim.train_jobs.pod import base_pod

    if kind == "trainjob":
        if from_cluster:
            raise ConfigError("--from-cluster: a TrainJob's pod is that of its ClusterTrainingRuntime")
        return train_job(request)
    pod = _pod_of_cluster(request.namespace) if from_cluster else base_pod(f"gim/trainer:{version('gim-pipeline')}")
    return job(request, pod) if kind == "job" else job_set(request, pod)


def _pod_of_cluster(namespace: str) -> dict[str, Any]:
    from gim.cli._kubectl import kubectl

    found = kubectl("get", "cronjob", "trainer", "--namespace", namespace, "--output", "json")
    pod: dict[str, Any] = json.loads(found)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod
