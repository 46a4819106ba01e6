"""The main job runs where torch, Kafka, MinIO and gRPC are not installed, and loads nothing it does not need."""

import json
import subprocess
import sys

import pytest

from tests.synthetic import write_wall

_ABSENT = [
    "torch",
    "torchvision",
    "kornia",
    "safetensors",
    "gradio",
    "kafka",
    "confluent_kafka",
    "minio",
    "grpc",
    "grpc_tools",
    "pytest",
    "hypothesis",
]
_RUN = f"""
import sys
for name in {_ABSENT!r}:
    sys.modules[name] = None  # importing it now raises ImportError
from gim.cli.main import run_command
code = run_command(sys.argv[1:])
loaded = [name for name in {_ABSENT!r} if sys.modules[name] is not None]
sys.exit(code or (99 if loaded else 0))
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "wall.mp4"
    write_wall(path)
    return path


def test_a_video_is_labelled_without_any_of_them(clip, tmp_path):
    command = [sys.executable, "-c", _RUN, "run", str(clip), "--store", str(tmp_path / "store"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (video,) = json.loads(done.stdout)["videos"]
    assert video["status"] in ("kept", "rejected"), video
    assert video["pairs_labelled"]["rootsift"] > 0


def test_asking_for_help_loads_no_heavy_library():
    code = "import sys; from gim.cli.main import run_command; run_command(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1][1:-1].replace("'", "").split(", "))
    assert not loaded & {"av", "scipy", "yt_dlp", "h5py", "pycolmap", "jinja2", "grpc", "torch"}
