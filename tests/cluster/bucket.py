"""The bucket of the cluster, read from here."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.ports.store import Store
from tests.cluster.identity import certificate_files, decoded
from tests.cluster.kube import Kube


@contextmanager
def opened_bucket(kube: Kube) -> Iterator[Store]:
    """The store, with the operator's key, through a forwarded port."""
    key = decoded(kube, "s3-operator")
    with certificate_files(kube) as files, kube.forwarded("service/minio", 9000) as port:
        config = S3Config(
            f"{'https' if files.ca else 'http'}://localhost:{port}",
            access_key=key["access-key"].decode(),
            secret_key=key["secret-key"].decode(),
            ca_file=files.ca,
        )
        with closing(MinioStore(config, "gim")) as store:
            yield store


def num_results(kube: Kube) -> int:
    """Videos whose training pairs are complete."""
    with opened_bucket(kube) as store:
        return len({key.split("/")[1] for key in store.list("pairs/") if key.endswith("/manifest.json")})
