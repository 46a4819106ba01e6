"""`gim cluster`: the topics and the bucket of a cluster, made and looked at."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._cluster_setup import WaitOption, add_setup
from gim.cli._options import ConfigOption, JsonOption, MatchersOption, SetOption, StoreOption, load_settings
from gim.cli._terminal import print_rows, say_error

if TYPE_CHECKING:
    from gim.runtime.cluster import ClusterStatus, TopicStatus


def register(app: typer.Typer) -> None:
    """Add `gim cluster`."""
    group = typer.Typer(help="Kafka's topics and the store of a cluster: make them, see how they stand.")
    group.command("init")(make_cluster)
    group.command("status")(show_cluster)
    add_setup(group)
    app.add_typer(group, name="cluster", no_args_is_help=True)


def make_cluster(
    *,
    topics_only: Annotated[bool, typer.Option("--topics-only", help="Leave the bucket alone.")] = False,
    wait_seconds: WaitOption = 0.0,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the bucket and all topics where they are missing. Needs the rights of an administrator, and can be repeated.

    Partitions and replicas of new topics: settings kafka.partitions and kafka.replication_factor.
    """
    from gim.runtime.cluster import init_cluster

    settings = load_settings(sets, config, store=store)
    made = init_cluster(settings, with_store=not topics_only, wait_seconds=wait_seconds)
    if as_json:
        print(json.dumps(asdict(made)))
        return
    if made.store is not None:
        print(f"{'made' if made.store_made else 'there already'}: store {made.store}")
    for verb, names in (("made", made.topics_made), ("there already", made.topics_found)):
        if names:
            print(f"{verb}: {len(names)} topics: {', '.join(names)}")


def show_cluster(
    *,
    store: StoreOption = None,
    matchers: MatchersOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say how much work waits, and for whom. Exit code 3: a server cannot be reached; 2: something is missing."""
    from gim.runtime.cluster import cluster_status

    status = cluster_status(load_settings(sets, config, store=store, matchers=matchers))
    if as_json:
        print(json.dumps({name: value for name, value in asdict(status).items() if name != "exit_code"}))
    else:
        _print_status(status)
    for problem in status.problems:
        say_error(problem)
    return status.exit_code


def _print_status(status: "ClusterStatus") -> None:
    if status.topics is not None:
        print_rows([_row(topic) for topic in status.topics])
    if status.store is not None:
        store = status.store
        purged = f", {store.purged} purged" if store.purged else ""
        print(f"store: {store.videos} videos, {store.without_result} of them without a result{purged}")


def _row(topic: "TopicStatus") -> dict[str, Any]:
    return {
        "topic": topic.topic,
        "partitions": topic.partitions or "missing",
        "lag": " ".join(f"{group}={lag}" for group, lag in topic.lag.items()),
        "dead": topic.dead,
    }
