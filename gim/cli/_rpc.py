"""Options of commands that ask a matching server, and the connection they make together."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.errors import InvalidInput
from gim.rpc.config import RpcConfig

if TYPE_CHECKING:
    from gim.rpc.client import MatcherClient

ServerOption = Annotated[
    str | None,
    typer.Option("--server", help="Ask a matching server, see `gim serve`.", metavar="HOST:PORT", show_default="none"),
]
CaOption = Annotated[
    str | None,
    typer.Option("--tls-ca", help="Trust servers of these authorities, PEM; or `system`.", metavar="FILE"),
]
CertOption = Annotated[str | None, typer.Option("--tls-cert", help="This client's certificate, PEM.", metavar="FILE")]
KeyOption = Annotated[str | None, typer.Option("--tls-key", help="Its key, PEM.", metavar="FILE")]


def connected(server: str, config: RpcConfig) -> "MatcherClient":
    """A client of the server; close it, or use it as a context.

    Raises:
        ConfigError: the address or the certificates are malformed.
        InvalidInput: gRPC is not installed.
    """
    try:
        from gim.rpc.client import MatcherClient
    except ImportError as error:
        raise missing_package(error) from error
    return MatcherClient(server, config)


def served_matchers(server: str, config: RpcConfig) -> list[dict[str, Any]]:
    """The matchers of a server, described as those here are, the default first.

    Raises:
        ConfigError, InvalidInput, Unavailable: it cannot be asked.
    """
    with connected(server, config) as client:
        served = client.list_matchers()
    return [
        {
            "matcher": matcher.name,
            "kind": "dense" if matcher.is_dense else "sparse",
            "licence": matcher.teacher.licence,
            "weights": [
                {"weights": item.name, "state": "there", "licence": item.licence, "permissive": None}
                for item in matcher.teacher.weights
            ],
            "runs_here": "yes",
            "identity": matcher.identity,
        }
        for matcher in served
    ]


def missing_package(error: ImportError) -> InvalidInput:
    """What to say where the extra is not installed."""
    name = error.name or "grpc"
    return InvalidInput(f"matching servers need {name}, not installed: pip install 'gim-pipeline[services]'")
