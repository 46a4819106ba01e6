"""Serves the page: to this machine alone unless told otherwise, without a single request to anywhere else."""

import contextlib
import ipaddress
import os
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable
from typing import Any

from gim.errors import Unavailable
from gim.settings import Settings

_MAX_UPLOAD = "200mb"
# Of gradio and what it brings along: no word to anybody, no history of what was looked at.
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
# The browser, too, is held to this server, whatever a later gradio should want to fetch.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'"
)


def serve(settings: Settings, matchers: list[str], host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the page until interrupted.

    Args:
        settings: of the matchers, devices and limits.
        matchers: those to offer; none: all that run here.
        host: address to listen on.
        port: 0 takes a free one.
        say: is told the page's address, once it answers.

    Raises:
        ImportError: gradio is not installed.
        UnknownMatcher, InvalidInput: the matchers cannot be offered.
        Unavailable: the address cannot be listened on.
    """
    with tempfile.TemporaryDirectory(prefix="gim-demo-") as folder:
        # Read by gradio when it is imported: uploads and pictures lie here, and go with the server.
        os.environ.update(_QUIET, GRADIO_TEMP_DIR=folder)
        import uvicorn  # noqa: PLC0415 - after the environment is set, as the page

        from gim.demo.compare import Comparison  # noqa: PLC0415
        from gim.demo.page import build_page  # noqa: PLC0415

        with _listening(host, port) as listener:
            address = listener.getsockname()
            app = _application(build_page(Comparison(settings, matchers)), host, address[1])
            server = uvicorn.Server(
                uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=1)
            )
            say(f"http://{f'[{host}]' if ':' in host else host}:{address[1]}")
            # Both are ways to end it, no errors; uvicorn hands them on, and the folder is still to be removed.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with contextlib.suppress(KeyboardInterrupt):
                server.run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _application(page: Any, host: str, port: int) -> Any:
    """The page as an ASGI application, its answers marked with the policy, closed to pages of other sites."""
    import gradio as gr  # noqa: PLC0415 - as above
    from fastapi import FastAPI, Request, Response  # noqa: PLC0415
    from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: PLC0415

    from gim.demo.page import CSS  # noqa: PLC0415

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if is_loopback(host):  # a name of another site that leads here is refused
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[host, "localhost", "127.0.0.1", "[::1]"])

    @app.middleware("http")
    async def add_policy(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    theme = gr.themes.Base(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace"))
    mounted = gr.mount_gradio_app(
        app, page, "/", server_name=host, server_port=port, footer_links=[], show_error=False,
        max_file_size=_MAX_UPLOAD, ssr_mode=False, pwa=False, enable_monitoring=False, mcp_server=False,
        theme=theme, css=CSS,
    )  # fmt: skip
    # A page that was mounted and not launched lets a caller name any file of this machine as his upload (gradio 6.31).
    page.has_launched = True
    return mounted


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or error
        raise Unavailable(f"cannot listen on {host}, port {port}: {why}; choose others by --host and --port") from error
