"""The images of the services: what their Dockerfiles promise, and that the images keep it where there is a builder."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT
from tests.requirements import lacks, required

SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/Dockerfile"))
WITHOUT_TORCH = ("downloader", "propagator")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
BUILD_SECONDS = 1800.0
# Nobody is at this address; a store is not asked before it is used.
_STORE = ("store=s3://gim", "s3.endpoint=http://127.0.0.1:9", "s3.access_key=nobody", "s3.secret_key=nothing")
STORE = tuple(word for setting in (*_STORE, "service.http_port=0") for word in ("--set", setting))


def instructions(service: str) -> list[tuple[str, str]]:
    """A Dockerfile as (instruction, arguments), its continued lines joined."""
    text = (ROOT / "services" / service / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(words[0], " ".join(words[1:])) for line in joined.splitlines() if (words := line.split())]


def of_kind(service: str, kind: str) -> list[str]:
    return [arguments for name, arguments in instructions(service) if name == kind]


def final_stage(service: str) -> list[tuple[str, str]]:
    found = instructions(service)
    start = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def test_there_is_an_image_for_every_service() -> None:
    assert SERVICES == ["downloader", "evaluator", "matcher", "propagator", "trainer"]
    readme = (ROOT / "services" / "README.md").read_text()
    for service in SERVICES:
        folder = ROOT / "services" / service
        assert (folder / "access.toml").is_file()
        assert (folder / "main.py").is_file()
        assert f"`{service}`" in readme


@pytest.mark.parametrize("service", SERVICES)
def test_a_base_is_pinned_once_and_named_without_a_registry(service: str) -> None:
    assert "PYTHON=3.12-slim" in of_kind(service, "ARG")
    stages = {words.split(" AS ")[1] for words in of_kind(service, "FROM") if " AS " in words}
    for base in (words.split()[0] for words in of_kind(service, "FROM")):
        assert base == "python:${PYTHON}" or base in stages
    assert "latest" not in json.dumps(instructions(service))


@pytest.mark.parametrize("service", SERVICES)
def test_everything_installed_is_pinned_by_hash_or_was_built_here(service: str) -> None:
    runs = " && ".join(of_kind(service, "RUN")).split("&&")
    installs = [run for run in runs if " install " in run or " wheel " in run]
    assert len(installs) == 3 + (service != "propagator")  # which needs nothing that others do not
    for install in installs:
        assert "--no-index --" in install or "--require-hashes --only-binary :all: -r constraints.txt" in install
    named = set(re.findall(r"-r (constraints[\w-]*\.txt)", " ".join(runs)))
    extra = next((words.removeprefix("EXTRA=") for words in of_kind(service, "ARG") if words.startswith("EXTRA=")), "")
    named |= {f"constraints-{extra}.txt"} if extra else set()
    copied = [word for words in of_kind(service, "COPY") if "constraints" in words for word in words.split()[:-1]]
    assert named == set(copied)
    assert "constraints-services.txt" in named
    pinned = set(re.findall(r"^([\w.-]+)==", "".join((ROOT / name).read_text() for name in named), re.MULTILINE))
    assert {"kafka-python", "minio", "grpcio"} <= pinned
    assert ("torch" in pinned) is (service not in WITHOUT_TORCH)


def test_images_share_the_layer_of_what_all_of_them_need() -> None:
    """A builder takes a layer from its cache where all instructions up to it are the same."""
    beginnings = []
    for service in SERVICES:
        found = instructions(service)
        installs = [place for place, (name, words) in enumerate(found) if name == "RUN" and " install " in words]
        beginnings.append(found[: installs[0] + 1])
    assert all(beginning == beginnings[0] for beginning in beginnings)
    assert "-r constraints-services.txt" in beginnings[0][-1][1]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_holds_what_is_installed_once(service: str) -> None:
    """Packages copied from the stage that installed them would be a second layer of the same size."""
    assert ("FROM", "dependencies") in final_stage(service)
    assert "/opt/venv" not in " ".join(words for name, words in final_stage(service) if name == "COPY")


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_comes_from_elsewhere_and_no_secret_goes_in(service: str) -> None:
    assert of_kind(service, "ADD") == []
    text = json.dumps(instructions(service)).lower()
    assert not re.search(r"https?://|curl|wget|apt-get|git clone|password|secret|token|access_key", text)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert next(line for line in ignored if line and not line.startswith("#")) == "*"
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {word for words in of_kind(service, "COPY") if "--from" not in words for word in words.split()[:-1]}
    assert all(
        any(Path(word).match(pattern) or word.startswith(f"{pattern}/") for pattern in let_in) for word in copied
    )


@pytest.mark.parametrize("service", SERVICES)
def test_what_runs_is_nobody_in_particular_and_gets_its_signals(service: str) -> None:
    last = final_stage(service)
    names = [name for name, _ in last]
    assert [words for name, words in last if name == "USER"] == ["10001:10001"]
    assert not {"RUN", "COPY"} & set(names[names.index("USER") :])
    (entry,) = [json.loads(words) for name, words in last if name == "ENTRYPOINT"]  # the form that starts no shell
    assert entry == ["python", f"/opt/gim/services/{service}/main.py"]
    assert f"services/{service}/main.py {entry[1]}" in [words for name, words in last if name == "COPY"]
    assert "CMD" not in names
    (environment,) = [words for name, words in last if name == "ENV"]
    assert {"HOME=/tmp", "PYTHONUNBUFFERED=1"} <= set(environment.split())


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_says_what_it_is(service: str) -> None:
    (labels,) = of_kind(service, "LABEL")
    found = dict(word.split("=", 1) for word in shlex.split(labels))
    assert found["org.opencontainers.image.title"] == f"gim-{service}"
    assert found["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert found["org.opencontainers.image.description"]
    assert found["org.opencontainers.image.version"] == "${VERSION}"
    assert f"VERSION={VERSION}" in of_kind(service, "ARG")


# --- the images themselves --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def builder() -> str:
    """A program that builds images and runs them. What it needs to reach its sources here is in IMAGE_FLAGS."""
    if "images" not in required():
        pytest.skip("images are built where GIM_REQUIRE names them: minutes each, and a base image from somewhere")
    works = [name for name in ("docker", "podman") if shutil.which(name) and _succeeds(name, "info")]
    if not works:
        lacks("images", "no docker or podman that works, so no image can be built")
    return works[0]


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module", params=WITHOUT_TORCH)
def image(request: pytest.FixtureRequest, builder: str) -> Iterator[tuple[str, str]]:
    """The service and the name of its image, built from the tree."""
    tag = f"test-{uuid.uuid4().hex[:8]}"
    environment = {**os.environ, "BUILDER": builder, "IMAGE_TAG": tag}
    command = ["scripts/build-image", request.param, *shlex.split(os.environ.get("IMAGE_FLAGS", ""))]
    built = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if built.returncode and re.search(r"pull|manifest unknown|registry|no such host", built.stderr.lower()):
        lacks("images", f"the base image cannot be had: {built.stderr.splitlines()[-1][:200]}")
    assert built.returncode == 0, built.stderr[-4000:]
    yield request.param, f"gim/{request.param}:{tag}"
    subprocess.run([builder, "rmi", f"gim/{request.param}:{tag}"], capture_output=True, check=False)


def container(builder: str, image: str, *arguments: str, entry: str = "", name: str = "") -> list[str]:
    """The command that runs an image as a cluster would: nothing writable but /tmp, no capability."""
    locked = ["--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    entries = ["--entrypoint", entry] if entry else []
    names = ["--name", name] if name else []
    network = ["--network", "host"]
    return [builder, "run", *locked, *network, *names, *entries, image, *arguments]


def run_python(builder: str, image: str, script: str) -> "subprocess.CompletedProcess[str]":
    command = container(builder, image, "-c", script, entry="python")
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_an_image_runs_locked_up_and_holds_no_tool_to_build_with(builder: str, image: tuple[str, str]) -> None:
    _, name = image
    script = """
import importlib.util, json, os, pathlib, shutil
def writable(path):
    try:
        pathlib.Path(path, "x").touch()
    except OSError:
        return False
    return True
tools = "gcc cc g++ make ld pip pip3 git curl wget ffmpeg".split()
modules = "torch torchvision kornia pip ensurepip gradio pytest".split()
print(json.dumps({
    "who": [os.getuid(), os.getgid()],
    "tools": [name for name in tools if shutil.which(name)],
    "modules": [name for name in modules if importlib.util.find_spec(name)],
    "writable": [p for p in "/ /opt/gim /opt/venv /usr/local /etc /var/lib /tmp".split() if writable(p)],
}))
"""
    found = run_python(builder, name, script)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == {"who": [10001, 10001], "tools": [], "modules": [], "writable": ["/tmp"]}


@pytest.mark.slow
def test_the_work_of_an_image_can_be_done_where_only_tmp_is_writable(builder: str, image: tuple[str, str]) -> None:
    """The whole embedded pipeline, on the bundled clip: every library loads, and none wants to write elsewhere."""
    _, name = image
    clip = "from gim.synthetic.clip import bundled_clip; print(bundled_clip()[0])"
    script = f'gim run "$(python -c "{clip}")" --store /tmp/store'
    command = container(builder, name, "-c", script, entry="sh")
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_a_service_without_its_settings_ends_with_one_line(builder: str, image: tuple[str, str]) -> None:
    _, name = image
    command = container(builder, name, *STORE)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 2, ended.stderr
    (line,) = [line for line in ended.stdout.splitlines() if json.loads(line)["level"] == "error"]
    assert "kafka.bootstrap_servers" in line
    assert "Traceback" not in ended.stdout + ended.stderr


@pytest.mark.slow
def test_a_service_waits_for_kafka_and_leaves_when_told(builder: str, image: tuple[str, str]) -> None:
    service, name = image
    called = f"gim-{uuid.uuid4().hex[:8]}"
    settings = (*STORE, "--set", "kafka.bootstrap_servers=127.0.0.1:9")
    running = subprocess.Popen(
        container(builder, name, *settings, name=called), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    said = iter(running.stdout)
    assert any(json.loads(line)["event"] == "waiting" for line in said)
    started = time.monotonic()
    subprocess.run([builder, "stop", "--time", "60", called], capture_output=True, check=True)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 0, (service, errors)
    assert time.monotonic() - started < 55  # before it would have been killed
