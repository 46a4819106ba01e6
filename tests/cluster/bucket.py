"""The bucket of the cluster, read from here."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.ports.store import Store
from tests.cluster.kube import Kube, named


@contextmanager
def opened_bucket(kube: Kube) -> Iterator[Store]:
    """The store, with the operator's key, through a forwarded port."""
    key = {name: value.decode() for name, value in kube.secret("s3-operator").items()}
    with authority(kube) as ca_file, kube.forwarded("service/minio", 9000) as port:
        url = f"{'https' if ca_file else 'http'}://localhost:{port}"
        config = S3Config(url, access_key=key["access-key"], secret_key=key["secret-key"], ca_file=ca_file)
        with closing(MinioStore(config, "gim")) as store:
            yield store


@contextmanager
def authority(kube: Kube) -> Iterator[str]:
    """A PEM file of who has signed the servers' certificates; empty where they have none (k8s/components/tls)."""
    if "tls-operator" not in {named(each) for each in kube.get("secrets")}:
        yield ""
        return
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ca.crt"
        file.write_bytes(kube.secret("tls-operator")["ca.crt"])
        yield str(file)


def num_results(kube: Kube) -> int:
    """Videos whose training pairs are complete."""
    with opened_bucket(kube) as store:
        return len({key.split("/")[1] for key in store.list("pairs/") if key.endswith("/manifest.json")})
