"""A stand-in for the part of the Kubernetes API that makes and reads Secrets: HTTPS, one token, one namespace.

The real one is asked in tests/cluster. What is answered here is what it answers: status, `reason`, base64 of `data`.
"""

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gim.adapters.certificates import issue_certificate, make_authority

NAMESPACE = "films"
_PLACE = f"/api/v1/namespaces/{NAMESPACE}/secrets"


@dataclass
class SecretsServer:
    """What it holds, and what a pod finds about it."""

    account: Path  # the folder that is mounted into a pod
    port: int = 0
    secrets: dict[str, dict] = field(default_factory=dict)  # as they were sent, by name
    answer: tuple[int, dict] | None = None  # given to everybody in place of its work
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environ(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": "localhost", "KUBERNETES_SERVICE_PORT": str(self.port)}

    def values(self, name: str) -> dict[str, str]:
        return self.secrets[name]["stringData"]


@contextmanager
def secrets_server(folder: Path) -> Iterator[SecretsServer]:
    """One that runs inside the `with` block."""
    authority = make_authority()
    certificate, key = issue_certificate(authority, "apiserver", ["localhost"])
    (folder / "served.pem").write_text(key + certificate)
    account = folder / "account"
    account.mkdir()
    for name, text in (("ca.crt", authority.certificate), ("token", "the-token\n"), ("namespace", NAMESPACE)):
        (account / name).write_text(text)
    state = SecretsServer(account)
    server = _Server(("localhost", 0), _Handler)
    server.state = state
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "served.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    state: SecretsServer

    def handle_error(self, *_) -> None:  # a client that does not trust us hangs up
        pass


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = sent["metadata"]["name"]
        if self._is_refused(_PLACE):
            return
        with self.server.state.lock:
            is_first = name not in self.server.state.secrets
            self.server.state.secrets.setdefault(name, sent)
        if is_first:
            self._say(201, sent)
        else:
            self._say(409, {"kind": "Status", "reason": "AlreadyExists", "message": f"{name} already exists"})

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if self._is_refused(f"{_PLACE}/{name}"):
            return
        if name not in self.server.state.secrets:
            self._say(404, {"kind": "Status", "reason": "NotFound"})
            return
        values = self.server.state.values(name).items()
        self._say(
            200, {"kind": "Secret", "data": {key: base64.b64encode(text.encode()).decode() for key, text in values}}
        )

    def _is_refused(self, expected: str) -> bool:
        if self.server.state.answer is not None:
            self._say(*self.server.state.answer)
        elif self.headers["Authorization"] != "Bearer the-token":
            self._say(401, {"kind": "Status", "reason": "Unauthorized"})
        elif self.path != expected:
            self._say(404, {"kind": "Status", "reason": "NotFound"})
        else:
            return False
        return True

    def _say(self, status: int, document: dict) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass
