"""Who a person is to a cluster whose parts ask for certificates (k8s/components/tls)."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.kube import Kube, named


@dataclass(frozen=True)
class CertificateFiles:
    """PEM files, or empty strings where everything is said in the clear."""

    ca: str = ""
    cert: str = ""
    key: str = ""


def decoded(kube: Kube, secret: str) -> dict[str, bytes]:
    """What a Secret holds."""
    return {name: base64.b64decode(value) for name, value in kube.get("secret", secret)["data"].items()}


@contextmanager
def certificate_files(kube: Kube) -> Iterator[CertificateFiles]:
    """The operator's, if there are certificates, for as long as they are needed."""
    if "tls-operator" not in {named(each) for each in kube.get("secrets")}:
        yield CertificateFiles()
        return
    with TemporaryDirectory() as folder:
        for name, content in decoded(kube, "tls-operator").items():
            (Path(folder) / name).write_bytes(content)
        yield CertificateFiles(f"{folder}/ca.crt", f"{folder}/tls.crt", f"{folder}/tls.key")
