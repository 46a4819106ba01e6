"""`gim serve`: a matching server on this machine, reached by `gim match --server`."""

import signal
import threading
from typing import Annotated

import typer

from gim.cli._options import ConfigOption, DeviceOption, MaxMemoryOption, SetOption, StoreOption, load_settings
from gim.errors import InvalidInput


def register(app: typer.Typer) -> None:
    """Add `gim serve`."""
    app.command("serve")(serve_matchers)


def serve_matchers(
    *,
    matcher: Annotated[
        str, typer.Option(help="See `gim ls matchers`; several joined by commas, the default first.", metavar="NAME")
    ] = "rootsift",
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine alone.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535, show_default="50051")
    ] = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    max_memory: MaxMemoryOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Serve matchers over gRPC until Ctrl-C or SIGTERM; what is in hand then is finished. Needs the extra `services`.

    With --store, images may be named by their keys. TLS by the settings rpc.cert_file, rpc.key_file and, to ask
    clients for certificates, rpc.ca_file.
    """
    from contextlib import ExitStack, closing

    from gim.cli._fetching import fetch_weights
    from gim.cli._rpc import missing_package
    from gim.demo.server import is_loopback
    from gim.matchers.network import ModelResources
    from gim.matchers.registry import load_matcher, weight_names
    from gim.runtime.opening import open_store
    from gim.runtime.trained import with_run

    try:
        from gim.rpc.server import serving
    except ImportError as error:
        raise missing_package(error) from error
    settings = load_settings(
        sets,
        config,
        store=store,
        inference__device=device,
        inference__max_memory_gib=max_memory,
        rpc__host=host,
        rpc__port=port,
    )
    names = [name.strip() for name in matcher.split(",") if name.strip()]
    if not names:
        raise InvalidInput("--matcher: name one, or several joined by commas")
    resources = ModelResources(settings.inference, settings.weights)
    loaded = []
    for asked in names:
        settings, name = with_run(settings, asked)
        fetch_weights(weight_names(name, settings.matcher.get(name)), settings.weights)
        loaded.append(load_matcher(name, settings.matcher.get(name), resources))

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with ExitStack() as opened:
        images = opened.enter_context(closing(open_store(settings))) if store else None
        grace = settings.service.grace_seconds
        address = opened.enter_context(serving(loaded, images, settings.rpc, grace_seconds=grace))
        print(f"{address} serves {', '.join(names)} (Ctrl-C ends it)", flush=True)
        if not is_loopback(host) and not settings.rpc.ca_file:
            print("whoever reaches this address can use it: clients are asked for no certificate", flush=True)
        stopped.wait()
        print("finishing what is in hand", flush=True)
