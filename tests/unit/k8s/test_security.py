"""Every sensible combination of components keeps the rules: no rights, no root, bounded, no way but those stated."""

import ipaddress
from collections.abc import Iterator

import pytest
import yaml

from gim.cli.main import run_command
from gim.runtime.access import service_names
from gim.transfer.addresses import is_public
from tests.architecture.tree import ROOT
from tests.unit.k8s.render import K8S, Document, Pod, every_pair, of_kind, pods, render
from tests.unit.k8s.validate import read_documents, title

_MAKERS = {"secrets", "certificates"}  # the Jobs with a token: they make Secrets
_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1, "m": 1e-3}


@pytest.fixture(params=[pytest.param(names, id="+".join(names) or "base") for names in every_pair()])
def components(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture
def documents(components: tuple[str, ...]) -> list[Document]:
    return render(*components)


def test_the_namespace_enforces_the_restricted_profile() -> None:
    (namespace,) = of_kind(render(), "Namespace")
    labels = namespace["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "warn", "audit")} == {"restricted"}


def test_pods_have_no_rights(documents: list[Document]) -> None:
    for pod in pods(documents):
        spec, security = pod.spec, pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod.owner
        assert security["runAsUser"] > 0, pod.owner
        assert security["runAsGroup"] > 0, pod.owner
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod.owner
        assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(spec), pod.owner
        assert spec["automountServiceAccountToken"] is (pod.name in _MAKERS), pod.owner
        assert ("serviceAccountName" in spec) is (pod.name in _MAKERS), pod.owner
        assert spec["enableServiceLinks"] is False, pod.owner
        for container in pod.containers:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, pod.owner
            assert context["readOnlyRootFilesystem"] is True, pod.owner
            assert context["capabilities"] == {"drop": ["ALL"]}, pod.owner
            assert set(context) <= {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}, pod.owner
            assert not any("hostPort" in port for port in container.get("ports", [])), pod.owner


def test_volumes_are_of_harmless_kinds_and_bounded(documents: list[Document]) -> None:
    for pod in pods(documents):
        for volume in pod.spec.get("volumes", []):
            (kind,) = set(volume) - {"name"}
            assert kind in _VOLUMES, pod.owner
            assert kind != "emptyDir" or "sizeLimit" in volume["emptyDir"], f"{pod.owner}: {volume['name']}"


def test_who_mounts_a_secret_may_read_it(documents: list[Document]) -> None:
    for pod in pods(documents):
        modes = {each["secret"].get("defaultMode") for each in pod.spec.get("volumes", []) if "secret" in each}
        assert modes <= {0o440}, pod.owner
        if modes:
            assert pod.spec["securityContext"].get("fsGroup") == pod.spec["securityContext"]["runAsGroup"], pod.owner


def test_resources_are_requested_and_limited(documents: list[Document]) -> None:
    for pod in pods(documents):
        for container in pod.containers:
            requests, limits = (container["resources"][name] for name in ("requests", "limits"))
            for what in ("cpu", "memory", "ephemeral-storage"):
                asked, allowed = _quantity(requests[what]), _quantity(limits[what])
                assert 0 < asked <= allowed, f"{pod.owner}: {what}"


def test_what_is_written_fits_into_the_limit_on_ephemeral_storage(documents: list[Document]) -> None:
    for pod in pods(documents):
        limit = sum(
            _quantity(container["resources"]["limits"]["ephemeral-storage"]) for container in pod.spec["containers"]
        )
        written = sum(
            _quantity(volume["emptyDir"]["sizeLimit"])
            for volume in pod.spec.get("volumes", [])
            if "emptyDir" in volume and volume["emptyDir"].get("medium") != "Memory"
        )
        assert written <= limit, pod.owner


def test_only_makers_of_secrets_have_rights_in_the_cluster(documents: list[Document]) -> None:
    assert of_kind(documents, "ClusterRole", "ClusterRoleBinding") == []
    accounts = {account["metadata"]["name"]: account for account in of_kind(documents, "ServiceAccount")}
    assert set(accounts) <= _MAKERS
    assert all(account["automountServiceAccountToken"] is False for account in accounts.values())
    for role in of_kind(documents, "Role"):
        for rule in role["rules"]:
            assert rule["resources"] == ["secrets"]
            assert rule["verbs"] == ["create"] or (
                rule["verbs"] == ["get"] and rule["resourceNames"] == ["tls-authority"]
            )


def test_no_secret_is_among_the_manifests(documents: list[Document]) -> None:
    assert of_kind(documents, "Secret") == []
    for pod in pods(documents):
        for container in pod.containers:
            for entry in container.get("env", []):
                assert not entry["name"].endswith(("PASSWORD", "SECRET_KEY", "TOKEN")), f"{pod.owner}: {entry['name']}"


def test_secrets_that_are_mounted_are_made_by_somebody(components: tuple[str, ...], documents: list[Document]) -> None:
    made = _made(components, documents)
    for pod in pods(documents):
        for name, keys in _secrets(pod):
            assert name in made, f"{pod.owner}: nobody makes Secret {name}"
            assert keys <= made[name], f"{pod.owner}: Secret {name} has no {', '.join(keys - made[name])}"


def test_who_is_the_same_has_the_same_secrets() -> None:
    """A service's own keys, and nobody else's."""
    for pod in pods(render("tls", "external-kafka")):
        if pod.labels["app.kubernetes.io/component"] == "service":
            names = {name for name, _ in _secrets(pod)}
            assert names == {f"{kind}-{pod.name}" for kind in ("s3", "kafka", "tls")}, pod.owner


def _made(components: tuple[str, ...], documents: list[Document]) -> dict[str, set[str]]:
    """Every Secret that somebody makes, or the user is asked to bring, and the keys in it."""
    made: dict[str, set[str]] = {}
    for pod in pods(documents):
        words = [word for container in pod.containers for word in container.get("args", [])]
        if pod.name == "secrets":
            kinds = {"--keys": {"access-key", "secret-key"}, "--login": {"user", "password"}}
            made |= {word.partition("=")[2]: kinds[word.partition("=")[0]] for word in words}
        if pod.name == "certificates":
            keys = {"tls.crt", "tls.key", "ca.crt", "tls-combined.pem"}
            made |= {f"tls-{word.partition('=')[0]}": keys for word in words}
    for user in of_kind(documents, "KafkaUser"):
        made[user["metadata"]["name"]] = {"ca.crt", "user.crt", "user.key"}
    for cluster in of_kind(documents, "Kafka"):
        made[f"{cluster['metadata']['name']}-cluster-ca-cert"] = {"ca.crt"}
    for component, kind, keys in (
        ("external-s3", "s3", {"access-key", "secret-key"}),
        ("external-kafka", "kafka", {"user", "password"}),
    ):
        if component in components:
            assert not any(name.startswith(f"{kind}-") for name in made), component
            made |= {f"{kind}-{service}": keys for service in service_names(ROOT / "services")}
    return made


def _secrets(pod: Pod) -> Iterator[tuple[str, set[str]]]:
    for volume in pod.spec.get("volumes", []):
        if "secret" in volume:
            yield volume["secret"]["secretName"], {item["key"] for item in volume["secret"].get("items", [])}
        for source in volume.get("projected", {}).get("sources", []):
            if "secret" in source:
                yield source["secret"]["name"], {item["key"] for item in source["secret"].get("items", [])}
    for container in pod.containers:
        for entry in container.get("env", []):
            if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], {reference["key"]}


def test_every_service_has_its_keys_made() -> None:
    made = _made((), render())
    assert {name.removeprefix("s3-") for name in made if name.startswith("s3-")} == set(
        service_names(ROOT / "services")
    )
    (setup,) = [pod for pod in pods(render()) if pod.name == "minio-setup"]
    given = {item for name, _ in _secrets(setup) if (item := name.removeprefix("s3-")) != name}
    assert given == set(service_names(ROOT / "services"))


def test_strimzi_has_what_the_access_files_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["access", "strimzi", "--services", str(ROOT / "services")]) == 0
    written = (K8S / "components/strimzi/access.yaml").read_text()
    assert written == capsys.readouterr().out, "run `gim access strimzi > k8s/components/strimzi/access.yaml`"


def test_strimzi_takes_prefix_partitions_and_replicas(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--set", "kafka.prefix=site1.", "--set", "kafka.partitions=3", "--set", "kafka.replication_factor=2"]
    assert run_command(["access", "strimzi", "--services", str(ROOT / "services"), "--cluster", "main", *words]) == 0
    documents = read_documents(capsys.readouterr().out)
    topics = {each["metadata"]["name"]: each["spec"] for each in of_kind(documents, "KafkaTopic")}
    assert topics["site1.gim.segments.v1"]["partitions"] == 3
    assert topics["site1.gim.segments.v1.dead"]["partitions"] == 1
    assert topics["site1.gim.segments.v1.dead"]["config"]["retention.ms"] == -1
    assert {spec["replicas"] for spec in topics.values()} == {2}
    users = {
        each["metadata"]["name"]: each["spec"]["authorization"]["acls"] for each in of_kind(documents, "KafkaUser")
    }
    labels = {"resource": {"type": "group", "name": "site1.label-", "patternType": "prefix"}, "operations": ["Read"]}
    assert labels in users["kafka-matcher"]
    assert {each["metadata"]["labels"]["strimzi.io/cluster"] for each in documents} == {"main"}


def test_tls_changes_of_the_scrape_configuration_how_minio_is_asked_and_nothing_else() -> None:
    base = yaml.safe_load((K8S / "platform/prometheus/server/prometheus.yml").read_text())
    changed = yaml.safe_load((K8S / "components/tls/prometheus.yaml").read_text())
    secured = yaml.safe_load(changed["data"]["prometheus.yml"])
    (job,) = [job for job in secured["scrape_configs"] if job["job_name"] == "minio"]
    assert job.pop("scheme") == "https"
    assert job.pop("tls_config") == {"ca_file": "/var/run/gim/tls/ca.crt", "server_name": "minio"}
    assert secured == base


def test_everybody_who_proves_who_he_is_has_a_certificate() -> None:
    documents = render("tls")
    (maker,) = [pod for pod in pods(documents) if pod.name == "certificates"]
    hosts = {
        name: listed.split(",") for name, _, listed in (word.partition("=") for word in maker.containers[0]["args"])
    }
    services = {service["metadata"]["name"] for service in of_kind(documents, "Service")}
    assert {host for listed in hosts.values() for host in listed if "." not in host} - {"", "localhost"} <= services
    broker = next(each for each in of_kind(documents, "StatefulSet") if each["metadata"]["name"] == "kafka")
    pods_of_broker = {f"kafka-{index}.{broker['spec']['serviceName']}" for index in range(broker["spec"]["replicas"])}
    assert pods_of_broker <= set(hosts["kafka"])


# Policies


def _policies() -> list[Document]:
    return of_kind(render("network-policies"), "NetworkPolicy")


def test_who_is_not_named_neither_calls_nor_is_called() -> None:
    (denied,) = [policy["spec"] for policy in _policies() if policy["metadata"]["name"] == "default-deny"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_policies_name_pods_and_ports_that_there_are() -> None:
    everything = ("network-policies", "tls", "weights")
    known = {pod.name: set(_ports(pod)) for pod in pods(render(*everything))} | {"entity-operator": {0}}
    for policy in _policies():
        spec = policy["spec"]
        chosen = _names(spec["podSelector"])
        assert chosen <= set(known), title(policy)
        for rule, peers in [(rule, "from") for rule in spec.get("ingress", [])] + [
            (rule, "to") for rule in spec.get("egress", [])
        ]:
            others = {name for peer in rule[peers] for name in _names(peer.get("podSelector", {}))}
            assert others <= set(known), title(policy)
            reached = chosen if peers == "from" else others
            for port in rule.get("ports", []):
                assert all(port["port"] in known[name] for name in reached if "port" in port), title(policy)


def test_every_edge_is_allowed_at_both_ends() -> None:
    ends: dict[str, set[tuple[str, str, int]]] = {"ingress": set(), "egress": set()}
    for policy in _policies():
        chosen = _names(policy["spec"]["podSelector"])
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction, []):
                for other in {name for peer in rule[peers] for name in _names(peer.get("podSelector", {}))}:
                    for port in [port.get("port", 0) for port in rule.get("ports", [{}])]:
                        pairs = [(other, name) if peers == "from" else (name, other) for name in chosen]
                        ends[direction] |= {(source, target, port) for source, target in pairs}
    assert ends["ingress"] == ends["egress"]
    assert ("downloader", "kafka", 9092) in ends["egress"]
    assert ("prometheus", "trainer", 8080) in ends["egress"]


def test_only_the_downloader_and_the_job_that_fetches_weights_reach_outside() -> None:
    for policy in _policies():
        blocks = [
            peer["ipBlock"] for rule in policy["spec"].get("egress", []) for peer in rule["to"] if "ipBlock" in peer
        ]
        if policy["metadata"]["name"] == "outside":
            assert _names(policy["spec"]["podSelector"]) == {"downloader", "weights"}
            assert len(blocks) == 2
        else:
            assert not any(ipaddress.ip_network(block["cidr"]).is_global for block in blocks), title(policy)


def test_what_is_outside_is_what_the_downloader_itself_calls_public() -> None:
    (outside,) = [policy["spec"] for policy in _policies() if policy["metadata"]["name"] == "outside"]
    blocks = [
        (
            ipaddress.ip_network(peer["ipBlock"]["cidr"]),
            [ipaddress.ip_network(each) for each in peer["ipBlock"]["except"]],
        )
        for peer in outside["egress"][0]["to"]
    ]
    known = ["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "10.96.0.1"]
    known += ["::1", "fe80::1", "ff02::1", "fc00::1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1", "0.0.0.0"]
    known += ["8.8.8.8", "1.1.1.1", "2a00:1450:4001::1", "2600:1f18::1"]
    # And at both sides of every border that is drawn here.
    borders = [network for cidr, excepted in blocks for network in [cidr, *excepted]]
    known += [str(address) for network in borders for address in _around(network)]
    for text in known:
        address = ipaddress.ip_address(text)
        allowed = any(
            address in cidr and not any(address in network for network in excepted)
            for cidr, excepted in blocks
            if cidr.version == address.version
        )
        if isinstance(address, ipaddress.IPv6Address) and address not in ipaddress.ip_network("2000::/3"):
            assert not allowed, text  # ours goes further: what wraps a public IPv4 address is not let out either
        else:
            assert allowed is is_public(text), text
    assert all(network.subnet_of(cidr) for cidr, excepted in blocks for network in excepted)


def _around(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    first, last = int(network[0]), int(network[-1])
    for number in (first - 1, first, last, last + 1):
        if 0 <= number < 1 << network.max_prefixlen:
            yield type(network[0])(number)


def _names(selector: Document) -> set[str]:
    """The names of pods that a selector is for; of one by another label none."""
    names = {selector.get("matchLabels", {}).get("app.kubernetes.io/name", "")} - {""}
    for expression in selector.get("matchExpressions", []):
        if expression["key"] == "app.kubernetes.io/name":
            assert expression["operator"] == "In"
            names |= set(expression["values"])
    return names


def _ports(pod: Pod) -> list[int]:
    return [port["containerPort"] for container in pod.containers for port in container.get("ports", [])]


def _quantity(text: str | int) -> float:
    number = str(text).rstrip("KMGim")
    return float(number) * _UNITS[str(text)[len(number) :]]
