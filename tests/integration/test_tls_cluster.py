"""What k8s/components/tls says, on real servers: Kafka with its very properties, MinIO with its files so mounted."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from gim.adapters.certificates import Authority, issue_certificate, make_authority
from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.topics import ensure_topics
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.errors import ConfigError, GimError, Unavailable
from gim.runtime.cluster_users import put_rules, put_users
from gim.settings import Settings
from gim.wire import topics
from infra.ports import choose_port
from tests.architecture.tree import ROOT
from tests.servers import needs_tool

K8S, SERVICES = ROOT / "k8s", ROOT / "services"
MOUNTED = "/var/run/gim/tls"  # where a pod finds its certificate
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Certificates:
    """One authority, and what a pod would have mounted, below a folder for each name."""

    authority: Authority
    folder: Path

    def of(self, name: str, *hosts: str, authority: Authority | None = None) -> Path:
        """The files of a Secret tls-NAME."""
        mounted = self.folder / name
        if not mounted.exists():
            certificate, key = issue_certificate(authority or self.authority, f"gim-{name}", hosts)
            mounted.mkdir(parents=True)
            files = {"tls.crt": certificate, "tls.key": key, "tls-combined.pem": key + certificate}
            for file, text in {**files, "ca.crt": self.authority.certificate}.items():
                (mounted / file).write_text(text)
        return mounted


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(make_authority(), tmp_path_factory.mktemp("tls"))


def overrides(mounted: Path) -> list[str]:
    """The arguments that the component gives the broker."""
    (patched,) = [
        patch["value"]
        for patch in yaml.safe_load((K8S / "components/tls/kafka.yaml").read_text())
        if patch["path"].endswith("/args")
    ]
    return [word.replace(MOUNTED, str(mounted)) for word in patched]


@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **(environment or {})})
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def kafka_port(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The broker of the base with what the component adds, at another address."""
    jars, folder = needs_tool("kafka"), tmp_path_factory.mktemp("kafka")
    clients, controller = choose_port(), choose_port()
    text = (K8S / "platform/kafka/broker/server.properties").read_text()
    for there, here in {
        ":9092": f"127.0.0.1:{clients}",
        ":9093": f"127.0.0.1:{controller}",
        "kafka-0.kafka-headless127.0.0.1": "localhost",
        "/var/lib/kafka/data": str(folder / "data"),
    }.items():
        text = text.replace(there, here)
    properties = folder / "server.properties"
    properties.write_text(f"{text}\nnode.id=0\nadvertised.listeners=CLIENTS://localhost:{clients}\n")
    java = ["java", "-Xms128m", "-Xmx512m", "-XX:TieredStopAtLevel=1"]
    java += [f"-Dlog4j2.configurationFile={ROOT / 'infra/kafka/log4j2.properties'}", "-cp", f"{jars}/*"]
    made = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(properties)]
    subprocess.run([*java, *made], check=True, capture_output=True, timeout=_START_SECONDS)
    broker = [*java, "kafka.Kafka", str(properties), *overrides(certificates.of("kafka", "localhost"))]
    with running(broker, folder / "log"):
        put_rules(settings_of(certificates, "admin", clients), SERVICES, wait_seconds=_START_SECONDS)
        yield clients


def config_of(certificates: Certificates, name: str, port: int) -> KafkaConfig:
    return settings_of(certificates, name, port).kafka


def settings_of(certificates: Certificates, name: str, port: int) -> Settings:
    """As the component sets them in ConfigMap gim-servers, seen by the pod of a name."""
    generator = yaml.safe_load((K8S / "components/tls/kustomization.yaml").read_text())["configMapGenerator"][0]
    mounted = str(certificates.of(name))
    environ = dict(literal.replace(MOUNTED, mounted).split("=", 1) for literal in generator["literals"])
    environ["GIM_KAFKA__BOOTSTRAP_SERVERS"] = f"localhost:{port}"
    sets = ["kafka.request_timeout_seconds=20", "kafka.partitions=2", "kafka.replication_factor=1"]
    return Settings.load(sets, environ=environ)


def publish(config: KafkaConfig, topic: str) -> None:
    with closing(KafkaBus(config, client_id="test")) as bus:
        bus.publish(topic, "key", b"value")
        bus.flush()


def test_a_client_is_who_its_certificate_says_and_may_do_what_is_stated(
    certificates: Certificates, kafka_port: int
) -> None:
    ensure_topics(config_of(certificates, "operator", kafka_port), topics.ALL)
    publish(config_of(certificates, "downloader", kafka_port), topics.SEGMENTS)
    matcher = config_of(certificates, "matcher", kafka_port)
    publish(matcher, topics.LABELS)
    with closing(KafkaBus(matcher, client_id="test")) as bus:
        assert bus.lag(topics.SEGMENTS, "label-rootsift") == 1

    with pytest.raises(ConfigError):
        publish(matcher, topics.PAIRS)
    with pytest.raises(ConfigError):
        publish(config_of(certificates, "stranger", kafka_port), topics.LABELS)


def test_whoever_shows_no_certificate_or_one_of_another_authority_is_refused(
    certificates: Certificates, kafka_port: int
) -> None:
    unknown = replace(config_of(certificates, "matcher", kafka_port), cert_file="", key_file="")
    other = certificates.of("other", authority=make_authority())
    forged = replace(unknown, cert_file=str(other / "tls.crt"), key_file=str(other / "tls.key"))
    for config in (unknown, forged):
        with pytest.raises(GimError):
            KafkaBus(replace(config, request_timeout_seconds=3.0), client_id="test")


def test_rules_are_put_right_again_and_nobody_but_the_administrator_may(
    certificates: Certificates, kafka_port: int
) -> None:
    changed = put_rules(settings_of(certificates, "admin", kafka_port), SERVICES)
    assert (changed.added, changed.removed) == ([], [])
    with pytest.raises(ConfigError):
        put_rules(settings_of(certificates, "operator", kafka_port), SERVICES)


def test_minio_serves_with_certificates_laid_out_as_they_are_mounted(
    certificates: Certificates, tmp_path: Path
) -> None:
    program, port = needs_tool("minio"), choose_port()
    patches = yaml.safe_load((K8S / "components/tls/minio.yaml").read_text())
    (items,) = [patch["value"]["secret"]["items"] for patch in patches if patch["path"].endswith("/volumes/-")]
    # As kubelet lays a Secret out: a folder with a date, and links that lead through `..data`.
    mounted = tmp_path / "mounted"
    for item in items:
        target = mounted / "..2026_01_01" / item["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((certificates.of("minio", "localhost") / item["key"]).read_text())
    (mounted / "..data").symlink_to("..2026_01_01")
    for name in {item["path"].partition("/")[0] for item in items}:
        (mounted / name).symlink_to(f"..data/{name}")
    keys = {}
    for name in ("access-key", "secret-key"):
        keys[name] = tmp_path / name
        keys[name].write_text("minio-root-secret")
    environment = {"MINIO_ROOT_USER_FILE": str(keys["access-key"]), "MINIO_ROOT_PASSWORD_FILE": str(keys["secret-key"])}
    service = tmp_path / "keys" / "operator"
    service.mkdir(parents=True)
    (service / "access-key").write_text("s3-operator")
    (service / "secret-key").write_text("operator-secret")
    ca = str(certificates.of("matcher") / "ca.crt")
    sets = [f"s3.endpoint=https://localhost:{port}", f"s3.ca_file={ca}", "store=s3://gim"]
    files = [f"s3.access_key_file={keys['access-key']}", f"s3.secret_key_file={keys['secret-key']}"]

    command = [str(program), "server", str(tmp_path / "data"), f"--address=127.0.0.1:{port}", f"--certs-dir={mounted}"]
    with running(command, tmp_path / "log", environment):
        settings = Settings.load([*sets, *files], environ={})
        (made,) = put_users(settings, SERVICES, tmp_path / "keys", wait_seconds=60.0)
        assert made.access_key == "s3-operator"
        config = S3Config(
            f"https://localhost:{port}", access_key="s3-operator", secret_key="operator-secret", ca_file=ca
        )
        with closing(MinioStore(config, "gim")) as store:
            store.put("videos/x", b"x")
            assert store.get("videos/x") == b"x"
        with closing(MinioStore(replace(config, ca_file="", max_attempts=1), "gim")) as store:
            with pytest.raises(ConfigError, match="its certificate is not trusted"):
                store.get("videos/x")
        plain = replace(config, endpoint=f"http://localhost:{port}", max_attempts=1)
        with closing(MinioStore(plain, "gim")) as store, pytest.raises((ConfigError, Unavailable)):
            store.get("videos/x")
