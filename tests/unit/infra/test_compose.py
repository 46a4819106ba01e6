"""compose.yaml fits the project: what it names exists, and it gives away nothing."""

import re

import pytest
import yaml

from gim.settings import Settings
from infra.state import ROOT

_TEXT = (ROOT / "compose.yaml").read_text()
_FILE = yaml.safe_load(_TEXT)
_SERVICES = _FILE["services"]
_OURS = sorted(name for name, service in _SERVICES.items() if "build" in service)


def test_every_service_of_the_project_is_there():
    built = {_SERVICES[name]["build"]["dockerfile"] for name in _OURS}
    assert built == {str(path.relative_to(ROOT)) for path in (ROOT / "services").glob("*/Dockerfile")}
    assert {_SERVICES[name]["build"]["context"] for name in _OURS} == {"."}


def test_images_are_pinned():
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    for name, service in _SERVICES.items():
        tag = service["image"].partition(":")[2]
        assert re.search(r"\d", tag), name
        assert name not in _OURS or tag == version


@pytest.mark.parametrize("name", _OURS)
def test_settings_that_are_given_exist(name):
    settings = Settings.load(environ={**_SERVICES[name]["environment"]})
    assert settings.store == "s3://gim"
    assert settings.kafka.bootstrap_servers == ("kafka:9092",)
    named = {settings.s3.access_key_file, settings.s3.secret_key_file}
    assert named == {f"/run/secrets/{secret}" for secret in _SERVICES[name]["secrets"]}


@pytest.mark.parametrize("name", _OURS)
def test_services_are_confined(name):
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", sorted(_SERVICES))
def test_what_runs_on_is_watched_and_published_to_this_machine_only(name):
    service = _SERVICES[name]
    assert service["healthcheck"].get("test") or service["restart"] == "no"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_no_path_outside_the_checkout_and_no_secret_is_in_it():
    files = [entry["file"] for group in ("configs", "secrets") for entry in _FILE[group].values() if "file" in entry]
    assert all(not file.startswith(("/", "..", "~")) for file in files)
    assert all((ROOT / file).exists() for file in files if not file.startswith(".run/"))
    volumes = [volume.partition(":")[0] for service in _SERVICES.values() for volume in service.get("volumes", [])]
    assert set(volumes) == set(_FILE["volumes"])
    assert not re.search(r"(PASSWORD|SECRET_KEY|ACCESS_KEY): ", _TEXT)


def test_prometheus_finds_the_targets_its_configuration_asks_for():
    asked = set(re.findall(r"targets/\w+\.json", (ROOT / "infra/prometheus/prometheus.yml").read_text()))
    given = {entry["target"] for entry in _SERVICES["prometheus"]["configs"]}
    assert {f"/etc/prometheus/{path}" for path in asked} <= given
