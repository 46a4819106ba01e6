"""`gim access`: what each service may do, as S3 policies, Kafka's access rules, Strimzi's users. Applies nothing."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, load_settings

ServiceOption = Annotated[str, typer.Option("--service", help="A folder's name below --services.", metavar="NAME")]
FolderOption = Annotated[Path, typer.Option("--services", help="Where each has its access.toml.", metavar="DIR")]
_FOLDER = Path("services")


def register(app: typer.Typer) -> None:
    """Add `gim access` and its commands."""
    access = typer.Typer(help="Print what each service may do, for whoever sets up the servers.", no_args_is_help=True)
    access.command("s3")(print_policy)
    access.command("kafka")(print_rules)
    access.command("strimzi")(print_resources)
    app.add_typer(access, name="access")


def print_policy(
    service: ServiceOption,
    *,
    bucket: Annotated[str, typer.Option("--bucket", help="Of the store.", metavar="NAME")] = "gim",
    folder: FolderOption = _FOLDER,
) -> None:
    """Print a service's S3 policy, JSON, for `mc admin policy create` and its like."""
    from gim.runtime.access import read_access, s3_policy

    print(json.dumps(s3_policy(read_access(folder, service), bucket), indent=2))


def print_rules(
    service: ServiceOption,
    *,
    principal: Annotated[
        str, typer.Option("--principal", help="Who it is to the brokers.", show_default="User:gim-SERVICE", metavar="P")
    ] = "",
    prefix: Annotated[str, typer.Option("--prefix", help="kafka.prefix of the system.", metavar="TEXT")] = "",
    folder: FolderOption = _FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Print a service's Kafka access rules, one line of arguments for `kafka-acls` each."""
    from gim.runtime.access import kafka_rules, read_access

    rules = kafka_rules(read_access(folder, service), principal=principal, prefix=prefix)
    if as_json:
        print(json.dumps({"rules": [asdict(rule) for rule in rules]}))
        return
    for rule in rules:
        print(shlex.join(rule.arguments()))


def print_resources(
    *,
    cluster: Annotated[str, typer.Option("--cluster", help="The Kafka resource.", metavar="NAME")] = "gim",
    folder: FolderOption = _FOLDER,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Print every topic and every service's user as resources of Strimzi, YAML for `kubectl apply`.

    Prefix, partitions, replicas and retention: settings kafka.*.
    """
    from gim.runtime.access import read_access, service_names
    from gim.runtime.strimzi import strimzi_resources

    accesses = [read_access(folder, name) for name in service_names(folder)]
    print(strimzi_resources(accesses, load_settings(sets, config).kafka, cluster), end="")
