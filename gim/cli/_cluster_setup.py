"""`gim cluster secrets`, `certificates`, `users` and `rules`: what a cluster is given before its services begin."""

from pathlib import Path
from typing import Annotated

import typer

from gim.cli._options import ConfigOption, SetOption, StoreOption, load_settings

FolderOption = Annotated[Path, typer.Option("--services", help="Where each has its access.toml.", metavar="DIR")]
WaitOption = Annotated[float, typer.Option("--wait", help="For a server that is away.", metavar="SECONDS", min=0)]
_FOLDER = Path("services")


def add_setup(group: typer.Typer) -> None:
    """Add these commands to `gim cluster`."""
    group.command("secrets")(make_secrets)
    group.command("certificates")(make_certificates)
    group.command("users")(make_users)
    group.command("rules")(make_rules)


def make_secrets(
    *,
    keys: Annotated[
        list[str] | None, typer.Option("--keys", help="Of an object store: access-key, secret-key.", metavar="SECRET")
    ] = None,
    logins: Annotated[
        list[str] | None, typer.Option("--login", help="Of a page: user, password.", metavar="SECRET")
    ] = None,
) -> None:
    """Inside a pod: make Kubernetes Secrets with random values where they are missing. Both options are repeatable."""
    from gim.runtime import cluster_secrets

    api, _ = cluster_secrets.open_secrets()
    for made in cluster_secrets.make_secrets(api, keys or (), logins or ()):
        _tell(made.name, is_made=made.is_made)


def make_certificates(
    wanted: Annotated[list[str], typer.Argument(help="Whose, and their hosts.", metavar="NAME[=HOST,HOST]...")],
) -> None:
    """Inside a pod: make a Secret tls-NAME with a certificate of the user gim-NAME for each that is missing.

    The authority that signs them is the Secret tls-authority, made where it is missing.
    """
    from gim.runtime import cluster_secrets

    api, namespace = cluster_secrets.open_secrets()
    for made in cluster_secrets.make_certificates(api, namespace, wanted):
        _tell(made.name, is_made=made.is_made)


def make_users(
    *,
    keys: Annotated[Path, typer.Option("--keys", help="Holds SERVICE/access-key, SERVICE/secret-key.", metavar="DIR")],
    folder: FolderOption = _FOLDER,
    wait_seconds: WaitOption = 0.0,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Make the bucket, and MinIO's user with its policy for each service that has keys. Takes nothing away.

    Needs the keys of MinIO's root. A service whose file holds another key is given that key.
    """
    from gim.runtime.cluster_users import put_users

    for user in put_users(load_settings(sets, config, store=store), folder, keys, wait_seconds=wait_seconds):
        print(f"{user.service}: user {user.access_key}: {', '.join(user.changed) or 'there already'}")


def make_rules(
    *,
    folder: FolderOption = _FOLDER,
    wait_seconds: WaitOption = 0.0,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Give Kafka's user gim-SERVICE the access rules of each service, and take all others away from it.

    Needs the rights of an administrator of the brokers.
    """
    from gim.runtime.cluster_users import put_rules

    changed = put_rules(load_settings(sets, config), folder, wait_seconds=wait_seconds)
    print(f"access rules: {len(changed.added)} added, {len(changed.removed)} removed")


def _tell(name: str, *, is_made: bool) -> None:
    print(f"{'made' if is_made else 'there already'}: Secret {name}", flush=True)
