"""Prometheus, Alertmanager and Grafana as `kubectl kustomize` makes them: whom they ask, what they show and may."""

import configparser
import json
import os
import subprocess

import pytest
import yaml

from infra.monitoring import RULES
from tests.architecture.tree import ROOT
from tests.servers import needs_tool
from tests.unit.dashboards.panels import boards

K8S = ROOT / "k8s"
_ASKED = ("downloader", "matcher", "propagator", "evaluator", "trainer")
# `kubectl apply` notes what it applied in an annotation; all of an object's together have to fit into 256 KiB.
_LARGEST_NOTE = 200_000
_BOARDS = sorted(boards())
_OWN = ("prometheus", "alertmanager", "grafana")


def rendered(folder, *components, patches=()):
    """Objects by kind and name, of the monitoring and of the services and servers that it asks."""
    parts = ["platform/prometheus", "platform/grafana", "platform/minio", *(f"services/{name}" for name in _ASKED)]
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "gim",
        "resources": [os.path.relpath(K8S / part, folder) for part in ["config", *parts]],
        "labels": [{"pairs": {"app.kubernetes.io/part-of": "gim"}, "includeTemplates": True}],
        "components": [
            os.path.relpath(K8S / part, folder) for part in ["images", *(f"components/{name}" for name in components)]
        ],
        "patches": list(patches),
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    command = [str(needs_tool("kubectl")), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done.stdout)}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def operated(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("operated"), "prometheus-operator")


def pod(base, name):
    kind = "Deployment" if name == "grafana" else "StatefulSet"
    return base[kind, name]["spec"]["template"]["spec"]


def container(base, name):
    (only,) = pod(base, name)["containers"]
    return only


def config_map(base, prefix):
    """The data of a ConfigMap, whatever hash its name ends in."""
    (data,) = (
        each["data"]
        for (kind, name), each in base.items()
        if kind == "ConfigMap" and (name == prefix or name.rpartition("-")[0] == prefix)
    )
    return data


def scrape_jobs(base):
    config = yaml.safe_load(config_map(base, "prometheus")["prometheus.yml"])
    return {job["job_name"]: job for job in config["scrape_configs"]}


@pytest.mark.parametrize("name", _OWN)
def test_pods_are_restricted_and_bounded(base, name):
    spec, only = pod(base, name), container(base, name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for bound in ("requests", "limits"):
        assert set(only["resources"][bound]) == {"cpu", "memory", "ephemeral-storage"}
    ports = {port["name"] for port in only["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert only[probe]["httpGet"]["port"] in ports
    assert all("sizeLimit" in volume["emptyDir"] for volume in spec["volumes"] if "emptyDir" in volume)


@pytest.mark.parametrize("name", _OWN)
def test_images_have_a_tag_that_is_named_once(base, name):
    image = container(base, name)["image"]
    named = {
        entry["name"]: entry["newTag"]
        for entry in yaml.safe_load((K8S / "images/kustomization.yaml").read_text())["images"]
    }
    repository, _, tag = image.rpartition(":")
    assert named[repository] == tag
    assert tag != "latest"


@pytest.mark.parametrize("name", _OWN)
def test_what_is_mounted_exists(base, name):
    spec = pod(base, name)
    claims = base.get(("StatefulSet", name), {}).get("spec", {}).get("volumeClaimTemplates", [])
    volumes = {volume["name"] for volume in spec["volumes"]} | {claim["metadata"]["name"] for claim in claims}
    assert {mount["name"] for mount in container(base, name)["volumeMounts"]} == volumes
    named = [volume["configMap"] for volume in spec["volumes"] if "configMap" in volume]
    named += [
        source["configMap"]
        for volume in spec["volumes"]
        for source in volume.get("projected", {}).get("sources", [])
        if "configMap" in source
    ]
    for entry in named:
        data = base["ConfigMap", entry["name"]]["data"]
        assert {item["key"] for item in entry.get("items", [])} <= set(data)


@pytest.mark.parametrize("name", _OWN)
def test_services_lead_to_their_pods(base, name):
    service = base["Service", name]["spec"]
    kind = "Deployment" if name == "grafana" else "StatefulSet"
    labels = base[kind, name]["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert {port["targetPort"] for port in service["ports"]} <= {
        port["name"] for port in container(base, name)["ports"]
    }


def test_every_service_is_asked_by_the_name_of_a_headless_service_that_leads_to_all_its_pods(base):
    (found,) = scrape_jobs(base)["gim"]["dns_sd_configs"]
    assert set(found["names"]) == set(_ASKED)
    for name in _ASKED:
        service = base["Service", name]["spec"]
        assert service["clusterIP"] == "None", name
        assert service["publishNotReadyAddresses"] is True, f"{name}: a pod that starts could not be seen"
        ports = {port["name"]: port["port"] for port in service["ports"]}
        assert ports["http"] == found["port"], name


def test_minio_is_asked_where_it_listens_and_lets_itself_be_asked(base):
    (found,) = scrape_jobs(base)["minio"]["dns_sd_configs"]
    assert found["names"] == ["minio"]
    assert found["port"] in {port["port"] for port in base["Service", "minio"]["spec"]["ports"]}
    (server,) = base["StatefulSet", "minio"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "MINIO_PROMETHEUS_AUTH_TYPE", "value": "public"} in server["env"]


def test_alertmanager_is_told_where_it_listens(base):
    config = yaml.safe_load(config_map(base, "prometheus")["prometheus.yml"])
    (found,) = config["alerting"]["alertmanagers"][0]["dns_sd_configs"]
    assert found["names"] == ["alertmanager"]
    assert found["port"] in {port["port"] for port in base["Service", "alertmanager"]["spec"]["ports"]}


def test_every_target_has_the_label_that_rules_and_panels_tell_services_apart_by(base):
    for name in ("gim", "minio"):
        (relabel,) = scrape_jobs(base)[name]["relabel_configs"]
        assert relabel == {"source_labels": ["__meta_dns_name"], "target_label": "service"}


def test_the_rules_are_those_of_the_project(base):
    assert config_map(base, "prometheus-rules") == {path.name: path.read_text() for path in RULES.glob("*.yml")}


def test_prometheus_keeps_less_than_its_volume_holds(base):
    (claim,) = base["StatefulSet", "prometheus"]["spec"]["volumeClaimTemplates"]
    (size,) = (arg for arg in container(base, "prometheus")["args"] if "retention.size" in arg)
    assert (
        int(size.rpartition("=")[2].removesuffix("GB")) * 1e9
        < 0.8 * int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 2**30
    )


def test_grafana_has_the_dashboards_that_are_made(base):
    projected = [volume["projected"] for volume in pod(base, "grafana")["volumes"] if "projected" in volume]
    sources = [source["configMap"]["name"] for volume in projected for source in volume["sources"]]
    assert sorted(sources) == [f"dashboard-{board}" for board in _BOARDS]
    for board in _BOARDS:
        shown = base["ConfigMap", f"dashboard-{board}"]
        assert json.loads(shown["data"][f"{board}.json"])["uid"] == f"gim-{board}"
        assert len(json.dumps(shown)) < _LARGEST_NOTE


def test_grafana_is_closed_and_asks_nobody_outside(base):
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(config_map(base, "grafana")["grafana.ini"])
    assert settings["auth.anonymous"].getboolean("enabled") is False
    assert settings["users"].getboolean("allow_sign_up") is False
    assert settings["analytics"].getboolean("reporting_enabled") is False
    assert settings["analytics"].getboolean("check_for_updates") is False
    assert settings["plugins"].getboolean("preinstall_disabled") is True
    secret = {volume["name"]: volume["secret"] for volume in pod(base, "grafana")["volumes"] if "secret" in volume}
    mounts = {mount["mountPath"]: mount["name"] for mount in container(base, "grafana")["volumeMounts"]}
    assert secret["admin"]["secretName"] == "grafana-admin"
    for key in ("user", "password"):
        folder = mounts["/var/run/gim/admin"]
        assert folder == "admin"
        assert settings["security"][f"admin_{key}"] == f"$__file{{/var/run/gim/admin/{key}}}"


def test_grafana_finds_what_it_is_provisioned_with(base):
    data, only = config_map(base, "grafana"), container(base, "grafana")
    mounts = {mount["mountPath"] for mount in only["volumeMounts"]}
    (source,) = yaml.safe_load(data["datasources.yaml"])["datasources"]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert int(port) in {each["port"] for each in base["Service", host]["spec"]["ports"]}
    scraped = yaml.safe_load(config_map(base, "prometheus")["prometheus.yml"])["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped  # what $__rate_interval is made of
    (provider,) = yaml.safe_load(data["dashboards.yaml"])["providers"]
    assert provider["options"]["path"] in mounts
    environment = {entry["name"]: entry["value"] for entry in only["env"]}
    assert environment["GF_PATHS_PROVISIONING"] in mounts
    assert environment["GF_PATHS_CONFIG"].rpartition("/")[0] in mounts
    home = configparser.ConfigParser(interpolation=None)
    home.read_string(data["grafana.ini"])
    folder, _, name = home["dashboards"]["default_home_dashboard_path"].rpartition("/")
    assert (folder, name) == (provider["options"]["path"], "overview.json")


def test_the_operator_takes_over_and_the_dashboards_stay(operated):
    for (kind, name), each in operated.items():
        if name.partition("-")[0] in _OWN:
            raise AssertionError(f"{kind} {name} is left")
        if name.startswith("dashboard-"):
            assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name for kind, name in operated if kind == "ConfigMap" and name.startswith("dashboard-")} == {
        f"dashboard-{board}" for board in _BOARDS
    }


def test_the_operators_rules_are_those_of_the_project(operated):
    made = {name: each["spec"] for (kind, name), each in operated.items() if kind == "PrometheusRule"}
    assert made == {f"gim-{path.stem}": yaml.safe_load(path.read_text()) for path in RULES.glob("*.yml")}


def test_the_operators_monitors_lead_to_services_and_give_the_labels_of_the_rules(operated):
    jobs = {}
    for (kind, name), each in operated.items():
        if kind != "ServiceMonitor":
            continue
        spec = each["spec"]
        (endpoint,) = spec["endpoints"]
        wanted = spec["selector"]["matchLabels"].items()
        for (other, service), found in operated.items():
            labels = found["metadata"].get("labels", {})
            ports = {port["name"] for port in found["spec"].get("ports", [])} if other == "Service" else set()
            if wanted <= labels.items() and endpoint["port"] in ports:
                jobs.setdefault(labels[spec["jobLabel"]], set()).add(service)
        assert name.startswith("gim")
    assert jobs == {"gim": set(_ASKED), "minio": {"minio"}}


def test_what_scales_to_zero_can_leave_the_rule_of_presence_out(tmp_path):
    """As components/keda does."""
    patch = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: prometheus-rules}\ndata: {presence.yml: null}\n"
    target = {"kind": "ConfigMap", "name": "prometheus-rules"}
    left = rendered(tmp_path, patches=[{"patch": patch, "target": target}])
    assert set(config_map(left, "prometheus-rules")) == {path.name for path in RULES.glob("*.yml")} - {"presence.yml"}
