"""The bucket of the cluster, read from here."""

import base64
from collections.abc import Iterator
from contextlib import closing, contextmanager

from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.ports.store import Store
from tests.cluster.kube import Kube


@contextmanager
def opened_bucket(kube: Kube) -> Iterator[Store]:
    """The store, with the operator's key, through a forwarded port."""
    key = {name: base64.b64decode(value).decode() for name, value in kube.get("secret", "s3-operator")["data"].items()}
    with kube.forwarded("service/minio", 9000) as port:
        config = S3Config(f"http://127.0.0.1:{port}", access_key=key["access-key"], secret_key=key["secret-key"])
        with closing(MinioStore(config, "gim")) as store:
            yield store


def num_results(kube: Kube) -> int:
    """Videos whose training pairs are complete."""
    with opened_bucket(kube) as store:
        return len({key.split("/")[1] for key in store.list("pairs/") if key.endswith("/manifest.json")})
